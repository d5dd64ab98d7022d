"""Verbs of retention and erasure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import ConfigError
from credit301.governance.people import acting

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def retention(workspace: Workspace) -> dict[str, Any]:
    """Take out records that are older than their contract allows; the next build follows. 按契约期限删除过期记录。

    Returns:
        For each source whose records were taken out, how many ``rows``; and how many records of ``evidence`` were
        destroyed because their time was over.
    """
    from credit301.governance.audit.entry import Entry, Event
    from credit301.governance.audit.writer import AuditWriter
    from credit301.governance.erasure.evidence import destroy_evidence
    from credit301.governance.erasure.retention import apply

    summary: dict[str, Any] = {}
    with AuditWriter.of(workspace) as audit:
        for name, contract in workspace.sources.items():
            done = apply(workspace, name)
            if contract.retention is None:
                console.say(f"{name}: 契约未规定保存期限 · its contract says nothing of retention")
            if done.rows:
                summary[name] = done.rows
                console.say(f"{name}: 删除 {done.rows:,} 条过期记录 · {done.rows:,} records were too old")
                detail: dict[str, str | int | float] = {**asdict(done), "retention_days": contract.retention or 0}
                audit.append(Entry(event=Event.EXPIRED, who=acting(), sources=(name,), detail=detail))
        destroyed = destroy_evidence(workspace, audit)
        if destroyed:
            console.say(f"决策证据：销毁 {destroyed:,} 份到期证据 · {destroyed:,} records of evidence were destroyed")
    if summary:
        console.say("请重新构建数仓与特征 · now build and materialize again: credit301 build, credit301 materialize")
    return {
        "rows": sum(summary.values()),
        "evidence": destroyed,
        "sources": [{"source": name, "rows": rows} for name, rows in summary.items()],
    }


def erase(
    workspace: Workspace,
    entity: Annotated[
        str | None,
        typer.Argument(help="Key of the enterprise; without it, unfinished erasures. 企业标识。"),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, such as the number of the request. 删除原因。")] = "",
    person: Annotated[
        bool, typer.Option(help="Take a person out of all records instead. 从全部记录中删除某个自然人。")
    ] = False,
) -> dict[str, Any]:
    """Erase an enterprise everywhere, for good, with a proof in the audit trail. 彻底删除一家企业并留存证明。

    Returns:
        ``rows``, ``values`` in other rows, ``files`` and keys ``online`` that were taken out or changed.

    Raises:
        ConfigError: no reason is given.
        ErasureIncomplete: something still mentions it; the message names the files.
    """
    from credit301.governance.audit.writer import AuditWriter
    from credit301.governance.erasure.job import erase_enterprise, erase_person, unfinished

    if entity is None:
        left = unfinished(workspace)
        for state in left:
            console.say(f"未完成 unfinished: {state['entity']}, {state['begun']}, {state['reason']}")
        return {"unfinished": len(left)}
    if not reason:
        raise ConfigError("An erasure needs its reason, which goes into the proof.", hint="--reason 'request 2024-17'")
    with AuditWriter.of(workspace) as audit:
        act = erase_person if person else erase_enterprise
        return asdict(act(workspace, entity, audit, by=acting(), reason=reason))
