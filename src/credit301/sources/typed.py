"""From text as sent to typed values: DuckDB expressions derived from a contract.

A batch in the inbox holds text only. The views made here show, for each column, its typed value (NULL where the text
does not denote one) and, for columns that are not text themselves, the text as sent beside it. A value that the type
would change (``1.005`` as ``DECIMAL(18,2)``, ``2.5`` as an integer) is not castable, nor is a timestamp with an offset:
all times are the city's wall clock, and dropping the offset would move it. White space around a value is no part of it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq

from credit301.contracts.model import Column, Contract, LogicalType
from credit301.errors import ContractError
from credit301.sources.repairs import repaired

SENT_SUFFIX = "__sent"
HASH = "_record_hash"
ROW = "_row"
EXTRA = "_extra"
PULL_ID = "_pull_id"
REASONS = "_reasons"

_SQL_TYPE = re.compile(r"^[A-Z]+(\(\d+(,\s*\d+)?\))?$")
_DECIMAL = re.compile(r"^(?:DECIMAL|NUMERIC)\((\d+),\s*(\d+)\)$")
_TEXT_TYPES = ("VARCHAR", "CHAR", "TEXT", "STRING")
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT"}
FLOATS = {"DOUBLE", "FLOAT", "REAL"}
EPOCHS = {"epoch_ms": 1, "epoch_s": 1000}
# Digits this far past the scale of a decimal are noise of the sender's floating point, not information.
_NOISE_DIGITS = 4
_OFFSET = r":\d{2}(\.\d+)?\s*([zZ]|[+-]\d{2}(:?\d{2})?)$"
_GROUPED = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_TRUE, _FALSE = "('true', 't', '1', '1.0', 'yes', 'y', '是')", "('false', 'f', '0', '0.0', 'no', 'n', '否')"


def quote(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """``value`` as an SQL literal: text, number, boolean or NULL.

    Contracts are configuration, and a view cannot take bound parameters; everything that comes from data is bound.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def is_text(column: Column) -> bool:
    """Whether the column's typed value is the text itself."""
    return column.sql_type.startswith(_TEXT_TYPES)


def decimal_of(kind: str) -> tuple[int, int] | None:
    """Digits and scale of an SQL decimal type; ``None`` for any other type."""
    found = _DECIMAL.match(kind)
    return (int(found[1]), int(found[2])) if found else None


def sent_name(column: Column) -> str:
    """Name, in the views, of the column that is NULL where nothing was sent.

    It holds the text as sent at least where that is no value of the column's type.
    """
    return column.name if is_text(column) else column.name + SENT_SUFFIX


def typed_columns(contract: Contract) -> str:
    """Select list of the typed values and the texts they come from, over an inbox file."""
    return ", ".join(item for column in contract.columns for item in typed_items(column))


def typed_items(column: Column) -> list[str]:
    """Items of a select list: the typed value of a column of texts and, where it is another, the text."""
    text = f"nullif(trim({quote(column.name)}), '')"
    value = f"{value_expression(column, text)} AS {quote(column.name)}"
    return [value] if is_text(column) else [f"{text} AS {quote(sent_name(column))}", value]


def value_expression(column: Column, text: str) -> str:
    """SQL expression of the typed value of ``column``, NULL where the SQL expression ``text`` does not denote one.

    Raises:
        ContractError: the contract's physical type or date format is not one that DuckDB has.
    """
    kind = column.sql_type
    if not _SQL_TYPE.match(kind):
        raise ContractError(
            f"Column {column.name}: {kind!r} is no SQL type.", hint="Use VARCHAR, BIGINT, DECIMAL(18,2), DATE, ..."
        )
    if is_text(column):
        return text
    if column.logical_type is LogicalType.BOOLEAN:
        return f"CASE WHEN lower({text}) IN {_TRUE} THEN TRUE WHEN lower({text}) IN {_FALSE} THEN FALSE END"
    if column.logical_type in (LogicalType.DATE, LogicalType.TIMESTAMP):
        return _time(column, text)
    return _number(column, text)


