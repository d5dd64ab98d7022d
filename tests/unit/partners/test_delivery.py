"""Waits that a bank asks for, and banks that are away: asked with one message at a time, and all at once again."""

from __future__ import annotations

import email.utils
import time

import pytest

from credit301.applications.outbox import Again, Breaker, Delivered, Never
from credit301.errors import ConfigError
from credit301.partners.bank import Bank
from credit301.partners.delivery import client_for, retry_after
from credit301.settings import Settings


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert [retry_after(text) for text in ("7", "", "soon", "-3", "999999999999")] == [7.0, 0.0, 0.0, 0.0, 3600.0]
    assert 50 < retry_after(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after(email.utils.formatdate(0, usegmt=True)) == 0.0


class TestBreaker:
    def test_one_message_at_a_time_is_let_through_to_a_bank_that_is_away(self) -> None:
        now = [100.0]
        breaker = Breaker(failures=3, first=1.0, longest=4.0, clock=lambda: now[0])
        for _ in range(2):
            breaker.note(Again("503"))
        assert breaker.places(8, 0) == 8
        breaker.note(Again("503"))
        assert breaker.is_open
        assert breaker.places(8, 0) == 0
        now[0] += 1.0
        assert breaker.places(8, 0) == 1
        assert breaker.places(7, 1) == 0
        waits = []
        for _ in range(4):
            breaker.note(Again("503"))
            breaker.note(Again("503"))  # of one that was under way before
            waits.append(next(tenth / 10 for tenth in range(100) if self._open_at(breaker, now, tenth / 10)))
            now[0] += waits[-1]
        assert waits == [2.0, 4.0, 4.0, 4.0]
        breaker.note(Delivered())
        assert breaker.places(8, 5) == 8

    def test_a_refusal_is_an_answer(self) -> None:
        breaker = Breaker(failures=2)
        for outcome in (Again(""), Never(""), Again(""), Never("")):
            breaker.note(outcome)
        assert not breaker.is_open

    def test_a_bank_that_names_a_wait_gets_it(self) -> None:
        now = [0.0]
        breaker = Breaker(failures=1, first=0.5, longest=30.0, clock=lambda: now[0])
        breaker.note(Again("429", after=10.0))
        now[0] = 9.9
        assert breaker.places(8, 0) == 0
        now[0] = 10.0
        assert breaker.places(8, 0) == 1

    @staticmethod
    def _open_at(breaker: Breaker, now: list[float], after: float) -> bool:
        before = now[0]
        now[0] = before + after
        found = breaker.places(1, 0) == 1
        now[0] = before
        return found


def test_mutual_tls_without_a_certificate_of_the_platform_is_told_at_once(settings: Settings) -> None:
    bank = Bank(
        name="b",
        title={"zh": "银行", "en": "Bank"},
        modes=("platform",),
        address="https://b",
        mutual_tls=True,  # type: ignore[arg-type]
    )
    with pytest.raises(ConfigError, match="PARTNER_CERTIFICATE"):
        client_for(bank, settings)
