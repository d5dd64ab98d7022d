"""Refused rows as a file that a person corrects and replays.

Each row carries where it is in quarantine (``_pull_id``, ``_row``), so that what comes back finds its original, and why
it was refused. Values that the reader may not see are masked; a mask that comes back means the value as it was.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from credit301.files import replacing
from credit301.sources.batches import SUFFIX, Store, database
from credit301.sources.connectors.files import MALFORMED
from credit301.sources.explanations import explanation
from credit301.sources.quarantine import MASK, is_masked
from credit301.sources.typed import EXTRA, PULL_ID, REASONS, ROW, file_relation, literal, quote
from credit301.workspace import Workspace

# A spreadsheet would take a text that begins so for a formula; an apostrophe before it keeps it a text.
_FORMULA = "^'*[=+@\\t\\r-]"


def export_refused(workspace: Workspace, store: Store, target: Path, *, unmasked: bool = False) -> int:
    """Write the refused rows of a source to ``target``, a CSV in UTF-8 that spreadsheets open, for its owner only.

    Returns:
        Rows written.
    """
    files = sorted(store.quarantine.glob(f"*{SUFFIX}"))
    with database(workspace) as connection:
        connection.execute("CREATE TABLE explained (reason VARCHAR, said VARCHAR)")
        said = [(check.id, explanation(store.contract, check.id)) for check in store.contract.checks]
        if said:
            rows = [(name, f"{name}: {text.zh} · {text.en}") for name, text in said]
            connection.executemany("INSERT INTO explained VALUES (?, ?)", rows)
        selects = [_select(store, file, unmasked=unmasked) for file in files]
        with replacing(target) as temporary:
            # Made before anything is in it, so that nobody else ever reads what may be personal.
            temporary.touch(mode=0o600)
            written = _write(connection, store, selects, temporary)
    return written


def _write(connection: duckdb.DuckDBPyConnection, store: Store, selects: list[str], target: Path) -> int:
    query = " UNION ALL BY NAME ".join(selects)
    if not query:
        names = [PULL_ID, ROW, REASONS, *(column.name for column in store.contract.columns)]
        query = f"SELECT {', '.join(f'NULL AS {quote(name)}' for name in names)} WHERE FALSE"
    # Spreadsheets need the mark of UTF-8 to read Chinese; DuckDB writes none, so it stands before the first name.
    first = quote("\ufeff" + PULL_ID)
    done = connection.execute(
        f"COPY (SELECT {PULL_ID} AS {first}, * EXCLUDE ({PULL_ID}) FROM ({query}) ORDER BY {PULL_ID}, {ROW}) "
        f"TO {literal(str(target))} (FORMAT csv, HEADER, USE_TMP_FILE FALSE, DELIMITER ',', QUOTE '\"')"
    ).fetchall()
    return int(done[0][0])


def _select(store: Store, file: Path, *, unmasked: bool) -> str:
    contract = store.contract
    relation = file_relation(contract, file)
    personal = any(is_masked(column) for column in contract.columns)
    line = f"{EXTRA} ->> {literal('$.' + MALFORMED)}"
    explained = (
        f"(SELECT string_agg(coalesce(said, reason), '; ') FROM unnest({REASONS}) AS r(reason) "
        "LEFT JOIN explained USING (reason))"
    )
    items = [
        f"{literal(file.stem)} AS {PULL_ID}",
        ROW,
        f"{explained} AS {REASONS}",
        *(
            _shown(quote(column.name), masked=is_masked(column) and not unmasked) + f" AS {quote(column.name)}"
            for column in contract.columns
        ),
        f"{_shown(line, masked=personal and not unmasked)} AS {MALFORMED}",
    ]
    reasons = f"(SELECT {ROW}, {REASONS} FROM read_parquet({literal(str(file))}))"
    return f"SELECT {', '.join(items)} FROM {relation} JOIN {reasons} USING ({ROW})"


def _shown(value: str, *, masked: bool) -> str:
    if masked:
        return f"CASE WHEN {value} IS NOT NULL THEN {literal(MASK)} END"
    text = f"CAST({value} AS VARCHAR)"
    formula = f"regexp_matches({text}, {literal(_FORMULA)}) AND TRY_CAST({text} AS DOUBLE) IS NULL"
    return f"CASE WHEN {formula} THEN '''' || {text} ELSE {text} END"


def as_meant(name: str) -> str:
    """SQL expression of a value that came back: without the apostrophe that was put before a formula."""
    value = quote(name)
    formula = f"regexp_matches({value}, {literal('^' + chr(39) + _FORMULA[1:])})"
    return f"CASE WHEN {formula} THEN substr({value}, 2) ELSE {value} END AS {value}"
