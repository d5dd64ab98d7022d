"""Consent of enterprises: grant, withdraw, show. 企业授权：登记、撤回、查询。"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.contracts.model import Purpose
from credit301.governance.people import acting
from credit301.identity import uscc

if TYPE_CHECKING:
    from credit301.governance.consent.desk import ConsentDesk
    from credit301.governance.consent.records import Consent
    from credit301.workspace import Workspace

EntityArgument = Annotated[str, typer.Argument(help="Key of the enterprise. 企业标识。")]
GranteeOption = Annotated[str, typer.Option(help="Client of the API that it is given to. 被授权的接口客户。")]
DEMO_CLIENT = "demo"


def grant(
    workspace: Workspace,
    entity: EntityArgument,
    grantee: GranteeOption = DEMO_CLIENT,
    source: Annotated[list[str] | None, typer.Option(help="A source; all by default. 数据源，默认全部。")] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="A purpose; credit_decision by default. 用途，默认授信决策。")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="For how many days. 有效天数。")] = 365,
    note: Annotated[str, typer.Option(help="What proves it, such as a form's number. 授权凭证。")] = "",
) -> dict[str, Any]:
    """Record what an enterprise lets a bank read. 登记企业授权。

    Returns:
        The consent's ``consent_id``, ``grantee``, ``sources`` and ``valid_until``.

    Raises:
        Refusal: the key, a source, a purpose or the time is not right.
        ConsentUnavailable: the ledger or the online store did not take it.
    """
    with _desk(workspace) as desk:
        made = desk.grant(
            entity,
            grantee,
            by=acting(),
            sources=tuple(source or ()),
            purposes=tuple(purpose or (Purpose.CREDIT_DECISION,)),
            valid_until=datetime.now(UTC) + timedelta(days=days),
            note=note,
        )
    console.say(f"已登记授权 consent recorded: {uscc.mask(entity)} -> {grantee}, {', '.join(made.sources)}")
    return _summary(made)


def withdraw(
    workspace: Workspace,
    entity: EntityArgument,
    consent: Annotated[str, typer.Argument(help="Number of the consent. 授权编号。")],
    reason: Annotated[str, typer.Option(help="Why. 撤回原因。")] = "",
) -> dict[str, Any]:
    """Withdraw a consent; the next decision no longer reads by it. 撤回授权，下一次查询即不再使用。

    Raises:
        Refusal: the enterprise has given no such consent.
        ConsentUnavailable: the ledger or the online store did not take it.
    """
    with _desk(workspace) as desk:
        gone = desk.withdraw(entity, consent, by=acting(), reason=reason)
    console.say(f"已撤回授权 consent withdrawn: {consent}")
    return _summary(gone)


def show(workspace: Workspace, entity: EntityArgument) -> dict[str, Any]:
    """Show every consent that an enterprise has given, whatever became of it. 查询企业的全部授权。

    Returns:
        ``consents``: of each its number, status, grantee, sources, purposes and times.
    """
    now = datetime.now(UTC)
    with _desk(workspace) as desk:
        found = desk.show(entity)
    console.show_table(
        f"授权 consents: {uscc.mask(entity)}",
        ("编号 consent", "状态 status", "被授权方 grantee", "数据源 sources", "用途 purposes", "起 from", "止 until"),
        [
            (
                item.consent_id,
                item.status_at(now).value,
                item.grantee,
                "\n".join(item.sources),
                "\n".join(item.purposes),
                f"{item.valid_from:%Y-%m-%d %H:%M}",
                f"{item.valid_until:%Y-%m-%d %H:%M}",
            )
            for item in found
        ],
    )
    return {
        "count": len(found),
        "consents": [{**_summary(item), "status": item.status_at(now).value} for item in found],
    }


def sync(workspace: Workspace) -> dict[str, Any]:
    """Write every consent of the ledger to the online store anew. 将授权台账重新写入在线库。

    Returns:
        ``enterprises``: how many have an entry in the ledger.
    """
    with _desk(workspace) as desk:
        return {"enterprises": desk.sync()}


@contextmanager
def _desk(workspace: Workspace) -> Iterator[ConsentDesk]:
    from credit301.governance.audit.writer import AuditWriter
    from credit301.governance.consent.desk import ConsentDesk

    with AuditWriter.of(workspace) as audit:
        yield ConsentDesk.of(workspace, audit)


def _summary(consent: Consent) -> dict[str, Any]:
    return {
        "consent_id": consent.consent_id,
        "grantee": consent.grantee,
        "sources": list(consent.sources),
        "purposes": list(consent.purposes),
        "valid_from": consent.valid_from.isoformat(),
        "valid_until": consent.valid_until.isoformat(),
        "withdrawn_at": consent.withdrawn_at.isoformat() if consent.withdrawn_at else None,
    }
