"""The bytes that stock Feast (0.67) keeps in Redis, read and written without importing Feast.

A row of an entity is one hash. Its key is the entity key in Feast's serialization version 3 followed by the project's
name; its fields are ``murmur3_32("<view>:<feature>")`` in four little-endian bytes, and ``_ts:<view>`` for the event
time. A value is a ``feast.types.Value``, the time a ``google.protobuf.Timestamp``, both in protobuf wire format.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta

from credit301.errors import FeatureStoreError

Scalar = float | int | str | bool | None

_STRING = 2  # feast.types.ValueType.STRING
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Tags (field number << 3 | wire type) of the members of feast.types.Value that a feature of ours can be.
_STRING_VAL = 2 << 3 | 2
_BOOL_VAL = 7 << 3
_VARINTS = {3 << 3, 4 << 3, _BOOL_VAL}
_FIXED = {5 << 3 | 1: struct.Struct("<xd"), 6 << 3 | 5: struct.Struct("<xf")}
# Value.null_val is field 19, whose tag takes two bytes; the enum's only member, NULL, is zero.
_NULL = b"\x98\x01\x00"
_MORE = 0x80
_LONGEST_SHIFT = 63


def entity_key(project: str, join_key: str, value: str) -> bytes:
    """Redis key of the entity whose only join key ``join_key`` is the string ``value``."""
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


def field(view: str, feature: str) -> bytes:
    """Redis field of a feature (4 bytes)."""
    import mmh3

    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


def timestamp_field(view: str) -> str:
    """Redis field of a view's event time."""
    return f"_ts:{view}"


def decode_value(data: bytes | None) -> Scalar:
    """The number, text or truth value in a serialized ``Value``; ``None`` where the field is absent, null or NaN.

    Raises:
        FeatureStoreError: the bytes are a list, a map, or no ``Value`` at all.
    """
    if not data or data == _NULL:
        return None
    tag = data[0]
    try:
        if tag in _FIXED:
            value = float(_FIXED[tag].unpack(data)[0])
            # Feast's own writers leave NaN where pandas had no value.
            return None if math.isnan(value) else value
        number, end = _varint(data, 1)
        if tag == _STRING_VAL and end + number == len(data):
            return data[end:].decode("utf-8")
        if tag in _VARINTS and end == len(data):
            return bool(number) if tag == _BOOL_VAL else _signed(number)
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise _unreadable(data) from error
    raise _unreadable(data)


def decode_timestamp(data: bytes | None) -> datetime | None:
    """The instant in a serialized ``Timestamp``, in UTC; ``None`` where the field is absent.

    Raises:
        FeatureStoreError: the bytes are no ``Timestamp``.
    """
    if data is None:
        return None
    seconds = nanos = position = 0
    try:
        while position < len(data):
            tag = data[position]
            number, position = _varint(data, position + 1)
            if tag == 1 << 3:
                seconds = _signed(number)
            elif tag == 2 << 3:
                nanos = number
            else:
                raise _unreadable(data)
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except (IndexError, OverflowError) as error:
        raise _unreadable(data) from error


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that starts at ``position``, and where it ends."""
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & (_MORE - 1)) << shift
        position += 1
        if byte < _MORE:
            return number, position
        shift += 7
        if shift > _LONGEST_SHIFT:
            raise _unreadable(data)


def _unreadable(data: bytes) -> FeatureStoreError:
    return FeatureStoreError(
        f"A feature in the online store has bytes that are not a scalar Feast value ({data[:16].hex()}).",
        hint="Materialize the view again; something else wrote to this key.",
    )
