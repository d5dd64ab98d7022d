"""Verbs of data quality: validate, quarantine, replay, data docs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import ConfigError, NotFound, ValidationFailed
from credit301.sources.verbs import ALL, SourceArgument, sources_of
from credit301.workspace import Workspace

if TYPE_CHECKING:
    from credit301.sources.batches import Store, Verdict

SourceOption = Annotated[str, typer.Option(help="A source of the workspace, or all. 数据源，或 all 表示全部。")]
Corrected = Annotated[
    Path | None,
    typer.Option(help="File of corrected rows, found by _pull_id and _row or by the primary key. 更正后的数据文件。"),
]

Export = Annotated[
    Path | None,
    typer.Option(help="Write the refused rows of one source to this CSV, with their reasons. 导出某数据源的隔离行。"),
]
Unmasked = Annotated[
    bool, typer.Option("--unmasked", help="Export personal values as they are. 导出时不掩码个人信息。")
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


def quarantine(
    workspace: Workspace, source: SourceOption = ALL, export: Export = None, unmasked: Unmasked = False
) -> dict[str, Any]:
    """Show how many rows wait in quarantine, and why; export them to be corrected. 查看、导出隔离的行及其原因。

    Personal values are masked, here and in the file, unless --unmasked asks for them.

    Returns:
        For each source the number of rows by reason.

    Raises:
        NotFound: there is nothing to export.
        ConfigError: rows of several sources would go to one file.
    """
    from credit301.sources.batches import Store
    from credit301.sources.quarantine import reasons, waiting

    stores = [Store(workspace, name) for name in sources_of(workspace, source)]
    found = reasons(workspace, stores)
    held = [(store, count) for store in stores if (count := waiting(store)).rows]
    if export is not None:
        _export(workspace, [store for store, _ in held], export, unmasked=unmasked)
    console.show_table(
        "Rows in quarantine by source 各数据源隔离行数",
        ("source 数据源", "title 名称", "rows 行数", "batches 批次"),
        [(count.source, store.contract.title.zh, count.rows, count.batches) for store, count in held],
    )
    console.show_table(
        "By reason, a row may have several 各原因行数(一行可有多个原因)",
        ("source 数据源", "reason 原因", "why 说明", "rows 行数", "for example 示例", "_pull_id : _row"),
        [
            (
                reason.source,
                reason.check,
                f"{reason.description.zh} · {reason.description.en}",
                reason.rows,
                reason.example,
                f"{reason.pull_id} : {reason.row}",
            )
            for reason in found
        ],
    )
    if held and export is None:
        one = held[0][0].source
        console.say(f"To mend 更正: credit301 quarantine --source {one} --export {one}.csv")
        console.say(f"then 然后: credit301 replay-refused --source {one} --corrected {one}.csv")
    summary: dict[str, Any] = {store.source: {} for store in stores}
    for reason in found:
        summary[reason.source][reason.check] = reason.rows
    return summary


def _export(workspace: Workspace, stores: list[Store], target: Path, *, unmasked: bool) -> None:
    from credit301.sources.refused import export_refused

    if not stores:
        raise NotFound("The quarantine is empty; there is nothing to export.")
    if len(stores) > 1:
        named = ", ".join(store.source for store in stores)
        raise ConfigError(f"Rows of {named} wait; their columns differ.", hint="Choose one with --source.")
    rows = export_refused(workspace, stores[0], target, unmasked=unmasked)
    source = stores[0].source
    console.say(f"{source}: {rows:,} rows to {target}; correct them there, leave _pull_id and _row as they are")
    console.say(f"then 然后: credit301 replay-refused --source {source} --corrected {target}")


def replay_refused(workspace: Workspace, source: SourceOption = ALL, corrected: Corrected = None) -> dict[str, Any]:
    """Judge quarantined rows again, with a mended contract or corrected values; land what passes. 重放隔离数据。

    Returns:
        For each source ``judged``, ``landed``, ``known`` (the record had landed already) and ``remaining`` rows, and
        the rows of the corrected file that were ``unmatched``: not in quarantine, or not any more.

    Raises:
        SourceError: the corrected file cannot be used.
        ConfigError: a corrected file without its source.
    """
    from dataclasses import asdict

    from credit301.sources.batches import Store
    from credit301.sources.replay import replay as replay_source

    names = sources_of(workspace, source)
    if corrected is not None and len(names) > 1:
        raise ConfigError("A corrected file belongs to one source.", hint="Name it with --source.")
    summary: dict[str, Any] = {}
    for name in names:
        done = replay_source(workspace, Store(workspace, name), corrected)
        summary[name] = asdict(done)
        if done.judged:
            known = f", {done.known:,} had landed already" if done.known else ""
            console.say(
                f"{name}: {done.judged:,} rows judged again, {done.landed:,} landed{known}, {done.remaining:,} remain"
            )
        if done.unmatched:
            console.say(
                f"{name}: {done.unmatched:,} rows of the file are not in quarantine (any more); they did nothing"
            )
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
