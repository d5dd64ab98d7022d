"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from credit301.domain.decision import Decision, Timings

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.00005, 0.0001, 0.0002, 0.0004, 0.0008, 0.0015, 0.003, 0.006, 0.0125, 0.025, 0.05, 0.1, 0.5, 2.0)
_DAYS = (1, 7, 31, 62, 92, 183, 366, 731)
STAGES = ("features", "scoring", "policy", "reasons", "total")


class Metrics:
    """The metrics of one application; each has its own registry, so that several can live in one process.

    Args:
        shared: whether several workers keep their metrics in one directory, the one that ``MULTIPROCESS`` names.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self.registry = CollectorRegistry()
        stage = Histogram(
            "credit301_decision_stage_seconds",
            "Time of a decision by stage.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = {name: stage.labels(name) for name in STAGES}
        self._decisions = Counter("credit301_decisions", "Decisions by outcome.", ["outcome"], registry=self.registry)
        self._errors = Counter(
            "credit301_errors", "Refused or failed requests by code.", ["code"], registry=self.registry
        )
        self._model = Gauge(
            "credit301_model_info",
            "The model in use (1).",
            ["version", "registry_version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._swaps = Counter("credit301_model_loads", "Models put in use.", registry=self.registry)
        self._rejections = Counter(
            "credit301_model_rejections",
            "Model versions not put in use, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._age = Histogram(
            "credit301_feature_age_days",
            "Age of a source's newest data at a decision.",
            ["source"],
            buckets=_DAYS,
            registry=self.registry,
        )
        self._current: tuple[str, str] | None = None

    def decided(self, decision: Decision) -> None:
        """Count a decision and the times of its stages."""
        self._decisions.labels(decision.outcome.value).inc()
        timings: Timings = decision.timings_us
        for name, histogram in self._stages.items():
            histogram.observe(getattr(timings, name) / 1e6)
        self._ages(decision.features_as_of, decision.decided_at)

    def _ages(self, as_of: Mapping[str, datetime | None], now: datetime) -> None:
        for source, time in as_of.items():
            if time is not None:
                self._age.labels(source).observe((now - time).total_seconds() / 86400)

    def failed(self, code: str) -> None:
        """Count an answer other than success."""
        self._errors.labels(code).inc()

    def in_use(self, version: str, registry_version: str) -> None:
        """Say which model is in use now."""
        if self._current is not None:
            self._model.remove(*self._current)
        self._current = (version, registry_version)
        self._model.labels(*self._current).set(1)
        self._swaps.inc()

    def rejected(self, reason: str) -> None:
        """Count a model version that was not put in use."""
        self._rejections.labels(reason).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus' text format; those of every worker where there are several."""
        if not self._shared:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
