"""Exports of marts are compared row for row: floats within a tolerance, all else exactly."""

from __future__ import annotations

from pathlib import Path

import duckdb

from credit301.warehouse.compare import compare


def export(directory: Path, **marts: str) -> Path:
    """Marts made by a query each."""
    directory.mkdir()
    for name, query in marts.items():
        duckdb.execute(f"copy ({query}) to '{directory / name}.parquet' (format parquet)")
    return directory


ROWS = "select * from (values ('U1', 2.0::double), ('U1', null), ('U2', 0.1::double)) as t(uscc, share)"


def test_order_and_the_last_bits_do_not_matter(tmp_path: Path) -> None:
    left = export(tmp_path / "l", mart=ROWS)
    right = export(tmp_path / "r", mart=f"select uscc, share + 1e-13 as share from ({ROWS}) order by 1 desc")
    assert compare(left, right) == (3, [])
    assert compare(left, right, tolerance=0)[1]


def test_a_missing_row_a_null_and_another_value_are_found(tmp_path: Path) -> None:
    left = export(tmp_path / "l", mart=ROWS)
    for number, query in enumerate(
        (
            f"{ROWS} where uscc = 'U1'",
            f"select uscc, coalesce(share, 0) as share from ({ROWS})",
            f"select uscc, share * 1.001 as share from ({ROWS})",
            f"select lower(uscc) as uscc, share from ({ROWS})",
            f"{ROWS} union all {ROWS}",
        )
    ):
        assert compare(left, export(tmp_path / f"r{number}", mart=query))[1], query


def test_another_type_another_column_and_another_mart_are_found(tmp_path: Path) -> None:
    left = export(tmp_path / "l", mart="select 1::bigint as n, date '2024-01-01' as d")
    assert compare(left, export(tmp_path / "i", mart="select 1::integer as n, date '2024-01-01' as d"))[1] == []
    assert compare(left, export(tmp_path / "t", mart="select 1::bigint as n, timestamp '2024-01-01' as d"))[1]
    assert compare(left, export(tmp_path / "c", mart="select 1::bigint as n"))[1]
    assert compare(left, export(tmp_path / "m", other="select 1 as n"))[1]
