"""Values that arrive typed: which Arrow types the type of a contract holds exactly, and the SQL that takes them over.

What does not fit goes the way of text (:mod:`credit301.sources.typed`), which has rules for everything.
"""

from __future__ import annotations

import pyarrow as pa

from credit301.contracts.model import Column
from credit301.sources.typed import FLOATS, decimal_of, is_text

_BITS = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "INT": 31, "BIGINT": 63, "HUGEINT": 127}
# Every integer up to this many bits is a floating-point number of its own.
_FLOAT_BITS = {"DOUBLE": 53, "FLOAT": 24, "REAL": 24}
_LARGEST_PRECISION = 38


def plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary-encoded column; any other type is its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def readable(kind: pa.DataType) -> bool:
    """Whether DuckDB reads a Parquet column of this Arrow type as the values that Arrow sees in it."""
    kind = plain(kind)
    return (
        is_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_float32(kind)
        or pa.types.is_float64(kind)
        or (pa.types.is_decimal(kind) and kind.precision <= _LARGEST_PRECISION)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_null(kind)
    )


def is_kept(column: Column, kind: pa.DataType) -> bool:  # noqa: PLR0911 - one for each kind of type
    """Whether every finite value of the readable Arrow type ``kind`` is exactly one of ``column``'s type.

    A 32-bit float is not widened: as text ``0.1`` is another ``DOUBLE`` than as 32-bit float.
    """
    kind, target = plain(kind), column.sql_type
    if pa.types.is_null(kind):
        return True
    if is_text(column) or is_string(kind):
        # Whatever arrives for a text is the text that denotes it.
        return is_text(column)
    if pa.types.is_boolean(kind):
        return target == "BOOLEAN"
    if pa.types.is_integer(kind):
        return _holds_integer(target, kind)
    if pa.types.is_decimal(kind):
        return _holds_digits(target, kind.precision - kind.scale, kind.scale)
    if pa.types.is_floating(kind):
        return target in FLOATS and (target == "DOUBLE") == pa.types.is_float64(kind)
    if pa.types.is_date(kind):
        return target in ("DATE", "TIMESTAMP")
    return pa.types.is_timestamp(kind) and kind.tz is None and target == "TIMESTAMP"


def value(column: Column, kind: pa.DataType, item: str, *, padded: bool = True, finite: bool = False) -> str:
    """SQL expression of the value of ``column`` for the SQL expression ``item`` of a type that is kept.

    NULL where the value is none that the platform takes: infinite, or finer than a microsecond.

    Args:
        column: of the contract.
        kind: the Arrow type of ``item``.
        item: what arrived.
        padded: whether a text may have white space around it.
        finite: whether the item is known to be neither infinite nor no number.
    """
    kind, target = plain(kind), column.sql_type
    if is_text(column):
        return f"nullif(trim({item}), '')" if padded and is_string(kind) else f"CAST({item} AS VARCHAR)"
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return f"CASE WHEN isfinite({item}) AND epoch_ns({item}) % 1000 = 0 THEN TRY_CAST({item} AS {target}) END"
    if may_be_rejected(kind) and not finite:
        return f"CASE WHEN isfinite({item}) THEN TRY_CAST({item} AS {target}) END"
    return f"CAST({item} AS {target})"


def may_be_rejected(kind: pa.DataType) -> bool:
    """Whether the type has values that the platform does not take."""
    kind = plain(kind)
    return bool(pa.types.is_floating(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def is_string(kind: pa.DataType) -> bool:
    """Whether the type is text."""
    kind = plain(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_integer(target: str, kind: pa.DataType) -> bool:
    bits = kind.bit_width - (1 if pa.types.is_signed_integer(kind) else 0)
    if target in _BITS or target in _FLOAT_BITS:
        return bool(bits <= {**_BITS, **_FLOAT_BITS}[target])
    return _holds_digits(target, len(str(2**bits)), 0)


def _holds_digits(target: str, before: int, after: int) -> bool:
    digits = decimal_of(target)
    return digits is not None and digits[1] >= after and digits[0] - digits[1] >= before
