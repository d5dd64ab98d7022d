"""The bytes of the online store: one value for each entity and feature view, packed from and read without protobuf.

An entity is one Redis hash, under the same key as stock Feast's (:func:`entity_key`). Its
fields are the names of feature views; a field's value is one row of the view::

    format (1 byte) | layout (4 bytes) | created (i64) | event (i64) | one number for each column | bytes of the columns

Times are microseconds since 1970, everything is big-endian. A column of kind ``d`` is a double; one of kind ``s``
(text) or ``p`` (a serialized ``feast.types.Value``, for types that no contract has) is the length of its bytes, -1 for
null, and the bytes follow in the order of the columns. ``layout`` is a fingerprint of names and kinds: under
:func:`layout_key` the store says what they were when the row was written, so that a reader that was built for another
set of columns finds its own by name, and a view may change while both are served. Rows are packed in
:mod:`credit301.features.packing`, which needs Arrow; reading does not.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from credit301.errors import FeatureStoreError

Scalar = float | int | str | bool | None
Kind = Literal["d", "s", "p"]
FORMAT = 1
HEADER = struct.Struct(">BIqq")
NULL_LENGTH = -1
_STRING = 2  # feast.types.ValueType.STRING
NULL_BITS = 0x7FF8_0000_0000_0301
"""A NaN that no computation makes: the null of a double, which differs from a NaN that was written as one."""

WRITE_SCRIPT = """
local call, byte, unpack = redis.call, string.byte, struct.unpack
local field, expire, written = ARGV[1], tonumber(ARGV[2]), 0
for place, key in ipairs(KEYS) do
  local row = ARGV[place + 2]
  local there = call('HSETNX', key, field, row) == 0 and call('HGET', key, field)
  local newer = false
  if there and byte(there, 1) == 1 then
    local created, event = unpack('>i8i8', there, 6)
    local mine, true_at = unpack('>i8i8', row, 6)
    newer = created > mine or (created == mine and event > true_at)
  end
  if not newer then
    if there then call('HSET', key, field, row) end
    if expire > 0 then call('EXPIRE', key, expire) end
    written = written + 1
  end
end
return written
"""
"""Writes rows (ARGV[3..]) to field ARGV[1] of KEYS unless the row there became known later, or was true later where
both became known at once; ARGV[2] is the time to live of a key in seconds, 0 for ever. Gives how many were written."""


@dataclass(frozen=True)
class Layout:
    """The columns of a view's rows, in order."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @cached_property
    def fingerprint(self) -> int:
        """32 bits over names and kinds."""
        return zlib.crc32(self.text.encode("utf-8"))

    @cached_property
    def text(self) -> str:
        """The layout as JSON, as it is kept in the store."""
        return json.dumps([list(self.names), "".join(self.kinds)], ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | bytes) -> Layout:
        """The layout that :attr:`text` was made of.

        Raises:
            FeatureStoreError: it is none.
        """
        try:
            names, kinds = json.loads(text)
            return cls(tuple(names), tuple(kinds))
        except (ValueError, TypeError) as error:
            raise FeatureStoreError(
                "The online store has a damaged layout of a feature view.", hint="Materialize the features again."
            ) from error

    @cached_property
    def row(self) -> struct.Struct:
        """Header and fixed part."""
        return struct.Struct(HEADER.format + "".join("d" if kind == "d" else "i" for kind in self.kinds))

    @cached_property
    def others(self) -> tuple[tuple[int, Kind], ...]:
        """The columns that are no doubles, by their place."""
        return tuple((place, kind) for place, kind in enumerate(self.kinds) if kind != "d")


class Row(NamedTuple):
    """One unpacked row: times in microseconds since 1970, and the values by column (``p`` columns as bytes)."""

    created: int
    event: int
    values: list[Any]


def entity_key(project: str, join_key: str, value: str) -> bytes:
    """Redis key of the entity whose only join key ``join_key`` is the string ``value``: Feast's serialization 3."""
    name, text = join_key.encode("utf-8"), value.encode("utf-8")
    return b"".join(
        (
            struct.pack("<III", 1, _STRING, len(name)),
            name,
            struct.pack("<II", _STRING, len(text)),
            text,
            project.encode("utf-8"),
        )
    )


def layout_key(project: str, fingerprint: int) -> str:
    """Redis key of a layout."""
    return f"credit301:layout:{project}:{fingerprint:08x}"


def unpack(layout: Layout, data: bytes) -> Row:
    """The row in ``data``, which was written in ``layout``.

    Raises:
        FeatureStoreError: it was not.
    """
    try:
        _, _, created, event, *fixed = layout.row.unpack_from(data)
        position = layout.row.size
        values: list[Any] = [None if number != number else number for number in fixed]  # noqa: PLR0124 - NaN
        for place, kind in layout.others:
            number = fixed[place]
            if number == NULL_LENGTH:
                values[place] = None
            else:
                part = data[position : position + number]
                position += number
                values[place] = part.decode("utf-8") if kind == "s" else part
    except (struct.error, UnicodeDecodeError) as error:
        raise unreadable(data) from error
    if position != len(data):
        raise unreadable(data)
    return Row(created, event, values)


def nan_columns(layout: Layout, data: bytes) -> set[str]:
    """Names of the double columns of a row that hold a real NaN, which :func:`unpack` gives as ``None``, too."""
    found, start = set(), HEADER.size
    for name, kind in zip(layout.names, layout.kinds, strict=True):
        if kind == "d":
            part = data[start : start + 8]
            if math.isnan(struct.unpack(">d", part)[0]) and int.from_bytes(part, "big") != NULL_BITS:
                found.add(name)
        start += 8 if kind == "d" else 4
    return found


def fingerprint_of(data: bytes) -> int:
    """Fingerprint of the layout that ``data`` was written in.

    Raises:
        FeatureStoreError: ``data`` is no row of this format.
    """
    if len(data) < HEADER.size or data[0] != FORMAT:
        raise unreadable(data)
    return int.from_bytes(data[1:5], "big")


def unreadable(data: bytes) -> FeatureStoreError:
    """The error of a value that is no row of this format."""
    return FeatureStoreError(
        f"The online store holds something that is no row of a feature view ({data[:16].hex()}).",
        hint="Materialize the view again; something else wrote to this key.",
    )
