from __future__ import annotations

from collections.abc import Iterator

import pytest

from credit301.sources.batches import Batch, Store, Verdict, fingerprint
from credit301.sources.inbox import pull
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.exchange import TOKEN, Exchange, sales, serving

PULL = "options: {path: government/v1/sales/records, token_secret: government_token}"
FAST = "options: {path: government/v1/sales/records, token_secret: government_token, page_size: 3, attempts: 4, first_wait_seconds: 0.01, timeout_seconds: 60}"


@pytest.fixture
def exchange(tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """A real exchange with seven records, which the tiny workspace pulls from."""
    monkeypatch.setenv("CREDIT301_GOVERNMENT_TOKEN", TOKEN)
    tiny.replace(PULL, FAST)
    with serving(sales(7)) as server:
        tiny.settings.exchange_url = server.url
        yield server


@pytest.fixture
def store(exchange: Exchange, tiny: TinyWorkspace) -> Store:
    return Store(tiny.load(), "sales")


def pull_all(store: Store, workspace: Workspace, maximum_rows: int = 1_000, again: bool = False) -> Batch:
    """The next batch, which must be there."""
    batch = pull(store, workspace.settings, maximum_rows=maximum_rows, again=again)
    assert batch is not None
    return batch


def accept(store: Store, batch: Batch) -> None:
    """Say that a batch passed, as validation would."""
    store.save_verdict(
        Verdict(
            source=store.source,
            pull_id=batch.pull_id,
            contract=fingerprint(store.contract),
            accepted=True,
            rows=batch.rows,
            passed=batch.rows,
            quarantined=0,
            duplicates=0,
            warned=0,
            checks={},
        )
    )


@pytest.fixture
def tiny_workspace(store: Store, tiny: TinyWorkspace) -> Workspace:
    """The workspace that ``store`` belongs to."""
    return tiny.load()