def _number(column: Column, text: str) -> str:
    # Underscores and 0x would pass DuckDB's cast, and no authority writes numbers so.
    plain = (
        f"CASE WHEN contains({text}, ',') "
        f"THEN CASE WHEN regexp_matches(trim({text}), '{_GROUPED}') THEN replace({text}, ',', '') END "
        f"WHEN contains({text}, '_') OR contains(lower({text}), 'x') THEN NULL ELSE {text} END"
    )
    kind = column.sql_type
    if kind in FLOATS:
        value = f"TRY_CAST({plain} AS {kind})"
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    decimal = decimal_of(kind)
    if decimal is None and kind not in _INTEGERS:
        raise ContractError(f"Column {column.name}: {kind!r} is no numeric type that the platform can land.")
    scale = decimal[1] if decimal else 0
    exact = f"TRY_CAST({plain} AS DECIMAL(38,{min(scale + _NOISE_DIGITS, 38)}))"
    value = f"TRY_CAST({exact} AS {kind})"
    return f"CASE WHEN {exact} = {value} THEN {value} END"


def _time(column: Column, text: str) -> str:
    if column.date_format in EPOCHS:
        milliseconds = f"TRY_CAST(TRY_CAST({text} AS DOUBLE) * {EPOCHS[column.date_format]} AS BIGINT)"
        moment = f"CASE WHEN abs({milliseconds}) < 253402300800000 THEN epoch_ms({milliseconds}) END"
    elif column.date_format:
        formats = ", ".join(literal(part.strip()) for part in column.date_format.split("|"))
        moment = f"try_strptime(trim({text}), [{formats}])"
    else:
        moment = f"TRY_CAST({text} AS TIMESTAMP)"
        moment = f"CASE WHEN isfinite({moment}) AND NOT regexp_matches({text}, '{_OFFSET}') THEN {moment} END"
    if column.sql_type == "DATE":
        return f"CASE WHEN {moment} = date_trunc('day', {moment}) THEN CAST({moment} AS DATE) END"
    return f"CAST({moment} AS {column.sql_type})"


def record_hash(contract: Contract) -> str:
    """SQL expression, over the typed columns, of the SHA-256 (64 hex digits) of a record's business values.

    Values are written canonically, in order of column name, each with its length; a NULL is left out. So ``1.5`` and
    ``1.50`` are the same record, and a column that is added to the contract later does not change old records.
    """
    parts = []
    for column in sorted(contract.columns, key=lambda item: item.name):
        value = quote(column.name)
        text = value if is_text(column) else f"coalesce(CAST({value} AS VARCHAR), {quote(sent_name(column))})"
        parts.append(
            f"CASE WHEN {text} IS NOT NULL THEN {literal(column.name + '=')} || length({text}) || ':' || {text} END"
        )
    return f"sha256(concat_ws(';', {', '.join(parts)}))"


def batch_query(contract: Contract, relation: str) -> str:
    """SELECT of text, typed values, ``_row`` and ``_record_hash`` over ``relation``, an SQL relation of texts."""
    texts = repaired(contract, relation)
    return f"SELECT *, {record_hash(contract)} AS {HASH} FROM (SELECT {ROW}, {typed_columns(contract)} FROM {texts})"


def file_relation(contract: Contract, file: Path) -> str:
    """SQL relation of the texts in an inbox or quarantine file, with every column that the contract has now.

    A column that the contract did not have when the file was written is looked for among the unknown columns.
    """
    there = set(pq.read_schema(file).names)
    items = [ROW, EXTRA, *(_adopted(column, there) for column in contract.columns)]
    return f"(SELECT {', '.join(items)} FROM read_parquet({literal(str(file))}))"


def _adopted(column: Column, there: set[str]) -> str:
    if column.name in there:
        return quote(column.name)
    path = '$."' + column.physical_name + '"'
    return f"{EXTRA} ->> {literal(path)} AS {quote(column.name)}"
