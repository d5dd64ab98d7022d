"""The audit trail: who read what for which application. 审计记录：谁为哪笔申请查询了什么。"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import AuditError

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SHOWN = 20


def verify(
    workspace: Workspace,
    anchor: Annotated[
        str, typer.Option(help="An earlier check's anchor, kept elsewhere. 先前校验得到并另行保存的锚点。")
    ] = "",
) -> dict[str, Any]:
    """Find records of the audit trail that were changed, removed, reordered or cut off. 校验审计记录是否被篡改。

    Returns:
        Numbers of ``writers``, ``records``, decisions with their ``evidence`` and ``promotions`` (a chain of their
        own), and the ``anchor`` to keep elsewhere for later checks.

    Raises:
        AuditError: the trail is not what was written; the message says where.
    """
    from credit301.governance.audit import verify as checking
    from credit301.governance.audit.chain import Hasher
    from credit301.model import promotions

    found = checking.verify(workspace.paths.audit, Hasher.from_settings(workspace.settings), anchor)
    for problem in found.problems[:SHOWN]:
        console.say(f"  {problem}")
    if found.problems:
        raise AuditError(
            f"审计记录已被改动。The audit trail is not what was written: {len(found.problems)} problems, first: "
            f"{found.problems[0]}.",
            hint="Keep the files as they are, and compare with a copy.",
        )
    approved = len(promotions.read(workspace))
    return {
        "writers": found.writers,
        "records": found.records,
        "evidence": found.attached,
        "promotions": approved,
        "anchor": found.anchor,
    }


def show(
    workspace: Workspace,
    application: Annotated[
        str | None, typer.Option(help="Number of a request, application or decision. 请求、申请或决策编号。")
    ] = None,
    entity: Annotated[str | None, typer.Option(help="Key of an enterprise. 企业标识。")] = None,
) -> dict[str, Any]:
    """Show who read what for an application, or of an enterprise. 查看某笔申请或某企业的查询记录。

    Returns:
        ``records``: of each who, what, when, by which consents and with what outcome.
    """
    from credit301.governance.audit.verify import records
    from credit301.governance.masking import scrub
    from credit301.identity.entity_key import normalise
    from credit301.identity.keyed_hash import KeyedHash

    # A number that holds somebody's code is recorded with the code masked.
    number = scrub(application) if application else None
    named = KeyedHash.from_settings(workspace.settings)(normalise(workspace.entity, entity)) if entity else None
    chosen = [
        record
        for record in records(workspace.paths.audit)
        if (number is None or number in {record.entry.application, record.entry.decision})
        and (named is None or record.entry.entity == named)
    ]
    chosen.sort(key=lambda record: record.at)
    console.show_table(
        "审计记录 audit trail",
        ("时间 at", "谁 who", "事件 event", "企业 entity", "数据源 sources", "授权 consents", "其他 detail"),
        [
            (
                record.at[:19],
                record.entry.who,
                record.entry.event.value,
                record.entry.entity[:12],
                "\n".join(record.entry.sources),
                "\n".join(record.entry.consents),
                "\n".join(f"{name}: {value}" for name, value in record.entry.detail.items()),
            )
            for record in chosen
        ],
    )
    return {
        "count": len(chosen),
        "records": [
            {
                "at": record.at,
                "who": record.entry.who,
                "event": record.entry.event.value,
                "entity": record.entry.entity,
                "sources": list(record.entry.sources),
                "consents": list(record.entry.consents),
                "application": record.entry.application,
                "decision": record.entry.decision,
                "detail": record.entry.detail,
            }
            for record in chosen
        ],
    }
