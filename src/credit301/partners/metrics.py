"""What Prometheus reads of a relay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from credit301.applications.outbox import Outcome
from credit301.applications.records import Kind

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class RelayMetrics:
    """Metrics of one relay, with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._tried = Counter(
            "credit301_deliveries",
            "Attempts to deliver messages to banks by what became of them.",
            ["bank", "kind", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "credit301_delivery_seconds",
            "Time of an attempt to deliver.",
            ["bank"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._receipts = Counter(
            "credit301_receipts_distrusted",
            "Receipts of banks that are not to be believed.",
            ["bank"],
            registry=self.registry,
        )
        self._pending = Gauge(
            "credit301_messages_pending", "Messages that are not delivered yet.", ["bank"], registry=self.registry
        )
        self._oldest = Gauge(
            "credit301_message_age_seconds", "Age of the oldest such message.", ["bank"], registry=self.registry
        )
        self._away = Gauge(
            "credit301_bank_away",
            "1 while a bank is asked with one message at a time.",
            ["bank"],
            registry=self.registry,
        )

    def tried(self, bank: str, kind: Kind, outcome: Outcome, seconds: float) -> None:
        """Count an attempt."""
        self._tried.labels(bank, kind.value, type(outcome).__name__.lower()).inc()
        self._seconds.labels(bank).observe(seconds)

    def distrusted(self, bank: str) -> None:
        """Count a receipt that is not believed."""
        self._receipts.labels(bank).inc()

    def waiting(self, banks: Iterable[str], rows: Iterable[Any], now: datetime) -> None:
        """Say what is not delivered; ``rows`` have ``tenant``, ``pending`` and ``oldest``."""
        there = {row["tenant"]: row for row in rows}
        for bank in {*banks, *there}:
            row = there.get(bank)
            self._pending.labels(bank).set(row["pending"] if row else 0)
            self._oldest.labels(bank).set((now - row["oldest"]).total_seconds() if row else 0)

    def away(self, bank: str, *, is_away: bool) -> None:
        """Say whether ``bank`` counts as away."""
        self._away.labels(bank).set(is_away)
