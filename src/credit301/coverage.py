"""The verb ``coverage``: what was read, refused and repaired of each source, and whom it tells about, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.sources.coverage import Coverage, SourceCoverage


def coverage(
    workspace: Workspace,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables. 以 JSON 输出。")] = False,
) -> dict[str, Any] | None:
    """Show what was read, refused, repaired and landed of each source, and how far it covers. 查看各数据源覆盖情况。

    Returns:
        ``entities`` of the workspace, ``rows`` read, ``refused``, ``repaired`` (rows) and ``landed``; nothing with
        ``--json``, which prints everything.
    """
    from credit301.sources.coverage import coverage_of

    found = coverage_of(workspace)
    if as_json:
        console.show_json(found.as_json())
        return None
    _show_sources(workspace, found)
    _show_reasons(found)
    _show_repairs(workspace, found)
    _show_overlap(workspace, found)
    return {
        "entities": found.entities,
        "rows": sum(source.read for source in found.sources),
        "refused": sum(source.refused for source in found.sources),
        "repaired": sum(source.repaired.rows for source in found.sources),
        "landed": sum(source.landed for source in found.sources),
    }


def _show_sources(workspace: Workspace, found: Coverage) -> None:
    label = workspace.entity.label
    title = f"{workspace.title.zh} {workspace.title.en}: {found.entities:,} {label.zh} {label.en}"
    headings = (
        "source",
        "数据源",
        "read\n读取",
        "refused\n拒绝",
        "repaired\n修复",
        "repeated\n重复",
        "landed\n入库",
        "entities\n主体",
        "share\n占比",
        "period\n期间",
    )
    rows = [
        (
            source.name,
            source.title.zh,
            f"{source.read:,}",
            f"{source.refused:,}",
            f"{source.repaired.rows:,}",
            f"{source.repeated:,}",
            f"{source.landed:,}",
            None if source.entities is None else f"{source.entities:,}",
            None if source.share is None else f"{source.share:.2%}",
            period(source, "%Y-%m"),
        )
        for source in found.sources
    ]
    console.show_table(f"覆盖情况 Coverage: {title}", headings, rows)
    waiting = [(source.name, f"{source.waiting:,}") for source in found.sources if source.waiting]
    if waiting:
        console.show_table("尚未入库的批次 Batches that have not landed", ("source 数据源", "rows 行数"), waiting)


def _show_reasons(found: Coverage) -> None:
    rows = [(source.name, reason.check, f"{reason.rows:,}") for source in found.sources for reason in source.reasons]
    if rows:
        console.show_table("Refused, by reason 拒绝原因", ("source 数据源", "reason 原因", "rows 行数"), rows)


def _show_repairs(workspace: Workspace, found: Coverage) -> None:
    from credit301.sources.repairs import LABELS

    rows = [
        (
            source.name,
            f"{column} {workspace.source(source.name).column(column).label.zh}",
            f"{LABELS[repair].en} {LABELS[repair].zh}",
            f"{changed:,}",
        )
        for source in found.sources
        for column, repairs in source.repaired.values.items()
        for repair, changed in repairs.items()
        if changed
    ]
    if rows:
        titles = ("source 数据源", "column 字段", "repair 修复", "values 值数")
        console.show_table("Repaired, by column and repair 修复明细", titles, rows)


def _show_overlap(workspace: Workspace, found: Coverage) -> None:
    if not found.entities:
        return
    label = workspace.entity.label
    console.show_table(
        f"{label.zh}见于几个数据源 In how many sources each {label.en} is",
        ("sources 数据源数", "entities 主体", "share 占比"),
        [(str(number), f"{count:,}", f"{count / found.entities:.2%}") for number, count in found.known_to.items()],
    )
    rows = []
    for source in found.sources:
        if source.entities:
            other, both = max(source.overlap.items(), key=lambda item: item[1], default=(None, 0))
            alone = f"{source.alone or 0:,}", f"{(source.alone or 0) / source.entities:.1%}"
            rows.append((source.name, *alone, str(len(source.overlap)), other, f"{both:,}"))
    headings = ("source 数据源", "only here 仅此", "share 占比", "meets 有交集", "mostly 最多", "in both 共有")
    console.show_table("数据源之间的交集 What the sources have in common", headings, rows)
    console.show(overlap_said(found))


def overlap_said(found: Coverage) -> str:
    """In a sentence in both languages how much the sources have in common."""
    share = found.known_to.get(1, 0) / found.entities if found.entities else 0.0
    holders = sum(bool(source.entities) for source in found.sources)
    pairs = holders * (holders - 1) // 2
    meeting = sum(len(source.overlap) for source in found.sources) // 2
    return (
        f"{share:.1%} of all entities are in one source only; {meeting} of {pairs} pairs of sources share some.\n"
        f"{share:.1%} 的主体仅见于一个数据源；{pairs} 对数据源中，{meeting} 对有共有主体。"
    )


def period(source: SourceCoverage, written: str = "%Y-%m-%d") -> str:
    """From when until when the source's records are, in the format ``written``; a dash where they have no time."""
    if source.first is None or source.last is None:
        return "–"
    return f"{source.first:{written}} … {source.last:{written}}"
