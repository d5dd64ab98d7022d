"""Contracts against their last release. 数据契约与上一发布版本。"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.contracts.release import Comparison
    from credit301.governance.contract_impact import Impact

JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write it to this file as JSON. 同时写入该 JSON 文件。"),
]
NAMED = 6


def check(workspace: Workspace, json_file: JsonFile = None) -> dict[str, Any]:
    """Compare every contract with its last release. 将每份契约与上一发布版本比较。

    A change without the version that it asks for fails, and what a breaking change would break downstream is named.

    Returns:
        Numbers of ``contracts``, ``changes``, ``breaking`` ones; ``pending``: contracts that differ from every release.

    Raises:
        ContractError: a version is too low for its changes.
    """
    from credit301 import console
    from credit301.contracts.comparison import LEVEL_NAMES, Level
    from credit301.contracts.release import against_release
    from credit301.errors import ContractError
    from credit301.governance.contract_impact import impact, released_lineage

    comparisons = [against_release(contract) for contract in workspace.sources.values()]
    changed = [comparison for comparison in comparisons if comparison.changes]
    lineage = released_lineage(workspace, comparisons) if changed else None
    rows: list[list[str]] = []
    document: list[dict[str, Any]] = []
    for comparison in comparisons:
        found = []
        for change in comparison.changes:
            broken = impact(lineage, comparison.released, change) if lineage and comparison.released else None
            level = LEVEL_NAMES[change.level]
            subject = f"{comparison.current.name}.{change.subject.name}".rstrip(".")
            rows.append([subject, f"{level.zh} {level.en}", f"{change.what.zh} {change.what.en}", _broken(broken)])
            found.append(
                {
                    "level": change.level.name.lower(),
                    "kind": change.subject.kind,
                    "name": change.subject.name,
                    "what": {"zh": change.what.zh, "en": change.what.en},
                    "breaks": broken.as_dict() if broken and change.level is Level.BREAKING else None,
                }
            )
        document.append(_summary(comparison, found))
    if rows:
        console.show(_table(rows))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    problems = [f"{c.current.name}: {c.problem.zh} {c.problem.en}" for c in comparisons if c.problem]
    if problems:
        raise ContractError(
            f"{len(problems)} contracts: {'; '.join(problems)}.",
            hint="Give each its version once those downstream are ready, then run `credit301 contracts release`.",
        )
    pending = [comparison.current.name for comparison in comparisons if comparison.pending]
    if pending:
        console.say(f"待发布 not released yet: {', '.join(pending)}; `credit301 contracts release`")
    breaking = sum(change.level is Level.BREAKING for comparison in comparisons for change in comparison.changes)
    return {"contracts": len(comparisons), "changes": len(rows), "breaking": breaking, "pending": pending}


def release(workspace: Workspace) -> dict[str, Any]:
    """Keep every contract that changed as the release of its version. 发布所有已变更的契约版本。

    Returns:
        ``released``: source and version of each release that was written.

    Raises:
        ContractError: the check fails; nothing is written.
    """
    from credit301 import console
    from credit301.contracts.release import against_release, write_release

    check(workspace)
    written = []
    for contract in workspace.sources.values():
        if against_release(contract).pending:
            path = write_release(contract)
            console.say(f"已发布 released: {path.relative_to(workspace.directory)}")
            written.append(f"{contract.name} {contract.version}")
    return {"contracts": len(workspace.sources), "new_releases": len(written), "released": written}


def _table(rows: list[list[str]]) -> Table:
    table = Table(title="契约变更 contract changes", title_justify="left", show_lines=True)
    for title in ("对象 subject", "级别 level", "变更 change", "下游影响 what it would break"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _broken(impact: Impact | None) -> str:
    if impact is None or not (impact.models or impact.features or impact.submodels or impact.reasons or impact.rows_in):
        return "-"
    parts = [
        ("特征 features", impact.features),
        ("特征视图 feature views", impact.feature_views),
        ("子模型 sub-models", impact.submodels),
        ("模型 models", ("ensemble",) if impact.ensemble else ()),
        ("标签 labels", impact.labels),
        ("dbt", impact.models),
        ("原因 reasons", tuple(f"{text.zh} {text.en}" for text in impact.reasons)),
        ("决定取哪些记录 decides which records count in", impact.rows_in),
    ]
    return "\n".join(f"{name}: {_listed(items)}" for name, items in parts if items)


def _listed(items: tuple[str, ...]) -> str:
    more = f" … +{len(items) - NAMED}" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more


def _summary(comparison: Comparison, changes: list[dict[str, Any]]) -> dict[str, Any]:
    problem = comparison.problem
    return {
        "contract": comparison.current.name,
        "version": comparison.current.version,
        "released": comparison.released.version if comparison.released else None,
        "asks_for": comparison.asked,
        "problem": {"zh": problem.zh, "en": problem.en} if problem else None,
        "changes": changes,
    }
