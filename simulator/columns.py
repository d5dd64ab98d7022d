"""NumPy arrays to Arrow columns of the contracts' types, without a Python object per value."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.schema import MONEY, RATE, SCHEMAS, SCORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.config import Bools, Floats, Ints, Text

MICROSECONDS = 1_000_000


def _decimal(unscaled: Ints, kind: pa.DataType, missing: Bools | None) -> pa.Array:
    """A decimal column from its integers: an Arrow decimal is the same integer, sign-extended to 16 bytes."""
    pairs = np.empty((len(unscaled), 2), dtype=np.int64)
    pairs[:, 0] = unscaled
    pairs[:, 1] = unscaled >> 63
    column = pa.Array.from_buffers(kind, len(unscaled), [None, pa.py_buffer(pairs)])
    return column if missing is None else _without(column, missing)


def _without(column: pa.Array, missing: Bools) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(pa.array(missing), pa.scalar(None, column.type), column)


def money(yuan: Floats, missing: Bools | None = None) -> pa.Array:
    """Yuan (n) to exact decimal(18,2), rounded to the fen."""
    return _decimal(np.rint(yuan * 100).astype(np.int64), MONEY, missing)


def score(points: Floats, missing: Bools | None = None) -> pa.Array:
    """Points (n) to exact decimal(5,2)."""
    return _decimal(np.rint(points * 100).astype(np.int64), SCORE, missing)


def rate(value: Floats) -> pa.Array:
    """Fractions (n) to exact decimal(9,6)."""
    return _decimal(np.rint(value * 1_000_000).astype(np.int64), RATE, None)


def whole(value: Ints | Floats, missing: Bools | None = None) -> pa.Array:
    """Counts (n) to int32."""
    return pa.array(value.astype(np.int32), mask=missing)


def day(days: Ints, missing: Bools | None = None) -> pa.Array:
    """Days since 1970-01-01 (n) to date32."""
    return pa.array(days.astype(np.int32), mask=missing).cast(pa.date32())


def moment(seconds: Ints) -> pa.Array:
    """Seconds since 1970-01-01, local time (n), to a timestamp."""
    return pa.array(seconds * MICROSECONDS).cast(pa.timestamp("us"))


def pick(choices: pa.Array, index: Ints, missing: Bools | None = None) -> pa.Array:
    """`choices[index]` for a text column, null where `missing`."""
    return choices.take(pa.array(index, mask=missing))


@cache
def _period_texts(first: int, count: int, quarterly: bool) -> pa.Array:
    if quarterly:
        return pa.array([f"{1970 + number // 4}Q{number % 4 + 1}" for number in range(first, first + count)])
    return pa.array([f"{1970 + number // 12}-{number % 12 + 1:02d}" for number in range(first, first + count)])


def month_text(month: Ints) -> pa.Array:
    """Months counted from 1970-01 (n) to texts such as 2024-03."""
    return _period(month, quarterly=False)


def quarter_text(quarter: Ints) -> pa.Array:
    """Quarters counted from 1970Q1 (n) to texts such as 2024Q1."""
    return _period(quarter, quarterly=True)


def _period(number: Ints, *, quarterly: bool) -> pa.Array:
    if not len(number):
        return pa.array([], pa.string())
    first = int(number.min())
    return pick(_period_texts(first, int(number.max()) - first + 1, quarterly), number - first)


def texts(values: Text) -> pa.Array:
    """NumPy texts (n) to an Arrow text column."""
    return pa.array(values.tolist(), pa.string())


def table(source: str, columns: Mapping[str, pa.Array]) -> pa.Table:
    """A table of `source` with exactly its contract's columns; KeyError or ArrowInvalid where they differ."""
    schema = SCHEMAS[source]
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def repeat_with_corrections(
    rng: np.random.Generator, base: Mapping[str, np.ndarray], share: float, late_share: float
) -> dict[str, np.ndarray]:
    """Rows plus a second version of `share` of them, marked by a boolean `corrected`; `late_share` arrive very late.

    `base` maps names to arrays of one length n and holds `available` in seconds. A corrected version becomes
    available 20 to 120 days after the first one, a very late row 60 to 200 days after its time.
    """
    count = len(base["available"])
    rows = {name: values.copy() if name == "available" else values for name, values in base.items()}
    late = rng.random(count) < late_share
    rows["available"][late] += rng.integers(60, 200, int(late.sum())) * 86_400
    again = np.flatnonzero(rng.random(count) < share)
    doubled = {name: np.concatenate([values, values[again]]) for name, values in rows.items()}
    doubled["available"][count:] += rng.integers(20, 120, len(again)) * 86_400 + rng.integers(0, 3600, len(again))
    doubled["corrected"] = np.arange(count + len(again)) >= count
    return doubled


def numbered(prefix: str, number: Ints) -> pa.Array:
    """Identifiers (n): `prefix` and the number, padded so that all have one length."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(prefix, pa.array(number + 10**11).cast(pa.string()), "")


def ordinal_in_group(group: Ints) -> Ints:
    """Position of each row within its run of equal values of `group` (n, sorted)."""
    position = np.arange(len(group))
    starts = np.concatenate([[True], group[1:] != group[:-1]]) if len(group) else np.zeros(0, dtype=bool)
    return position - np.maximum.accumulate(np.where(starts, position, 0))
