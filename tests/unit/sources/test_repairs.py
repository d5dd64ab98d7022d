"""Each declared repair against a plain Python account of what it should do."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from decimal import Decimal
from typing import Any

import duckdb
import hypothesis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from credit301.contracts.repairs import Repair, RepairStep
from credit301.errors import ContractError
from credit301.sources.repairs import count_repairs, expression
from credit301.sources.typed import batch_query
from tests.conftest import TinyWorkspace

DIGITS = "〇一二三四五六七八九"
SPACES = "".join(sign for sign in map(chr, range(0x10000)) if unicodedata.category(sign) == "Zs")


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def repair(connection: duckdb.DuckDBPyConnection, declared: Any, text: str | None) -> str | None:
    step = RepairStep.model_validate(declared)
    query = f"SELECT {expression(step, 'sent')} FROM (SELECT ?::VARCHAR AS sent)"
    value = connection.execute(query, [text]).fetchall()[0][0]
    assert value is None or isinstance(value, str)
    return value


def numeral(value: int) -> str:
    """``value`` from 1 to 31 as it is written in a date."""
    tens, unit = divmod(value, 10)
    return {0: "", 1: "十", 2: "二十", 3: "三十"}[tens] + (DIGITS[unit] if unit else "")


anything = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
WITHOUT_ARGUMENT = [kind for kind in Repair if kind not in {Repair.NULL_IF, Repair.BLANK_AS, Repair.RECODE}]


@given(day=st.dates(), zero=st.sampled_from("〇○零"), arabic=st.booleans())
def test_a_chinese_date_is_the_day_it_names(
    connection: duckdb.DuckDBPyConnection, day: dt.date, zero: str, arabic: bool
) -> None:
    year = "".join(DIGITS[int(digit)] for digit in f"{day.year:04}").replace("〇", zero)
    month, number = (str(day.month), str(day.day)) if arabic else (numeral(day.month), numeral(day.day))
    assert repair(connection, "chinese_date", f"{year}年{month}月{number}日") == day.isoformat()
    assert repair(connection, "chinese_date", f"{year}年{month}月") == day.isoformat()[:7]


@pytest.mark.parametrize(
    "text",
    [
        "二○一五年月十月二十六日",
        "二〇一四年××月××日",
        "二○一七年五月十无",
        "二〇一七年十三月一日",
        "二〇一七年一月三十二日",
        "一七年一月一日",
        "二〇一七年零月一日",
    ],
)
def test_a_chinese_date_that_is_none_stays_as_it_was_sent(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert repair(connection, "chinese_date", text) == text


@given(
    moment=st.datetimes(dt.datetime(1974, 1, 1), dt.datetime(4900, 1, 1)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ),
    suffix=st.sampled_from(["", ".0"]),
)
def test_milliseconds_are_the_wall_clock_in_china(
    connection: duckdb.DuckDBPyConnection, moment: dt.datetime, suffix: str
) -> None:
    utc = moment.replace(tzinfo=dt.timezone(dt.timedelta(hours=8)))
    milliseconds = (utc - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
    text = repair(connection, "epoch_ms_china", f"{milliseconds}{suffix}")
    assert text is not None
    assert dt.datetime.fromisoformat(text) == moment
    assert repair(connection, "epoch_ms_china", moment.isoformat(sep=" ")) == moment.isoformat(sep=" ")


@given(day=st.dates(dt.date(1980, 1, 1), dt.date(2200, 1, 1)), rounding=st.integers(-11 * 60, 11 * 60))
def test_a_day_whose_milliseconds_were_rounded_comes_back(
    connection: duckdb.DuckDBPyConnection, day: dt.date, rounding: int
) -> None:
    moment = dt.datetime.combine(day, dt.time()) + dt.timedelta(minutes=rounding)
    assert repair(connection, "nearest_midnight", moment.isoformat(sep=" ")) == day.isoformat()
    assert repair(connection, "nearest_midnight", day.isoformat()) == day.isoformat()


def test_a_moment_with_an_offset_is_not_rounded_away(connection: duckdb.DuckDBPyConnection) -> None:
    assert repair(connection, "nearest_midnight", "2017-01-01 23:59:00+02:00") == "2017-01-01 23:59:00+02:00"


@given(value=st.decimals(-(10**12), 10**12, places=4))
def test_grouped_digits_are_the_number(connection: duckdb.DuckDBPyConnection, value: Decimal) -> None:
    assert Decimal(repair(connection, "thousands", f"{value:,}") or "") == value


@pytest.mark.parametrize("text", ["1,2", "12,34", "1,234,56", "1，234", ",123"])
def test_commas_that_group_no_thousands_stay(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert repair(connection, "thousands", text) == text


@given(
    value=st.decimals(-(10**9), 10**9, places=3),
    unit=st.sampled_from(
        [("元", 1), ("千元", 10**3), ("万", 10**4), ("万元", 10**4), ("百万元", 10**6), ("亿元", 10**8)]
    ),
    grouped=st.booleans(),
    currency=st.sampled_from(["", "¥", "人民币"]),
)
def test_an_amount_with_its_unit_is_in_yuan(
    connection: duckdb.DuckDBPyConnection, value: Decimal, unit: tuple[str, int], grouped: bool, currency: str
) -> None:
    name, factor = unit
    number = f"{value:,}" if grouped else f"{value:f}"
    assert Decimal(repair(connection, "amount_unit", f"{currency}{number}{name}") or "") == value * factor
    assert repair(connection, "amount_unit", number) == number


@given(value=st.decimals(-(10**12), 10**12, places=5))
def test_ten_thousands_and_percents_are_exact(connection: duckdb.DuckDBPyConnection, value: Decimal) -> None:
    assert Decimal(repair(connection, "wan_to_yuan", f"{value:f}") or "") == value * 10_000
    assert Decimal(repair(connection, "percent", f"{value:f}%") or "") == value / 100
    assert repair(connection, "percent", f"{value:f}") == f"{value:f}"


@given(value=st.decimals(0, 10**6, places=5))
def test_what_a_binary_fraction_adds_is_rounded_away(connection: duckdb.DuckDBPyConnection, value: Decimal) -> None:
    for noise in (Decimal("0.00000000000008"), Decimal("-0.00000000000008")):
        assert Decimal(repair(connection, "float_noise", f"{value + noise:f}".lstrip("-")) or "") == value
    assert repair(connection, "float_noise", f"{value:f}") == f"{value:f}"


@given(text=anything)
@example("ＡＢＣ１２３．５％（ｘ）")
@example("\u3000")
def test_full_width_signs_are_their_ascii_twins(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    twins = "".join(
        unicodedata.normalize("NFKC", sign) if "！" <= sign <= "～" or sign == "\u3000" else sign for sign in text
    )
    # What is blank once its spaces are ordinary ones is missing; a text without such signs stays as it is.
    expected = (twins.strip(SPACES) or None) if twins != text else text
    assert repair(connection, "full_width", text) == expected


@given(text=st.one_of(anything, st.text("-—－─–/／ ", min_size=1, max_size=4)))
def test_dashes_alone_say_nothing(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    alone = re.fullmatch(r"[-‐‑‒–—―−－─/／\\\s]+", text, re.ASCII)
    assert repair(connection, "dash_is_null", text) == (None if alone else text)


def test_what_says_that_it_says_nothing_is_missing(connection: duckdb.DuckDBPyConnection) -> None:
    assert [repair(connection, "word_is_null", text) for text in ("无", "NULL", "N/A", "无锡")] == [None] * 3 + ["无锡"]
    placeholder = {"null_if": ["19000101000000"]}
    assert repair(connection, placeholder, "19000101000000") is None
    assert repair(connection, placeholder, "20000101000000") == "20000101000000"
    assert repair(connection, {"blank_as": "未注明"}, None) == "未注明"
    assert repair(connection, {"blank_as": "未注明"}, "货币") == "货币"
    assert [repair(connection, "trailing_comma", text) for text in ("1,", "1,2,", "甲，", ",", "1")] == [
        "1",
        "1,2",
        "甲",
        None,
        "1",
    ]
    code = {"recode": {"1": "变更", "it's": "引号"}}
    assert [repair(connection, code, text) for text in ("1", "it's", "11", None)] == ["变更", "引号", "11", None]


@pytest.mark.parametrize("kind", WITHOUT_ARGUMENT)
@hypothesis.settings(max_examples=30)
@given(text=anything)
def test_no_repair_fails_or_changes_what_it_has_repaired(
    connection: duckdb.DuckDBPyConnection, kind: Repair, text: str
) -> None:
    assert repair(connection, kind.value, None) is None
    once = repair(connection, kind.value, text)
    if kind is not Repair.WAN_TO_YUAN:
        assert repair(connection, kind.value, once) == once


@pytest.mark.parametrize("wrong", ["thousand", {"recode": "x"}, "recode", {"percent": "x"}, {"a": 1, "b": 2}])
def test_a_repair_that_is_not_of_the_list_is_an_error(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        RepairStep.model_validate(wrong)


PROPERTIES = "required: true, logicalTypeOptions: {minimum: 0}"


def test_a_contract_repairs_what_is_cast_and_counts_it(
    tiny: TinyWorkspace, connection: duckdb.DuckDBPyConnection
) -> None:
    declared = "customProperties: [{property: repair, value: [full_width, dash_is_null, amount_unit, thousands]}]"
    contract = tiny.replace(PROPERTIES, f"{PROPERTIES}, {declared}").load().source("sales")
    names = [column.name for column in contract.columns]
    texts = ["３万元", "1,200.50", "——", " 7 ", "seven", None]
    rows = ", ".join(
        "(" + ", ".join([str(i), *("NULL" if n != "amount" or t is None else f"'{t}'" for n in names)]) + ")"
        for i, t in enumerate(texts, 1)
    )
    relation = f"(SELECT * FROM (VALUES {rows}) AS t(_row, {', '.join(names)}))"
    found = connection.execute(
        f"SELECT amount, amount__sent FROM ({batch_query(contract, relation)}) ORDER BY _row"
    ).fetchall()
    assert [value for value, _ in found] == [Decimal(30000), Decimal("1200.50"), None, Decimal(7), None, None]
    # What is said to be missing is missing, what cannot be read is still there to be refused.
    assert [text for _, text in found][2:] == [None, "7", "seven", None]
    counted = count_repairs(connection, contract, relation)
    assert counted.rows == 3
    assert counted.values == {
        "amount": {Repair.FULL_WIDTH: 1, Repair.DASH_IS_NULL: 1, Repair.AMOUNT_UNIT: 1, Repair.THOUSANDS: 1}
    }
    assert (counted + counted).values["amount"][Repair.THOUSANDS] == 2


def test_an_unknown_repair_names_the_line(tiny: TinyWorkspace) -> None:
    declared = "customProperties: [{property: repair, value: [thousands, magic]}]"
    with pytest.raises(ContractError, match=r"contract\.yaml:\d+: .*repair|value"):
        tiny.replace(PROPERTIES, f"{PROPERTIES}, {declared}").load()
