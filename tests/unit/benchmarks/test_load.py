"""The load generator, against a real server that echoes."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.echo import app
from benchmarks.harness import BenchmarkError
from benchmarks.load import Load, run
from tests.support.servers import running

pytestmark = pytest.mark.server
BODIES = ['{"n": 1}', '{"n": 2}']


def load(address: str, **changes: object) -> Load:
    given = {"kind": "bodies", "clients": 4, "seconds": 1.0, "warm_up": 0.1, "path": "/v1/decisions", "bodies": BODIES}
    return Load(port=int(address.rsplit(":", 1)[1]), **{**given, **changes})  # type: ignore[arg-type]


def test_every_client_is_answered_and_the_answers_are_counted() -> None:
    with running(app(dict.fromkeys(BODIES, "{}"))) as address:
        answered = asyncio.run(run(load(address)))
    assert answered.rate > 0
    assert 0 < answered.p50 <= answered.p99


def test_a_paced_load_is_not_faster_than_its_pace() -> None:
    with running(app(dict.fromkeys(BODIES, "{}"))) as address:
        answered = asyncio.run(run(load(address, pace=40.0)))
    # What was due in the warm-up may be answered after it.
    assert 0 < answered.rate <= 40.0 * 1.1


def test_an_answer_other_than_success_ends_the_measurement() -> None:
    with running(app({})) as address, pytest.raises(ExceptionGroup) as caught:
        asyncio.run(run(load(address)))
    assert caught.group_contains(BenchmarkError, match="500")
