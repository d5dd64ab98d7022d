"""The stages of a decision as spans, made from the times that the decision says itself."""

from __future__ import annotations

import time
from typing import Protocol

from credit301.domain.decision import Decision
from credit301.telemetry import Stage, Tracing
from serving.decide import Application, Caller

_STAGES = ("features", "scoring", "policy", "reasons")
_MICROSECOND = 1000


class Decides(Protocol):
    """Whatever decides on applications, as :class:`serving.decide.DecisionFlow` does."""

    async def decide(self, application: Application, caller: Caller) -> Decision:
        """The decision."""


class TracedDecisions:
    """Decides, and adds to the current span what the decision was made of.

    Args:
        flow: decides.
        tracing: makes the spans.
    """

    def __init__(self, flow: Decides, tracing: Tracing) -> None:
        self._flow = flow
        self._tracing = tracing

    async def decide(self, application: Application, caller: Caller) -> Decision:
        """The decision; raises as the flow does."""
        began = time.time_ns()
        decision = await self._flow.decide(application, caller)
        self._tracing.stages(
            stages_of(decision, began, time.time_ns()),
            {
                "credit301.decision_id": decision.decision_id,
                "credit301.outcome": decision.outcome.value,
                "credit301.strategy": decision.versions.strategy,
                "credit301.model": decision.versions.model,
                "credit301.client": caller.name,
            },
        )
        return decision


def stages_of(decision: Decision, began: int, ended: int) -> list[Stage]:
    """The stages of ``decision``, one after the other from ``began`` on; evidence is what is left until ``ended``."""
    stages = []
    for name in _STAGES:
        until = min(began + getattr(decision.timings_us, name) * _MICROSECOND, ended)
        stages.append(Stage(name, began, until))
        began = until
    return [*stages, Stage("evidence", began, ended)]
