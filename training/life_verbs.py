"""Verbs of a model's life: who decides, who approved it, how it does, and what comes after it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from credit301 import console
from credit301.errors import ConfigError
from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.model.promotions import Promotion

Version = Annotated[str | None, typer.Argument(help="Version; default: the newest. 模型版本，默认最新。")]
By = Annotated[str, typer.Option(help="Who acts. 操作人。")]
Role = Annotated[str, typer.Option(help="In which role of strategies/models.yaml. 以何角色。")]
Reason = Annotated[str, typer.Option(help="Why. 理由。")]
Alias = Annotated[
    Literal["champion", "challenger", "shadow"],
    typer.Option(help="champion decides, challenger on a share, shadow on nobody. 冠军、挑战者或影子。"),
]


def promote(
    workspace: Workspace,
    version: Version = None,
    alias: Alias = "champion",
    by: By = "",
    role: Role = "",
    reason: Reason = "",
) -> dict[str, Any]:
    """过闸并经批准后设为冠军、挑战者或影子。Give a version an alias if it passes the gate; who signs approves."""
    from credit301.model.promotions import Signature
    from training.promotion import promote as run

    return run(workspace, version, alias, Signature(by, role, reason))


def approve(
    workspace: Workspace, version: Version = None, by: By = "", role: Role = "", reason: Reason = ""
) -> dict[str, Any]:
    """批准一个模型版本，别名由他人移动。Approve a version; the alias may then be moved, also in the MLflow UI."""
    from credit301.model.promotions import Signature
    from training.promotion import approve as run

    return run(workspace, version, Signature(by, role, reason))


def rollback(workspace: Workspace, by: By = "", role: Role = "", reason: Reason = "") -> dict[str, Any]:
    """回滚到上一个冠军模型。Make the champion before this one the champion again."""
    from credit301.model.promotions import Signature
    from training.promotion import rollback as run

    return run(workspace, Signature(by, role, reason))


def nominate(workspace: Workspace, version: Version = None) -> dict[str, Any]:
    """候选模型过闸后成为挑战者或影子。Let a version that passes the gate try beside the champion."""
    from training.promotion import nominate as run

    return run(workspace, version)


def promotions(
    workspace: Workspace,
    on: Annotated[
        str, typer.Option(metavar="DATE", help="A day (2026-05-31) or an ISO time: what decided then. 某日或某时。")
    ] = "",
) -> dict[str, Any]:
    """查看何时由哪个模型决策、谁批准。Show which model decided when, and who approved it.

    Raises:
        ConfigError: ``on`` is no date.
        AuditError: the log is not what was written.
    """
    from credit301.model import promotions as log

    records, anchor = log.checked(workspace)
    if not on:
        _show("晋级记录 promotions", records)
        return {"records": [_row(record) for record in records], "count": len(records), "anchor": anchor}
    start, end = _span(on)
    from credit301.model.stewardship import ALIASES

    held = [record for alias in ALIASES for record in log.during(records, alias, start, end)]
    _show(f"{on}: 当时在用的模型 what was in use", held)
    approved = {
        f"{record.alias} {record.version}": _approver(log.approval(_until(records, end), record.version, record.digest))
        for record in held
    }
    return {"on": on, "approved": approved, "records": [_row(record) for record in held], "anchor": anchor}


def _until(records: list[Promotion], end: datetime) -> list[Promotion]:
    return [record for record in records if datetime.fromisoformat(record.at) <= end]


def _approver(approval: Promotion | None) -> str:
    if approval is None:
        return "无批准记录 no approval on record"
    return f"{approval.by} ({approval.role}) {approval.at}: {approval.reason}"


def _span(on: str) -> tuple[datetime, datetime]:
    """The first and last moment of a day, in this machine's time, or one moment twice."""
    try:
        moment = datetime.fromisoformat(on)
    except ValueError as error:
        raise ConfigError(f"--on {on!r} is no date.", hint="For example 2026-05-31 or 2026-05-31T14:00.") from error
    start = (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC)
    whole_day = moment.time() == time(0) and len(on) <= len("2026-05-31")
    return start, start + timedelta(days=1) if whole_day else start


def _show(title: str, records: list[Promotion]) -> None:
    console.show_table(
        title,
        ("时间 at", "事项 act", "别名 alias", "版本 version", "谁 by", "角色 role", "理由 reason"),
        [(r.at[:19], r.act.value, r.alias, r.version, r.by, r.role, r.reason) for r in records],
    )


def _row(record: Promotion) -> dict[str, Any]:
    return {
        "at": record.at,
        "act": record.act.value,
        "alias": record.alias,
        "version": record.version,
        "bundle_sha256": record.digest,
        "verdict": record.verdict,
        "by": record.by,
        "role": record.role,
        "reason": record.reason,
    }


def monitor(
    workspace: Workspace,
    month: Annotated[
        str | None, typer.Option(help="Month of the decisions, 2026-05; default: the last with outcomes. 决策月份。")
    ] = None,
) -> dict[str, Any]:
    """按月监测冠军模型的表现、稳定性与校准。Watch the champion by month: ranking, stability, calibration."""
    from training import monitoring, pages

    watched = monitoring.watch(workspace, month)
    if watched is None:
        return {"skipped": True, "reason": "there is no champion to watch 尚无冠军模型"}
    table = monitoring.keep(workspace, watched)
    page = pages.monitor(workspace, watched)
    names = ("auc", "ks", "ece", "expected", "observed", "score_psi")
    figures = {name: watched.of(watched.month, name) for name in names}
    return {
        "version": watched.version.number,
        "month": watched.month,
        **figures,
        "drift": "; ".join(alarm["en"] for alarm in watched.alarms) or None,
        "not_judged": watched.unjudged and f"{watched.unjudged['zh']} {watched.unjudged['en']}",
        "table": str(table),
        "page": str(page),
    }


def drifted(workspace: Workspace) -> dict[str, Any]:
    """监测是否发现需要重新训练的漂移。Say whether monitoring found a drift that no training has answered yet."""
    from training.retraining import answered, drift

    found = drift(workspace)
    if not found["alarms"] or answered(workspace, found):
        return {"skipped": True, "reason": "no drift that is not answered by a training 没有待处理的漂移"}
    return {"month": found["month"], "alarms": [alarm["en"] for alarm in found["alarms"]]}


def retraining_due(workspace: Workspace) -> dict[str, Any]:
    """是否该重新训练：首次、漂移、新结果或到期。Say whether a new version is due: first, drift, new outcomes, age."""
    from training.retraining import due

    return due(workspace)


def compare(
    workspace: Workspace,
    a: Annotated[str, typer.Argument(help="Version or alias. 版本或别名。")] = "champion",
    b: Annotated[str, typer.Argument(help="Version or alias. 版本或别名。")] = "shadow",
) -> dict[str, Any]:
    """比较两个版本：指标、一致性与互换集。Compare two versions on known outcomes: measures, agreement, swap set."""
    from training import pages
    from training.compare import compare as run
    from training.compare import show, summary

    found = run(workspace, a, b)
    show(found)
    return {**summary(found), "page": str(pages.compare(workspace, found))}
