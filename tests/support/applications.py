"""A database of applications for a test: PostgreSQL with the tables, and what is needed to apply."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from credit301.applications.changes import Tenant
from credit301.applications.migrate import DATABASE, migrate
from credit301.applications.records import Application, Details, LoanPurpose
from credit301.applications.states import Mode
from credit301.applications.store import ApplicationStore
from credit301.domain.decision import Decision, Timings, Versions
from credit301.domain.text import Text
from credit301.domain.verdict import Cause, Outcome, RuleResult, Stage
from credit301.stack import postgres
from tests.support import postgres as servers

BANK, OTHER = Tenant("bank_a"), Tenant("bank_b")
DETAILS = Details(
    amount=Decimal("200000.00"), term_months=12, product="working_capital_loan", purpose=LoanPurpose.INVENTORY
)
_NUMBERS = itertools.count(1)


@contextmanager
def database(home: Path) -> Iterator[servers.Server]:
    """A running server with the tables of applications."""
    with servers.serving(home) as server:
        postgres.create_databases(server.settings, [DATABASE])
        migrate(server.settings)
        yield server


def url(server: servers.Server) -> str:
    """Address of the database of applications."""
    return server.settings.postgres_address(DATABASE)


async def draft(
    store: ApplicationStore, tenant: Tenant = BANK, *, mode: Mode = Mode.PLATFORM, verified: bool = True, **options: Any
) -> Application:
    """A new draft, by default of somebody whose identity is verified."""
    from credit301.applications.changes import Change

    number = next(_NUMBERS)
    given = {"key": f"key-{number:08d}", "request_hash": f"hash-{number}"} | options
    made = await store.create(tenant, f"E{number}", f"{number:032x}", mode, DETAILS, **given)
    if not verified:
        return made
    now = datetime.now(UTC)
    return await store.change(made, Change(values={"phone_verified_at": now, "face_verified_at": now}))


def decision(number: UUID, outcome: Outcome = Outcome.APPROVE, cause: str = "", stage: Stage = "admission") -> Decision:
    """A decision as the flow makes it; a ``cause`` that is a rule's was found at ``stage``."""
    code = cause.removeprefix("rule.")
    hit = RuleResult(stage=stage, table="t", id="r", read={}, hit=True, said={"code": code})
    approved = outcome is Outcome.APPROVE
    return Decision(
        decision_id=str(number),
        workspace="wuhan",
        entity="E1",
        outcome=outcome,
        probability=0.01,
        score=700,
        band="A" if approved else None,
        limit=Decimal("200000.00") if approved else None,
        annual_rate=Decimal("0.0450") if approved else None,
        requested_amount=DETAILS.amount,
        term_months=DETAILS.term_months,
        reasons=(),
        causes=(Cause(cause, Text(zh="因", en="because")),) if cause else (),
        dimensions=(),
        sources=(),
        rules=(hit,) if cause.startswith("rule.") else (),
        missing_sources=(),
        versions=Versions(model="v1", features="f1", strategy="credit 1"),
        features_as_of={},
        consents=(),
        withheld_sources=(),
        timings_us=Timings(features=1, scoring=1, policy=1, reasons=1, total=4),
        decided_at=datetime.now(UTC),
    )


class Decider:
    """Decides as told, and counts; ``before`` is called first and may raise."""

    def __init__(self, outcome: Outcome = Outcome.APPROVE, cause: str = "", stage: Stage = "admission") -> None:
        self.outcome, self.cause, self.stage = outcome, cause, stage
        self.made: list[UUID] = []
        self.before: Callable[[Application], Any] | None = None

    async def __call__(self, application: Application) -> Decision:
        """The decision, by the number that was reserved for it."""
        assert application.decision_id is not None
        if self.before is not None:
            waiting = self.before(application)
            if waiting is not None:
                await waiting
        self.made.append(application.decision_id)
        return decision(application.decision_id, self.outcome, self.cause, self.stage)
