"""Repairs of texts as sent, declared in a contract: each is one pure SQL expression from text to text.

What is repaired is the text that is cast, judged and landed. The inbox and the quarantine keep what was sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb

from credit301.contracts.model import Column, Contract, Text
from credit301.contracts.repairs import Repair, RepairStep

NOTHING = ("无", "暂无", "不详", "未知", "空", "null", "none", "nan", "n/a", "na", "#n/a")
NUMERALS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十")
DAYS_OF_MONTH = (
    *NUMERALS,
    *(f"十{unit}" for unit in NUMERALS[:9]),
    "二十",
    *(f"二十{unit}" for unit in NUMERALS[:9]),
    "三十",
    "三十一",
)
UNITS = {"亿": 100_000_000, "千万": 10_000_000, "百万": 1_000_000, "万": 10_000, "千": 1_000, "": 1}

LABELS = {
    Repair.FULL_WIDTH: Text(zh="全角转半角", en="full width to ASCII"),
    Repair.DASH_IS_NULL: Text(zh="横线视为空", en="dash is missing"),
    Repair.WORD_IS_NULL: Text(zh="“无”等视为空", en="word is missing"),
    Repair.NULL_IF: Text(zh="占位值视为空", en="placeholder is missing"),
    Repair.BLANK_AS: Text(zh="空值填注", en="blank is named"),
    Repair.RECODE: Text(zh="代码转名称", en="code to name"),
    Repair.TRAILING_COMMA: Text(zh="去尾部逗号", en="trailing comma dropped"),
    Repair.THOUSANDS: Text(zh="去千分位", en="thousands separators"),
    Repair.FLOAT_NOISE: Text(zh="去浮点尾差", en="floating-point noise"),
    Repair.PERCENT: Text(zh="百分数转小数", en="percent to fraction"),
    Repair.AMOUNT_UNIT: Text(zh="按单位换算为元", en="unit to yuan"),
    Repair.WAN_TO_YUAN: Text(zh="万元转元", en="10,000 yuan to yuan"),
    Repair.CHINESE_DATE: Text(zh="中文日期", en="Chinese date"),
    Repair.EPOCH_MS_CHINA: Text(zh="毫秒时间戳转北京时间", en="milliseconds to time in China"),
    Repair.NEAREST_MIDNIGHT: Text(zh="取最近零点", en="nearest midnight"),
}

_ZEROS = "〇○◯零"
_DATE = (
    f"^([{_ZEROS}一二三四五六七八九0-9]{{4}})年"
    "(?:([一二三四五六七八九十]{1,3}|[0-9]{1,2})月(?:([一二三四五六七八九十]{1,3}|[0-9]{1,2})[日号])?)?$"
)
_PLAIN = r"[+-]?\d{1,15}(?:\.\d{1,8})?"
_GROUPED = r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,8})?"
_AMOUNT = rf"^(?:人民币|[¥￥])?\s*({_NUMBER})\s*(?:(亿|千万|百万|万|千)元?|元)(?:人民币)?$"
_MILLISECONDS = r"^-?\d{11,14}(?:\.0*)?$|^-?\d(?:\.\d+)?[eE]\+?1[0-3]$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?$"
_STAGE = "#"  # no column has it in its name


def expression(step: RepairStep, text: str) -> str:
    """SQL expression of the SQL expression ``text`` after one repair; NULL where it means that nothing was said."""
    return _EXPRESSIONS[step.kind](text, step)


def repaired(contract: Contract, relation: str) -> str:
    """``relation``, an SQL relation of the texts as sent, with every declared repair applied, in order."""
    columns = [column for column in contract.columns if column.repair]
    if not columns:
        return relation
    items = ", ".join(f"{_quote(_stage(column, len(column.repair)))} AS {_quote(column.name)}" for column in columns)
    hidden = ", ".join(_quote(name) for name in _stages(columns))
    return f"(SELECT * EXCLUDE ({hidden}) REPLACE ({items}) FROM {_staged(columns, relation)})"


@dataclass(frozen=True)
class RepairCount:
    """What the repairs of a source changed: texts by column and repair, and rows with at least one of them."""

    rows: int = 0
    values: dict[str, dict[Repair, int]] = field(default_factory=dict)

    def __add__(self, other: RepairCount) -> RepairCount:
        """Both together."""
        values = {column: dict(found) for column, found in self.values.items()}
        for column, found in other.values.items():
            mine = values.setdefault(column, {})
            for kind, changed in found.items():
                mine[kind] = mine.get(kind, 0) + changed
        return RepairCount(self.rows + other.rows, values)


def count_repairs(connection: duckdb.DuckDBPyConnection, contract: Contract, relation: str) -> RepairCount:
    """Count what the declared repairs change in ``relation``, an SQL relation of texts as sent.

    A repair that changes nothing counts 0; so does a column whose repairs together leave the text as it was, in rows.
    """
    columns = [column for column in contract.columns if column.repair]
    if not columns:
        return RepairCount()
    steps = [(column, index, step.kind) for column in columns for index, step in enumerate(column.repair)]
    changed = [_changed(column, index, index + 1) for column, index, _ in steps]
    items = [f"count(*) FILTER (WHERE {condition})" for condition in changed]
    any_column = " OR ".join(_changed(column, 0, len(column.repair)) for column in columns)
    query = f"SELECT count(*) FILTER (WHERE {any_column}), {', '.join(items)} FROM {_staged(columns, relation)}"
    rows, *values = connection.execute(query).fetchall()[0]
    total = RepairCount(int(rows), {column.name: {} for column in columns})
    for (column, _, kind), count in zip(steps, values, strict=True):
        total += RepairCount(0, {column.name: {kind: int(count)}})
    return total


def _changed(column: Column, before: int, after: int) -> str:
    return f"{_quote(_stage(column, before))} IS DISTINCT FROM {_quote(_stage(column, after))}"


def _staged(columns: list[Column], relation: str) -> str:
    """Nested selects that add, for each column, its text before and after each repair, every one computed once."""
    items = ", ".join(f"nullif(trim({_quote(column.name)}), '') AS {_quote(_stage(column, 0))}" for column in columns)
    staged = f"(SELECT *, {items} FROM {relation})"
    for index in range(max(len(column.repair) for column in columns)):
        items = ", ".join(
            f"{expression(column.repair[index], _quote(_stage(column, index)))} AS {_quote(_stage(column, index + 1))}"
            for column in columns
            if index < len(column.repair)
        )
        staged = f"(SELECT *, {items} FROM {staged})"
    return staged


def _stage(column: Column, index: int) -> str:
    return f"{column.name}{_STAGE}{index}"


def _stages(columns: list[Column]) -> list[str]:
    return [_stage(column, index) for column in columns for index in range(len(column.repair) + 1)]


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _where(text: str, pattern: str, then: str) -> str:
    return f"CASE WHEN regexp_matches({text}, {_literal(pattern)}) THEN {then} ELSE {text} END"


def _full_width(text: str, _: RepairStep) -> str:
    wide = "".join(chr(code) for code in range(0xFF01, 0xFF5F)) + "\u3000"
    narrow = "".join(chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)) + " "
    # Translating is slow, and few texts need it.
    translated = f"nullif(trim(translate({text}, {_literal(wide)}, {_literal(narrow)})), '')"
    return _where(text, "[\uff01-\uff5e\u3000]", translated)


def _dash_is_null(text: str, _: RepairStep) -> str:
    return _where(text, r"^[-‐‑‒–—―−－─/／\\\s]+$", "NULL")


def _word_is_null(text: str, _: RepairStep) -> str:
    return f"CASE WHEN lower({text}) IN ({', '.join(map(_literal, NOTHING))}) THEN NULL ELSE {text} END"


def _null_if(text: str, step: RepairStep) -> str:
    return f"CASE WHEN {text} IN ({', '.join(map(_literal, step.texts))}) THEN NULL ELSE {text} END"


def _blank_as(text: str, step: RepairStep) -> str:
    return f"coalesce({text}, {_literal(step.text or '')})"


def _recode(text: str, step: RepairStep) -> str:
    cases = " ".join(f"WHEN {_literal(code)} THEN {_literal(meaning)}" for code, meaning in step.codes.items())
    return f"CASE {text} {cases} ELSE {text} END"


def _trailing_comma(text: str, _: RepairStep) -> str:
    return f"nullif(regexp_replace({text}, '[,，、;；\\s]+$', ''), '')"


def _thousands(text: str, _: RepairStep) -> str:
    return _where(text, f"^{_GROUPED}$", f"replace({text}, ',', '')")


def _float_noise(text: str, _: RepairStep) -> str:
    exact = f"CAST(round(CAST({text} AS DECIMAL(38,18)), 8) AS VARCHAR)"
    return _where(text, r"^[+-]?\d{1,15}\.\d{12,18}$", exact)


def _percent(text: str, _: RepairStep) -> str:
    number = f"regexp_extract({text}, '{_PLAIN}')"
    return _where(text, f"^{_PLAIN}\\s*%$", f"CAST(CAST({number} AS DECIMAL(23,8)) * 0.01 AS VARCHAR)")


def _amount_unit(text: str, _: RepairStep) -> str:
    found = f"regexp_extract({text}, {_literal(_AMOUNT)}, ['number', 'unit'])"
    factors = " ".join(f"WHEN {_literal(unit)} THEN {factor}" for unit, factor in UNITS.items())
    number = f"CAST(replace({found}.number, ',', '') AS DECIMAL(23,8))"
    return _where(text, _AMOUNT, f"CAST({number} * CASE {found}.unit {factors} END AS VARCHAR)")


def _wan_to_yuan(text: str, _: RepairStep) -> str:
    return _where(text, f"^{_PLAIN}$", f"CAST(CAST({text} AS DECIMAL(23,8)) * 10000 AS VARCHAR)")


def _chinese_date(text: str, _: RepairStep) -> str:
    digits = f"translate(found.year, '{_ZEROS}{''.join(NUMERALS[:9])}', '{'0' * len(_ZEROS)}123456789')"
    days = f"[{', '.join(map(_literal, DAYS_OF_MONTH))}]"
    month, day = (
        f"CASE WHEN found.{part} <> '' THEN "
        f"coalesce(nullif(list_position({days}, found.{part}), 0), TRY_CAST(found.{part} AS BIGINT), 0) END"
        for part in ("month", "day")
    )
    # One-element lists bind what is used again: the pattern is matched once, the numerals are read once.
    parts = (
        f"list_transform([regexp_extract({text}, '{_DATE}', ['year', 'month', 'day'])], "
        f"lambda found: {{'year': {digits}, 'month': {month}, 'day': {day}}})"
    )
    iso = (
        "concat_ws('-', part.year, lpad(CAST(part.month AS VARCHAR), 2, '0'), lpad(CAST(part.day AS VARCHAR), 2, '0'))"
    )
    known = (
        "part.year <> '' AND coalesce(part.month BETWEEN 1 AND 12, TRUE) AND coalesce(part.day BETWEEN 1 AND 31, TRUE)"
    )
    return f"list_transform({parts}, lambda part: CASE WHEN {known} THEN {iso} ELSE {text} END)[1]"


def _epoch_ms_china(text: str, _: RepairStep) -> str:
    # One offset for all times: the daylight saving of 1986 to 1991 moved no register's midnight that is known.
    moment = f"epoch_ms(CAST(CAST({text} AS DECIMAL(38,0)) AS BIGINT)) + INTERVAL 8 HOUR"
    return _where(text, _MILLISECONDS, f"CAST({moment} AS VARCHAR)")


def _nearest_midnight(text: str, _: RepairStep) -> str:
    moment = f"TRY_CAST({text} AS TIMESTAMP)"
    day = f"coalesce(CAST(CAST({moment} + INTERVAL 12 HOUR AS DATE) AS VARCHAR), {text})"
    return _where(text, _MOMENT, day)


_EXPRESSIONS: dict[Repair, Callable[[str, RepairStep], str]] = {
    Repair.FULL_WIDTH: _full_width,
    Repair.DASH_IS_NULL: _dash_is_null,
    Repair.WORD_IS_NULL: _word_is_null,
    Repair.NULL_IF: _null_if,
    Repair.BLANK_AS: _blank_as,
    Repair.RECODE: _recode,
    Repair.TRAILING_COMMA: _trailing_comma,
    Repair.THOUSANDS: _thousands,
    Repair.FLOAT_NOISE: _float_noise,
    Repair.PERCENT: _percent,
    Repair.AMOUNT_UNIT: _amount_unit,
    Repair.WAN_TO_YUAN: _wan_to_yuan,
    Repair.CHINESE_DATE: _chinese_date,
    Repair.EPOCH_MS_CHINA: _epoch_ms_china,
    Repair.NEAREST_MIDNIGHT: _nearest_midnight,
}
