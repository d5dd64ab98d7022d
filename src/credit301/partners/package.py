"""What a bank gets to see: the message of the outbox, cut down to what the bank is entitled to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from credit301.applications.prefill import Prefilled
from credit301.applications.records import Details, Kind, Message
from credit301.domain.decision import Decision, DimensionResult
from credit301.partners.bank import Bank, Entitled
from credit301.partners.messages import (
    VERSION,
    Acceptance,
    ApplicationPackage,
    Asked,
    Assessment,
    ConsentReference,
    DisbursementInstruction,
    GroupScore,
    IdentityReference,
    PackageReason,
    PackageVersions,
    PrefilledValue,
    ToBank,
    Withdrawal,
)

_PASSED = "pass"


def message_for(
    bank: Bank, sender: str, message: Message, checks: Sequence[Mapping[str, Any]] = (), known: Sequence[Prefilled] = ()
) -> ToBank:
    """``message`` as ``bank`` gets it.

    Args:
        bank: to whom it goes.
        sender: the workspace's name.
        message: of the outbox.
        checks: identity checks of the application, for a package.
        known: prefilled values that consent lets the bank see, for a package.
    """
    payload = message.payload
    head: dict[str, Any] = {
        "version": VERSION,
        "message_id": message.id,
        "created_at": message.created_at,
        "sender": sender,
        "recipient": bank.name,
        "application_id": message.application,
    }
    match message.kind:
        case Kind.WITHDRAWAL:
            return Withdrawal(**head)
        case Kind.ACCEPTANCE:
            return msgspec.convert({**_plain(head), **payload, "kind": "acceptance"}, Acceptance)
        case Kind.DISBURSEMENT_INSTRUCTION:
            # The decision is made once for an application, and so is its instruction.
            told = {**_plain(head), **payload, "kind": "disbursement_instruction", "instruction_id": str(message.id)}
            return msgspec.convert(told, DisbursementInstruction)
        case Kind.APPLICATION_PACKAGE:
            return _package(bank.entitled, head, payload, checks, known)


def _package(
    entitled: Entitled,
    head: Mapping[str, Any],
    payload: Mapping[str, Any],
    checks: Sequence[Mapping[str, Any]],
    known: Sequence[Prefilled],
) -> ApplicationPackage:
    decision = msgspec.convert(payload["decision"], Decision)
    details = msgspec.convert(payload["details"], Details)
    return ApplicationPackage(
        **head,
        application=Asked(entity=payload["entity"], **msgspec.structs.asdict(details)),
        consent=ConsentReference(consent_id=payload["consent_id"], relied_upon=decision.consents),
        identity=tuple(
            IdentityReference(kind=check["kind"], reference=check["reference"], verified_at=check["finished_at"])
            for check in checks
            if check["outcome"] == _PASSED
        ),
        prefilled=tuple(
            PrefilledValue(**msgspec.structs.asdict(value)) for value in known if value.source in entitled.data
        ),
        assessment=_assessment(entitled, decision),
    )


def _assessment(entitled: Entitled, decision: Decision) -> Assessment:
    return Assessment(
        decision_id=UUID(decision.decision_id),
        decided_at=decision.decided_at,
        probability=decision.probability if entitled.probability else None,
        score=decision.score if entitled.score else None,
        band=decision.band if entitled.score else None,
        limit=decision.limit if entitled.offer else None,
        annual_rate=decision.annual_rate if entitled.offer else None,
        reasons=tuple(
            PackageReason(code=item.code, direction=item.direction, text=item.text, source=item.source)
            for item in decision.reasons
            if entitled.reasons
        ),
        dimensions=tuple(
            _group(entitled, item) for item in decision.dimensions if item.dimension in entitled.dimensions
        ),
        missing_sources=decision.missing_sources,
        withheld_sources=decision.withheld_sources,
        versions=PackageVersions(
            model=decision.versions.model, features=decision.versions.features, strategy=decision.versions.strategy
        ),
    )


def _group(entitled: Entitled, item: DimensionResult) -> GroupScore:
    """A sub-score, in points or as a probability as far as the bank is entitled to either."""
    return GroupScore(
        dimension=item.dimension,
        title=item.title,
        has_data=item.has_data,
        score=item.score if entitled.score else None,
        probability=item.probability if entitled.probability else None,
    )


def _plain(head: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(head)
    return plain
