"""Packs Arrow columns into the rows of :mod:`credit301.features.packed_wire`, without a Python object per value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from credit301.features.packed_wire import FORMAT, NULL_BITS, NULL_LENGTH, Layout, entity_key

LENGTH_BYTES = 4


def pack(
    layout: Layout, columns: Mapping[str, pa.Array], created: npt.NDArray[np.int64], event: npt.NDArray[np.int64]
) -> pa.BinaryArray:
    """Rows (n) from Arrow columns of n values; ``created`` and ``event`` are microseconds since 1970.

    Doubles and texts are of those Arrow types, ``p`` columns binary.
    """
    fixed = np.zeros(len(created), dtype=_fixed_type(layout))
    fixed["format"], fixed["layout"], fixed["created"], fixed["event"] = FORMAT, layout.fingerprint, created, event
    parts = []
    for place, (name, kind) in enumerate(zip(layout.names, layout.kinds, strict=True)):
        column = columns[name]
        if kind == "d":
            bits = column.fill_null(0.0).to_numpy(zero_copy_only=False).astype(np.float64).view(np.uint64)
            fixed[f"c{place}"] = np.where(column.is_null(), np.uint64(NULL_BITS), bits)
        else:
            binary = column.cast(pa.binary())
            fixed[f"c{place}"] = pc.binary_length(binary).fill_null(NULL_LENGTH).to_numpy(zero_copy_only=False)
            parts.append(binary)
    rows = pa.Array.from_buffers(pa.binary(fixed.dtype.itemsize), len(fixed), [None, pa.py_buffer(fixed.tobytes())])
    rows = rows.cast(pa.binary())
    if not parts:
        return rows
    return pc.binary_join_element_wise(rows, *parts, b"", null_handling="replace", null_replacement=b"")


def _fixed_type(layout: Layout) -> np.dtype[np.void]:
    header = [("format", "u1"), ("layout", ">u4"), ("created", ">i8"), ("event", ">i8")]
    return np.dtype(
        header + [(f"c{place}", ">u8" if kind == "d" else ">i4") for place, kind in enumerate(layout.kinds)]
    )


def entity_keys(project: str, join_key: str, values: pa.Array) -> pa.BinaryArray:
    """Redis keys (n) of the entities whose only join key ``join_key`` is the text in ``values`` (n)."""
    suffix = project.encode("utf-8")
    # All but the length of the value, which stands between.
    head = entity_key("", join_key, "")[:-LENGTH_BYTES]
    binary = values.cast(pa.binary())
    lengths = pc.binary_length(binary).to_numpy(zero_copy_only=False).astype("<u4")
    sizes = pa.Array.from_buffers(pa.binary(LENGTH_BYTES), len(lengths), [None, pa.py_buffer(lengths.tobytes())])
    return pc.binary_join_element_wise(head, sizes.cast(pa.binary()), binary, suffix, b"")
