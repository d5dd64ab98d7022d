"""The door: so many at once, a short queue, and whoever would wait too long is told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.admission import Admission, Deadline, Rules
from serving.deadlines import budget_of
from serving.errors import ApiError
from serving.metrics import Metrics

RULES = Rules(at_once=2, always=3, most=10, wait=0.1, longest=1.0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def door(rules: Rules = RULES) -> tuple[Admission, Clock, Metrics]:
    clock, metrics = Clock(), Metrics()
    return Admission("decisions", rules, metrics, clock), clock, metrics


def told(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name, {"lane": "decisions"}) or 0.0


async def _come(admission: Admission, clock: Clock, budget: float | None = None) -> asyncio.Task[None]:
    task = asyncio.create_task(admission.enter(Deadline(clock(), budget)))
    await asyncio.sleep(0)
    return task


def ran(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_places_go_to_those_who_wait_in_their_order() -> None:
    async def scenario() -> None:
        admission, clock, metrics = door()
        tasks = [await _come(admission, clock) for _ in range(5)]
        assert [task.done() for task in tasks] == [True, True, False, False, False]
        assert (admission.running, admission.waiting) == (2, 3)
        assert told(metrics, "credit301_requests_waiting") == 3
        admission.leave()
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True, True, True, False, False]
        for _ in range(4):
            admission.leave()
            await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (0, 0)
        assert told(metrics, "credit301_requests_running") == 0
        assert metrics.registry.get_sample_value("credit301_request_wait_seconds_count", {"lane": "decisions"}) == 3

    ran(scenario)


def test_whoever_would_wait_too_long_is_refused_and_it_recovers_by_itself() -> None:
    async def scenario() -> None:
        admission, clock, _ = door(Rules(at_once=2, always=2, most=50, wait=0.1, longest=9.0))
        tasks = [await _come(admission, clock) for _ in range(2 + 8)]
        for _ in range(4):
            clock.now += 0.01
            admission.leave()
            tasks += [await _come(admission, clock)]
        assert not admission.refuses()
        for _ in range(30):
            clock.now += 0.05
            admission.leave()
            tasks += [await _come(admission, clock) for _ in range(2)]
        # Somebody leaves every 50 ms: with more than two before them, the next would wait longer than the rules allow.
        assert admission.waiting <= 3
        refused = [task.exception() for task in tasks if task.done() and task.exception() is not None]
        assert len(refused) > 20
        for error in refused:
            assert isinstance(error, ApiError)
            assert (error.problem.status, error.problem.code) == (429, "overloaded")
            assert error.problem.headers["Retry-After"]
        while admission.running:
            clock.now += 0.001
            admission.leave()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not admission.refuses()
        await admission.enter(Deadline(clock(), None))

    ran(scenario)


def test_the_queue_has_an_end_however_fast_it_moves() -> None:
    async def scenario() -> None:
        admission, clock, metrics = door(Rules(at_once=1, always=10, most=10, wait=9.0))
        tasks = [await _come(admission, clock) for _ in range(11)]
        with pytest.raises(ApiError):
            await admission.enter(Deadline(clock(), None))
        assert admission.waiting == 10
        shed = metrics.registry.get_sample_value(
            "credit301_requests_shed_total", {"lane": "decisions", "reason": "queue"}
        )
        assert shed == 1
        for task in tasks:
            task.cancel()

    ran(scenario)


def test_where_nobody_leaves_the_one_who_waits_longest_closes_the_door() -> None:
    async def scenario() -> None:
        admission, clock, _ = door()
        tasks = [await _come(admission, clock) for _ in range(2 + 3)]
        assert not admission.refuses()
        clock.now += 0.2
        assert admission.refuses()
        for task in tasks:
            task.cancel()

    ran(scenario)


def test_work_whose_deadline_passed_is_not_begun_and_the_next_gets_its_place() -> None:
    async def scenario() -> None:
        admission, clock, metrics = door()
        await _come(admission, clock)
        await _come(admission, clock)
        hurried, patient = await _come(admission, clock, 0.02), await _come(admission, clock)
        clock.now += 0.05
        admission.leave()
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as dropped:
            await hurried
        assert (dropped.value.problem.status, dropped.value.problem.code) == (503, "deadline_passed")
        await patient
        shed = metrics.registry.get_sample_value(
            "credit301_requests_shed_total", {"lane": "decisions", "reason": "deadline"}
        )
        assert shed == 1

    ran(scenario)


def test_whoever_has_less_time_than_the_queue_takes_is_refused_at_once() -> None:
    async def scenario() -> None:
        admission, clock, _ = door(Rules(at_once=1, always=10, most=20, wait=9.0))
        tasks = [await _come(admission, clock) for _ in range(6)]
        assert admission.refuses(0.001)
        assert not admission.refuses(1.0)
        for task in tasks:
            task.cancel()

    ran(scenario)


def test_whoever_gives_up_takes_no_place_with_him() -> None:
    async def scenario() -> None:
        admission, clock, _ = door()
        tasks = [await _come(admission, clock) for _ in range(4)]
        tasks[2].cancel()
        await asyncio.sleep(0)
        admission.leave()
        # The place was given just before its owner went away: it goes on to nobody, and is free.
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        admission.leave()
        assert (admission.running, admission.waiting) == (0, 0)

    ran(scenario)


class Crowd:
    """Those inside, and those who wait."""

    def __init__(self) -> None:
        self.inside: list[asyncio.Task[None]] = []
        self.outside: list[asyncio.Task[None]] = []

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done = [task for task in self.outside if task.done()]
        self.outside = [task for task in self.outside if task not in done]
        self.inside += [task for task in done if not task.cancelled() and task.exception() is None]


@given(steps=st.lists(st.sampled_from(["come", "leave", "cancel", "tick"]), max_size=60), at_once=st.integers(1, 4))
def test_never_more_at_work_than_there_are_places_and_none_is_lost(steps: list[str], at_once: int) -> None:
    async def scenario() -> None:
        admission, clock, _ = door(Rules(at_once=at_once, always=2, most=5, wait=0.05, longest=0.2))
        crowd = Crowd()
        for step in steps:
            if step == "come":
                crowd.outside.append(await _come(admission, clock))
            elif step == "leave" and crowd.inside:
                crowd.inside.pop()
                admission.leave()
            elif step == "cancel" and crowd.outside:
                crowd.outside[0].cancel()
            else:
                clock.now += 0.03
            await crowd.settle()
            assert len(crowd.inside) == admission.running <= at_once
            assert admission.waiting <= 5
        while crowd.inside:
            crowd.inside.pop()
            admission.leave()
            await crowd.settle()
        assert admission.running == 0
        assert not crowd.outside

    ran(scenario)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Credit301-Deadline-Ms": "250"}, 0.25),
        ({"Credit301-Deadline-Ms": "0"}, None),
        ({"Credit301-Deadline-Ms": "-5"}, None),
        ({"Credit301-Deadline-Ms": "soon"}, None),
        ({"Credit301-Deadline-Ms": "9999999"}, None),
        ({"prefer": "wait=2"}, 2.0),
        ({"prefer": "respond-async, wait=10"}, 10.0),
        ({"prefer": "waiting=3"}, None),
        ({"Credit301-Deadline-Ms": "50", "prefer": "wait=2"}, 0.05),
    ],
)
def test_a_sender_says_how_long_it_waits(headers: dict[str, str], seconds: float | None) -> None:
    assert budget_of(headers) == seconds
