from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from credit301.contracts.model import Classification, Column, LogicalType, Text
from credit301.errors import ContractError
from credit301.sources.connectors.base import as_text
from credit301.sources.typed import typed_columns, value_expression
from tests.conftest import TinyWorkspace

LABEL = Text(zh="列", en="column")


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def column(logical: LogicalType, sql_type: str, date_format: str = "") -> Column:
    return Column(
        name="x",
        physical_name="x",
        label=LABEL,
        logical_type=logical,
        sql_type=sql_type,
        classification=Classification.INTERNAL,
        date_format=date_format,
    )


def typed(connection: duckdb.DuckDBPyConnection, kind: Column, text: str | None) -> Any:
    return connection.execute(
        f"SELECT {value_expression(kind, 'sent')} FROM (SELECT ?::VARCHAR AS sent)", [text]
    ).fetchall()[0][0]


MONEY = column(LogicalType.NUMBER, "DECIMAL(18,2)")
WHOLE = column(LogicalType.INTEGER, "BIGINT")
FLOAT = column(LogicalType.NUMBER, "DOUBLE")
DAY = column(LogicalType.DATE, "DATE")
MOMENT = column(LogicalType.TIMESTAMP, "TIMESTAMP")
FLAG = column(LogicalType.BOOLEAN, "BOOLEAN")


@given(value=st.decimals(min_value=Decimal("-9999999999999999.99"), max_value=Decimal("9999999999999999.99"), places=2))
def test_money_comes_back_to_the_cent(connection: duckdb.DuckDBPyConnection, value: Decimal) -> None:
    assert typed(connection, MONEY, as_text(value)) == value


@given(value=st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_a_whole_number_comes_back(connection: duckdb.DuckDBPyConnection, value: int) -> None:
    assert typed(connection, WHOLE, as_text(value)) == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
def test_a_float_comes_back_bit_for_bit(connection: duckdb.DuckDBPyConnection, value: float) -> None:
    assert typed(connection, FLOAT, as_text(value)) == value


@given(value=st.dates(min_value=dt.date(1000, 1, 1)))
def test_a_day_comes_back(connection: duckdb.DuckDBPyConnection, value: dt.date) -> None:
    assert typed(connection, DAY, as_text(value)) == value


@given(value=st.datetimes(min_value=dt.datetime(1000, 1, 1)))
def test_a_moment_comes_back_to_the_microsecond(connection: duckdb.DuckDBPyConnection, value: dt.datetime) -> None:
    assert typed(connection, MOMENT, as_text(value)) == value


@given(value=st.booleans())
def test_a_truth_value_comes_back(connection: duckdb.DuckDBPyConnection, value: bool) -> None:
    assert typed(connection, FLAG, as_text(value)) is value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (MONEY, "1.005"),
        (MONEY, "twelve"),
        (MONEY, "1,00"),
        (MONEY, "1_000"),
        (MONEY, "99999999999999999.00"),
        (WHOLE, "2.5"),
        (WHOLE, "0x10"),
        (WHOLE, "9223372036854775808"),
        (FLOAT, "NaN"),
        (FLOAT, "Infinity"),
        (DAY, "2024-02-30"),
        (DAY, "2024-03-01T10:00:00"),
        (DAY, "infinity"),
        (MOMENT, "yesterday"),
        (FLAG, "maybe"),
    ],
)
def test_a_text_that_the_type_cannot_hold_exactly_is_no_value(
    connection: duckdb.DuckDBPyConnection, kind: Column, text: str
) -> None:
    assert typed(connection, kind, text) is None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (MONEY, "1,234,567.80", Decimal("1234567.80")),
        (MONEY, "0.1", Decimal("0.10")),
        (MONEY, "1234.560000000001", Decimal("1234.56")),
        (WHOLE, "12.0", 12),
        (FLAG, "是", True),
        (FLAG, "0", False),
        (column(LogicalType.DATE, "DATE", "epoch_ms"), "1422547200000.0", None),
        (column(LogicalType.TIMESTAMP, "TIMESTAMP", "epoch_ms"), "1422547200000.0", dt.datetime(2015, 1, 29, 16)),
        (column(LogicalType.TIMESTAMP, "TIMESTAMP", "epoch_s"), "1422547200", dt.datetime(2015, 1, 29, 16)),
        (column(LogicalType.DATE, "DATE", "%Y年%m月%d日 | %Y%m%d"), "2024年03月05日", dt.date(2024, 3, 5)),
        (column(LogicalType.DATE, "DATE", "%Y年%m月%d日 | %Y%m%d"), "20240305", dt.date(2024, 3, 5)),
    ],
)
def test_the_ways_in_which_registers_write_values_are_understood(
    connection: duckdb.DuckDBPyConnection, kind: Column, text: str, value: object
) -> None:
    assert typed(connection, kind, text) == value


def test_a_type_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="no SQL type"):
        value_expression(column(LogicalType.NUMBER, "DECIMAL(18,2); DROP TABLE x"), "sent")


@pytest.mark.parametrize(
    "sent",
    ["2024-03-31T16:00:00Z", "2024-03-31 16:00:00+08:00", "2024-03-31T16:00:00.5-0800", "2024-03-31 16:00:00+08"],
)
def test_a_moment_with_an_offset_is_not_castable(connection: duckdb.DuckDBPyConnection, sent: str) -> None:
    assert typed(connection, MOMENT, sent) is None


@pytest.mark.parametrize("sent", ["2024-03-31", "2024-03-31 16:00:00", "2024-03-31T16:00:00.25"])
def test_a_moment_of_the_wall_clock_is_castable(connection: duckdb.DuckDBPyConnection, sent: str) -> None:
    assert typed(connection, MOMENT, sent) == dt.datetime.fromisoformat(sent)


def test_white_space_around_a_value_is_not_part_of_it(tiny: TinyWorkspace) -> None:
    contract = tiny.load().source("sales")
    row = "SELECT ' 91420100MA4KXXXX00 ' uscc, '2024-01' \"month\", ' 12.50' amount, '\u3000' kind, NULL event_time, NULL available_at"
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT uscc, amount, kind FROM (SELECT {typed_columns(contract)} FROM ({row}))"
        ).fetchall()
    assert found == [("91420100MA4KXXXX00", Decimal("12.50"), None)]
