"""What a workspace says about governance: the section ``governance`` of its ``workspace.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from credit301.contracts.model import Strict, Text


class ConsentPolicy(Strict):
    """Whether sources are read by consent only, and what becomes of a source that is not covered by one.

    ``refuse`` decides on nobody before every source that needs consent is covered. ``no_data`` reads what is covered
    and treats the rest as sources without data, except where a hard rule would decline for want of it: that is refused.
    """

    mode: Literal["enforced", "not_required"] = "enforced"
    uncovered: Literal["refuse", "no_data"] = "refuse"
    reason: Text | None = Field(default=None, description="why no consent is needed; printed where data is read")

    @model_validator(mode="after")
    def _reasoned(self) -> ConsentPolicy:
        if (self.mode == "not_required") != (self.reason is not None):
            raise ValueError("mode not_required, and no other, says why in `reason: {zh: ..., en: ...}`")
        return self


class AuditPolicy(Strict):
    """When a record of the audit trail is on the disk: before the answer leaves, or at most so many milliseconds later.

    Either way it has left the process before the answer does: a killed process loses nothing, a machine that loses
    power may lose ``sync_milliseconds`` of it with ``soon``, nothing with ``before_answer``.
    """

    durability: Literal["soon", "before_answer"] = "soon"
    sync_milliseconds: Annotated[int, Field(ge=1, le=1000)] = 50


class EvidencePolicy(Strict):
    """How long the evidence of decisions is kept, in days: five years unless the law asks for more.

    It is kept for that long even where the enterprise asks to be erased: it names it by a keyed hash alone, and the law
    wants decisions to be accounted for.
    """

    retention_days: Annotated[int, Field(ge=1)] = 1826


class Governance(Strict):
    """The section as a whole; what it does not say is the strictest."""

    consent: ConsentPolicy = ConsentPolicy()
    audit: AuditPolicy = AuditPolicy()
    evidence: EvidencePolicy = EvidencePolicy()
