"""Verbs of the way in: pull a source, land what passed, and both with the validation between them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from credit301 import console, verbs
from credit301.workspace import Workspace

SourceArgument = Annotated[str, typer.Argument(help="A source of the workspace, or all. 数据源，或 all 表示全部。")]
MaximumRows = Annotated[
    int, typer.Option(help="Rows after which a pull ends; the next one goes on. 单批最多行数。", min=1)
]
Again = Annotated[
    bool, typer.Option("--again", help="Ask the source anew for a batch that has not landed. 重新拉取未入库的批次。")
]

BATCH_ROWS = 5_000_000
ALL = "all"


def sources_of(workspace: Workspace, source: str) -> list[str]:
    """Names of the sources that ``source`` means: itself, or every one of the workspace for ``all``.

    Raises:
        NotFound: the workspace has no such source.
    """
    return list(workspace.sources) if source == ALL else [workspace.source(source).name]


def pull(
    workspace: Workspace, source: SourceArgument = ALL, maximum_rows: MaximumRows = BATCH_ROWS, again: Again = False
) -> dict[str, Any]:
    """Pull the next batch of a source into its inbox. 拉取数据源的下一批数据。

    Returns:
        For each source ``pull_id``, ``rows``, ``cursor`` (after the batch), ``has_more`` and ``drift``; ``rows`` is 0
        where there is nothing new.

    Raises:
        SourceError: a source did not deliver what its contract says.
    """
    return {name: _pull(workspace, name, maximum_rows, again) for name in sources_of(workspace, source)}


def _pull(workspace: Workspace, source: str, maximum_rows: int, again: bool) -> dict[str, Any]:
    from credit301.governance.erasure.suppression import keep_out
    from credit301.partners.reported import beside
    from credit301.sources import posted
    from credit301.sources.batches import Store
    from credit301.sources.inbox import pull as pull_batch

    store = Store(workspace, source)
    with store.locked():
        batch = pull_batch(
            store,
            workspace.settings,
            maximum_rows=maximum_rows,
            again=again,
            connector=beside(workspace, source) or posted.beside(workspace, store),
        )
        if batch is not None:
            keep_out(workspace, store, batch)
        cursor = store.watermark().cursor
    if batch is None:
        console.say(f"{source}: nothing new")
        return {"pull_id": None, "rows": 0, "cursor": cursor, "has_more": False, "drift": {}}
    console.say(f"{source}: {batch.rows:,} rows in batch {batch.pull_id}")
    if batch.drift:
        listed = ", ".join(f"{name} ({rows:,} rows)" for name, rows in batch.drift.items())
        console.say(f"{source}: schema drift: columns that are not in the contract, kept aside: {listed}")
    if batch.absent:
        console.say(f"{source}: schema drift: columns of the contract that did not come: {', '.join(batch.absent)}")
    return {
        "pull_id": batch.pull_id,
        "rows": batch.rows,
        "cursor": batch.cursor_after,
        "has_more": batch.has_more,
        "drift": batch.drift,
        "absent": batch.absent,
    }


def land(workspace: Workspace, source: SourceArgument = ALL) -> dict[str, Any]:
    """Land the validated batch of a source and move its watermark. 将通过校验的批次入库。

    Returns:
        For each source the ``pull_id`` (``None`` where nothing waited) and ``rows`` that landed, and its ``cursor``.

    Raises:
        ValidationFailed: a batch was not validated, or was refused.
    """
    from credit301.sources.batches import Store
    from credit301.sources.landing import land as land_batch

    summary: dict[str, Any] = {}
    for name in sources_of(workspace, source):
        store = Store(workspace, name)
        with store.locked():
            store.settle()
            batch = store.pending()
            rows = land_batch(workspace, store, batch) if batch else 0
            summary[name] = {
                "pull_id": batch.pull_id if batch else None,
                "rows": rows,
                "cursor": store.watermark().cursor,
            }
        if batch:
            console.say(f"{name}: {rows:,} rows landed")
    return summary


def ingest(
    workspace: Workspace, source: SourceArgument = ALL, maximum_rows: MaximumRows = BATCH_ROWS
) -> dict[str, Any]:
    """Pull, validate and land a source until it has no more. 拉取、校验并入库，直至无新数据。

    Returns:
        For each source ``batches``, ``rows``, ``landed``, ``quarantined``, ``duplicates``, ``warned`` and ``cursor``.

    Raises:
        SourceError: the source did not deliver.
        ValidationFailed: a batch was refused; it stays in the inbox, nothing of it landed, the watermark stays.
    """
    return {name: _recorded_ingest(workspace, name, maximum_rows) for name in sources_of(workspace, source)}


def _recorded_ingest(workspace: Workspace, source: str, maximum_rows: int) -> dict[str, Any]:
    from credit301.governance.lineage.events import recorded
    from credit301.governance.lineage.graph import Layer

    with recorded(workspace, f"ingest.{source}", [(Layer.SOURCE, source)]) as run:
        counts = _ingest(workspace, source, maximum_rows)
        run.rows = counts["landed"]
    return counts


def _ingest(workspace: Workspace, source: str, maximum_rows: int) -> dict[str, Any]:
    counts = dict.fromkeys(("batches", "rows", "landed", "quarantined", "duplicates", "warned"), 0)
    while True:
        pulled = _pull(workspace, source, maximum_rows, again=False)
        if pulled["pull_id"] is None:
            break
        verdict = verbs.call("validate", workspace, source=source)[source]
        landed = land(workspace, source=source)[source]
        counts["batches"] += 1
        counts["rows"] += pulled["rows"]
        counts["landed"] += landed["rows"]
        for name in ("quarantined", "duplicates", "warned"):
            counts[name] += verdict[name]
        if not pulled["has_more"]:
            break
    return {**counts, "cursor": pulled["cursor"]}
