"""The evidence of decisions: look at it, and make decisions again from it. 决策证据：查看与重放。"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from credit301 import console, verbs
from credit301.errors import AuditError, ConfigError

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SHOWN = 20


def replay(
    workspace: Workspace,
    decision: Annotated[
        str | None,
        typer.Argument(help="Number of a decision, or of its request or application. 决策编号，或其请求、申请编号。"),
    ] = None,
    last: Annotated[int, typer.Option(min=0, help="Replay the last so many instead. 重放最近若干笔决策。")] = 0,
    verify: Annotated[bool, typer.Option(help="Check the whole audit trail first. 先校验全部审计记录。")] = True,
) -> dict[str, Any]:
    """Make decisions again from their evidence, and compare bit for bit. 依据证据重放决策并逐位比对。

    Returns:
        How many were ``replayed``, and how many of them came out ``identical``.

    Raises:
        ConfigError: neither a number nor ``--last`` is given, or both are.
        NotFound: there is no such decision.
        AuditError: the trail is not what was written, or a decision does not come out the same.
    """
    from credit301.evidence import find
    from credit301.evidence.archive import archive_at
    from serving.replay import Replayer

    if (decision is None) == (last == 0):
        raise ConfigError("Say which decisions: a number, or --last N.", hint="credit301 replay --last 1000")
    trail = workspace.paths.audit
    if verify:
        verbs.call("audit.verify", workspace)
    records = [find.by_number(trail, decision)] if decision is not None else find.newest(trail, last)
    replayer = Replayer(trail, archive_at(workspace.paths.archive))
    done = [replayer.replay(record) for record in records]
    wrong = [one for one in done if not one.identical]
    console.show_table(
        "决策重放 replay",
        ("决策 decision", "时间 at", "模型 model", "版本 release", "结果 outcome", "重放 replay"),
        [
            (one.decision, one.decided_at[:19], one.model, one.release, one.outcome, _said(one))
            for one in [*wrong, *(one for one in done if one.identical)][:SHOWN]
        ],
    )
    if wrong:
        raise AuditError(
            f"重放不一致。{len(wrong)} of {len(done)} decisions do not come out the same; first: {_said(wrong[0])}",
            hint="Where a release is newer than the decision, replay it with the release that decided.",
        )
    return {"replayed": len(done), "identical": len(done) - len(wrong)}


def evidence(
    workspace: Workspace,
    decision: Annotated[
        str,
        typer.Argument(help="Number of a decision, or of its request or application. 决策编号，或其请求、申请编号。"),
    ],
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead. 写入该文件。")] = None,
) -> dict[str, Any]:
    """Show all that was kept of a decision: inputs, features, rules, reasons, versions. 查看一笔决策的全部证据。

    Raises:
        NotFound: there is no such decision.
        AuditError: its evidence is not what was written, or was destroyed when its time was over.
    """
    from credit301.evidence import find

    record = find.by_number(workspace.paths.audit, decision)
    _, data = find.of(workspace.paths.audit, record)
    document = {
        "recorded": {"writer": record.writer, "number": record.number, "at": record.at, "previous": record.previous},
        **msgspec.json.decode(data),
    }
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    if out is None:
        console.say(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
    return {"decision_id": record.entry.decision, **({"path": str(out)} if out else {})}


def _said(one: Any) -> str:
    if one.identical:
        return "一致 identical"
    return one.problem or "; ".join(one.differences[:3])
