"""Verbs of data quality: validate, quarantine, replay, data docs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import ValidationFailed
from credit301.sources.verbs import ALL, SourceArgument, sources_of
from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.sources.batches import Verdict

SourceOption = Annotated[str, typer.Option(help="A source of the workspace, or all. 数据源，或 all 表示全部。")]
Corrected = Annotated[
    Path | None,
    typer.Option(help="File of corrected rows, found by _pull_id and _row or by the primary key. 更正后的数据文件。"),
]


def validate(workspace: Workspace, source: SourceArgument = ALL) -> dict[str, Any]:
    """Hold the batches that wait in the inbox to their contracts. 按契约校验待入库的批次。

    Rows that violate a check of severity fail go to quarantine, unless there are so many that the batch is refused.

    Returns:
        For each source that has a batch waiting ``pull_id``, ``rows``, ``passed``, ``quarantined``, ``duplicates``,
        ``warned`` and ``accepted``.

    Raises:
        ValidationFailed: a batch was refused; the others were judged all the same.
    """
    from credit301.sources.batches import Store

    stores = [Store(workspace, name) for name in sources_of(workspace, source)]
    waiting = [(store, batch) for store in stores if (batch := store.pending()) is not None]
    if not waiting:
        console.say("no batch waits to be validated")
        return {}
    from expectations.validation import Validator

    verdicts: list[Verdict] = []
    with Validator(workspace) as validator:
        for store, batch in waiting:
            with store.locked():
                verdicts.append(validator.validate(store, batch))
            _tell(verdicts[-1])
    refused = [verdict for verdict in verdicts if not verdict.accepted]
    if refused:
        listed = "; ".join(
            f"{verdict.source} batch {verdict.pull_id} ({', '.join(verdict.failed())})" for verdict in refused
        )
        raise ValidationFailed(
            f"Refused: {listed}. Nothing of it landed; it stays in the inbox.",
            hint="Mend the source and run `credit301 pull SOURCE --again`, or mend the contract and validate again.",
        )
    return {verdict.source: verdict.model_dump(exclude={"source", "contract", "checks"}) for verdict in verdicts}


def _tell(verdict: Verdict) -> None:
    console.say(
        f"{verdict.source}: {verdict.rows:,} rows, {verdict.passed:,} passed, {verdict.quarantined:,} to quarantine, "
        f"{verdict.duplicates:,} repeated"
    )
    for name, check in verdict.checks.items():
        if check.unexpected or not check.success:
            told = f"{check.unexpected:,} rows ({check.share:.2%}, tolerated {check.tolerance:.2%})"
            console.say(f"  {check.severity} {name}: {told}")


def quarantine(workspace: Workspace, source: SourceOption = ALL) -> dict[str, Any]:
    """Show how many rows wait in quarantine, and why; personal values are masked. 查看隔离区的行数与原因。

    Returns:
        For each source the number of rows by reason.
    """
    from credit301.sources.batches import Store
    from credit301.sources.quarantine import reasons

    stores = [Store(workspace, name) for name in sources_of(workspace, source)]
    found = reasons(workspace, stores)
    columns = ("source 数据源", "reason 原因", "rows 行数", "for example 示例", "_pull_id", "_row")
    console.show_table(
        "Quarantine 隔离区",
        columns,
        [(reason.source, reason.check, reason.rows, reason.example, reason.pull_id, reason.row) for reason in found],
    )
    summary: dict[str, Any] = {store.source: {} for store in stores}
    for reason in found:
        summary[reason.source][reason.check] = reason.rows
    return summary


def replay(workspace: Workspace, source: SourceOption = ALL, corrected: Corrected = None) -> dict[str, Any]:
    """Judge quarantined rows again, with a mended contract or corrected values; land what passes. 重放隔离数据。

    Returns:
        For each source ``judged``, ``landed``, ``known`` (the record had landed already) and ``remaining`` rows.

    Raises:
        SourceError: the corrected file cannot be used.
    """
    from dataclasses import asdict

    from credit301.sources.batches import Store
    from credit301.sources.replay import replay as replay_source

    summary: dict[str, Any] = {}
    for name in sources_of(workspace, source):
        done = replay_source(workspace, Store(workspace, name), corrected)
        summary[name] = asdict(done)
        if done.judged:
            console.say(f"{name}: {done.judged:,} rows judged again, {done.landed:,} landed, {done.remaining:,} remain")
    return summary


def data_docs(workspace: Workspace) -> dict[str, Any]:
    """Build the pages of suites, results and quarantine, to be read without a network. 生成数据质量页面。

    Returns:
        ``directory``, and the number of ``pages``.
    """
    from expectations.docs import build

    directory = build(workspace)
    pages = sum(1 for _ in directory.rglob("*.html"))
    console.say(f"data docs: {directory / 'index.html'}")
    return {"directory": str(directory), "pages": pages}
