"""Whether two directories of exported marts say the same, row for row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from credit301.sources.typed import literal, quote

TOLERANCE = 1e-9
_FLOATS = ("DOUBLE", "FLOAT")
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")


@dataclass(frozen=True)
class Difference:
    """Where two exports of a mart differ: in columns, in rows that only one has, or in values."""

    mart: str
    what: str


def compare(left: Path, right: Path, tolerance: float = TOLERANCE) -> tuple[int, list[Difference]]:
    """Compare every mart of two directories.

    Rows are matched by all columns that are not floating-point numbers, which must be equal; floating-point numbers may
    differ by ``tolerance``, relative to the larger one and absolutely near zero.

    Returns:
        The number of rows compared, and the differences.
    """
    names = {path.stem for path in left.glob("*.parquet")}, {path.stem for path in right.glob("*.parquet")}
    found = [Difference(name, "only one side has the mart") for name in sorted(names[0] ^ names[1])]
    rows = 0
    with duckdb.connect() as connection:
        for name in sorted(names[0] & names[1]):
            for side, directory in (("l", left), ("r", right)):
                path = literal(str(directory / f"{name}.parquet"))
                connection.execute(f"create or replace view {side} as from read_parquet({path})")
            found += [Difference(name, what) for what in _mart(connection, tolerance)]
            rows += int(connection.execute("select count(*) from l").fetchall()[0][0])
    return rows, found


def _mart(connection: duckdb.DuckDBPyConnection, tolerance: float) -> list[str]:
    types = [
        {str(row[0]): str(row[1]) for row in connection.execute(f"describe {side}").fetchall()} for side in ("l", "r")
    ]
    if list(types[0]) != list(types[1]):
        return [f"columns {sorted(set(types[0]) ^ set(types[1])) or 'in another order'}"]
    floats = [name for name in types[0] if types[0][name] in _FLOATS or types[1][name] in _FLOATS]
    exact = [name for name in types[0] if name not in floats]
    kinds = [name for name in exact if _kind(types[0][name]) != _kind(types[1][name])]
    if kinds:
        return [f"types of {', '.join(f'{name}: {types[0][name]}, {types[1][name]}' for name in kinds)}"]
    for side in ("l", "r"):
        keys = "".join(f", {quote(name)} as k{index}" for index, name in enumerate(exact))
        values = "".join(f", cast({quote(name)} as double) as v{index}" for index, name in enumerate(floats))
        # Rows that differ in floating-point numbers alone are numbered by their rounded values.
        order = ", ".join(f"round(cast({quote(name)} as double), 4)" for name in floats) or "1"
        groups = ", ".join(quote(name) for name in exact) or "1"
        connection.execute(
            f"create or replace temp table {side}_rows as select "
            f"row_number() over (partition by {groups} order by {order}) as n{keys}{values} from {side}"
        )
    same = " and ".join(["l.n = r.n", *(f"l.k{index} is not distinct from r.k{index}" for index in range(len(exact)))])
    problems: list[str] = []
    for here, there in (("l", "r"), ("r", "l")):
        only = connection.execute(
            f"select count(*) from {here}_rows as {here} anti join {there}_rows as {there} on {same}"
        ).fetchall()[0][0]
        if only:
            # Counted, not shown: a row may name a person.
            problems.append(f"{only} rows are only in the {'first' if here == 'l' else 'second'}")
    if floats and not problems:
        pairs = [(f"l.v{index}", f"r.v{index}") for index in range(len(floats))]
        far = ", ".join(f"count(*) filter (where {_far(left, right, tolerance)})" for left, right in pairs)
        (counts,) = connection.execute(f"select {far} from l_rows as l join r_rows as r on {same}").fetchall()
        problems += [f"{count} values of {name}" for name, count in zip(floats, counts, strict=True) if count]
    return problems


def _kind(kind: str) -> str:
    return "whole" if kind in _WHOLE else kind


def _far(left: str, right: str, tolerance: float) -> str:
    near = f"abs({left} - {right}) <= {tolerance!r} * greatest(1, abs({left}), abs({right}))"
    return f"({left} is null) <> ({right} is null) or not coalesce({left} is null or {left} = {right} or {near}, false)"
