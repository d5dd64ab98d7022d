"""Feast's protobuf values to the columns of packed rows, and back."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value

from credit301.features.packed_wire import Kind


def from_protos(values: list[Value | None], kind: Kind) -> pa.Array:
    """A column of ``kind``; a value that is missing, or holds nothing, is null."""
    given = [None if value is None or value.WhichOneof("val") in {None, "null_val"} else value for value in values]
    if kind == "d":
        return pa.array([None if value is None else value.double_val for value in given], pa.float64())
    if kind == "s":
        return pa.array([None if value is None else value.string_val for value in given], pa.string())
    return pa.array([None if value is None else value.SerializeToString() for value in given], pa.binary())


def to_proto(kind: Kind, value: Any, *, nan: bool) -> Value:
    """A value as it was written; ``nan`` says that it is one."""
    if nan:
        return Value(double_val=math.nan)
    if value is None:
        return Value()
    if kind == "d":
        return Value(double_val=value)
    return Value(string_val=value) if kind == "s" else Value.FromString(value)
