"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import count

from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from credit301.domain.decision import Decision, Timings
from credit301.features.freshness import ViewFreshness

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.00005, 0.0001, 0.0002, 0.0004, 0.0008, 0.0015, 0.003, 0.006, 0.0125, 0.025, 0.05, 0.1, 0.5, 2.0)
_DAYS = (1, 7, 31, 62, 92, 183, 366, 731)
STAGES = ("features", "scoring", "policy", "reasons", "total")


class LaneMetrics:
    """What is counted at the door to one kind of work."""

    def __init__(self, lane: str, running: Gauge, waiting: Gauge, shed: Counter, waited: Histogram) -> None:
        self._shed = shed
        self._lane = lane
        self.running = running.labels(lane).set
        self.waiting = waiting.labels(lane).set
        self.waited = waited.labels(lane).observe

    def shed(self, reason: str) -> None:
        """Count a request that was refused: ``queue`` or ``deadline``."""
        self._shed.labels(self._lane, reason).inc()


AGES_EVERY = 16
"""Ages of the data are observed on every so many decisions, from the first on: of fourteen sources they cost 100 us."""


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
        self._shadow_stage = stage.labels("shadow")
        self._decisions = Counter("credit301_decisions", "Decisions by outcome.", ["outcome"], registry=self.registry)
        self._fallbacks = Counter(
            "credit301_fallbacks",
            "Fallbacks that strategies took, by what was missing and what they did.",
            ["missing", "action"],
            registry=self.registry,
        )
        self._errors = Counter(
            "credit301_errors", "Refused or failed requests by code.", ["code"], registry=self.registry
        )
        self._model = Gauge(
            "credit301_model_info",
            "The model in use (1).",
            ["version", "registry_version", "alias"],
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
            "Age of a source's newest data, at every 16th decision.",
            ["source"],
            buckets=_DAYS,
            registry=self.registry,
        )
        self._events = Counter(
            "credit301_events",
            "Posted events by source and what became of them.",
            ["source", "outcome"],
            registry=self.registry,
        )
        self._newest = self._by_view("newest_row_age_seconds", "Age of the newest row of a view in the online store.")
        self._written = self._by_view("materialized_age_seconds", "Time since a view was last materialized.")
        self._oldest = self._by_view("maximum_age_seconds", "Age beyond which a view's contract calls it stale.")
        self._shadows = Counter(
            "credit301_shadows", "Applications that a shadow was to judge.", ["outcome"], registry=self.registry
        )
        self._lots = Counter(
            "credit301_accept_lane", "Lots of those declined for their score.", ["outcome"], registry=self.registry
        )
        self._strategies = Counter(
            "credit301_strategies",
            "Sets of strategies by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self._strategies_stale = Gauge(
            "credit301_strategies_refused",
            "1 while the files of strategies are not the ones in use.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._rules = Counter(
            "credit301_rules", "Files of rules by what became of them.", ["outcome"], registry=self.registry
        )
        self._rules_stale = Gauge(
            "credit301_rules_refused",
            "1 while the file of rules is not the one in use.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._by_alias = Counter(
            "credit301_decisions_by_alias",
            "Decisions by the alias of the model that decided.",
            ["alias", "outcome"],
            registry=self.registry,
        )
        gauge = partial(Gauge, labelnames=["lane"], registry=self.registry, multiprocess_mode="livesum")
        self._running = gauge("credit301_requests_running", "Requests that are worked on, by lane.")
        self._waiting = gauge("credit301_requests_waiting", "Requests that wait for a place, by lane.")
        self._shed = Counter(
            "credit301_requests_shed",
            "Requests refused for overload, by lane and reason.",
            ["lane", "reason"],
            registry=self.registry,
        )
        self._waited = Histogram(
            "credit301_request_wait_seconds",
            "Time that requests waited for a place, by lane; those that did not wait are not counted.",
            ["lane"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._limited = Counter(
            "credit301_requests_limited", "Requests above a client's rate.", ["client"], registry=self.registry
        )
        self._current: dict[str, tuple[str, str, str]] = {}
        self._counted = count()

    def lane(self, name: str) -> LaneMetrics:
        """What is counted at the door called ``name``."""
        return LaneMetrics(name, self._running, self._waiting, self._shed, self._waited)

    def limited(self, client: str) -> None:
        """Count a request of ``client`` above its rate."""
        self._limited.labels(client).inc()

    def decided(self, decision: Decision) -> None:
        """Count a decision and the times of its stages."""
        self._decisions.labels(decision.outcome.value).inc()
        self._by_alias.labels(decision.versions.alias, decision.outcome.value).inc()
        if decision.fallbacks is not UNSET:
            for taken in decision.fallbacks:
                self._fallbacks.labels(taken.missing, taken.action).inc()
        timings: Timings = decision.timings_us
        for name, histogram in self._stages.items():
            histogram.observe(getattr(timings, name) / 1e6)
        if next(self._counted) % AGES_EVERY == 0:
            self._ages(decision.features_as_of, decision.decided_at)

    def _ages(self, as_of: Mapping[str, datetime | None], now: datetime) -> None:
        for source, time in as_of.items():
            if time is not None:
                self._age.labels(source).observe((now - time).total_seconds() / 86400)

    def _by_view(self, name: str, help_text: str) -> Gauge:
        return Gauge(
            f"credit301_view_{name}", help_text, ["view"], registry=self.registry, multiprocess_mode="mostrecent"
        )

    def event(self, source: str, outcome: str) -> None:
        """Count a posted event."""
        self._events.labels(source, outcome).inc()

    def fresh(self, views: Iterable[ViewFreshness]) -> None:
        """Say how old each view is now."""
        for view in views:
            for gauge, value in (
                (self._newest, view.newest_row_age),
                (self._written, view.materialized_age),
                (self._oldest, view.maximum_age),
            ):
                if value is not None:
                    gauge.labels(view.view).set(value)

    def lot(self, outcome: str) -> None:
        """Count a lot of the accept lane: granted, no_money or not_drawn."""
        self._lots.labels(outcome).inc()

    def rules(self, outcome: str) -> None:
        """Count a file of rules: applied, or refused."""
        self._rules.labels(outcome).inc()
        self._rules_stale.set(outcome == "refused")

    def strategies(self, outcome: str) -> None:
        """Count a set of strategies: applied, or refused."""
        self._strategies.labels(outcome).inc()
        self._strategies_stale.set(outcome == "refused")

    def failed(self, code: str) -> None:
        """Count an answer other than success."""
        self._errors.labels(code).inc()

    def in_use(self, version: str, registry_version: str, alias: str = "champion") -> None:
        """Say which model has ``alias`` now."""
        self.out_of_use(alias)
        self._current[alias] = (version, registry_version, alias)
        self._model.labels(*self._current[alias]).set(1)
        self._swaps.inc()

    def out_of_use(self, alias: str) -> None:
        """Say that no model has ``alias`` now."""
        if (before := self._current.pop(alias, None)) is not None:
            self._model.remove(*before)

    def shadowed(self, what: str, seconds: float | None = None) -> None:
        """Count what became of an application's shadow: judged, failed or dropped; and the time that it took."""
        self._shadows.labels(what).inc()
        if seconds is not None:
            self._shadow_stage.observe(seconds)

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
