"""Rows of the online store: what is packed from Arrow is what is read, and what is no row is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.errors import FeatureStoreError
from credit301.features.packed_wire import HEADER, Layout, entity_key, fingerprint_of, nan_columns, unpack
from credit301.features.packing import entity_keys, pack

ARROW = {"d": pa.float64(), "s": pa.string(), "p": pa.binary()}
VALUES = {
    "d": st.none() | st.floats(allow_nan=False),
    "s": st.none() | st.text(max_size=20),
    "p": st.none() | st.binary(max_size=20),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Layout, dict[str, list[Any]], list[int], list[int]]:
    kinds = draw(st.lists(st.sampled_from("dsp"), min_size=1, max_size=5))
    layout = Layout(tuple(f"f{place}" for place in range(len(kinds))), tuple(kinds))  # type: ignore[arg-type]
    rows = draw(st.integers(1, 6))
    times = st.lists(st.integers(-(2**62), 2**62), min_size=rows, max_size=rows)
    columns = {
        name: draw(st.lists(VALUES[kind], min_size=rows, max_size=rows))
        for name, kind in zip(layout.names, layout.kinds, strict=True)
    }
    return layout, columns, draw(times), draw(times)


def packed(layout: Layout, columns: dict[str, list[Any]], created: list[int], event: list[int]) -> list[bytes]:
    kinds = dict(zip(layout.names, layout.kinds, strict=True))
    arrays = {name: pa.array(values, ARROW[kinds[name]]) for name, values in columns.items()}
    rows: list[bytes] = pack(layout, arrays, np.array(created), np.array(event)).to_pylist()
    return rows


@given(table=tables())
@settings(max_examples=300, deadline=None)
def test_a_row_reads_back_as_it_was_packed(table: tuple[Layout, dict[str, list[Any]], list[int], list[int]]) -> None:
    layout, columns, created, event = table
    for place, data in enumerate(packed(layout, columns, created, event)):
        row = unpack(layout, data)
        assert (row.created, row.event) == (created[place], event[place])
        assert row.values == [columns[name][place] for name in layout.names]
        assert fingerprint_of(data) == layout.fingerprint
        assert nan_columns(layout, data) == set()


def test_a_nan_that_was_written_is_told_from_a_null() -> None:
    layout = Layout(("a", "b"), ("d", "d"))
    (data,) = packed(layout, {"a": [math.nan], "b": [None]}, [0], [0])
    assert unpack(layout, data).values == [None, None]
    assert nan_columns(layout, data) == {"a"}


@given(cut=st.integers(0, 60), table=tables())
@settings(max_examples=200, deadline=None)
def test_a_shortened_row_is_refused(cut: int, table: tuple[Layout, dict[str, list[Any]], list[int], list[int]]) -> None:
    layout = table[0]
    data = packed(*table)[0]
    with pytest.raises(FeatureStoreError):
        unpack(layout, data[: max(0, len(data) - 1 - cut)])


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(40), bytes(HEADER.size)])
def test_what_is_no_row_has_no_layout(data: bytes) -> None:
    with pytest.raises(FeatureStoreError):
        fingerprint_of(data)


def test_a_layout_tells_its_names_and_kinds_apart() -> None:
    layouts = [Layout(("a", "b"), ("d", "s")), Layout(("b", "a"), ("d", "s")), Layout(("a", "b"), ("s", "d"))]
    assert len({layout.fingerprint for layout in layouts}) == len(layouts)
    assert all(Layout.parse(layout.text) == layout for layout in layouts)
    with pytest.raises(FeatureStoreError):
        Layout.parse("[]")


@given(project=st.text(min_size=1, max_size=20), join_key=st.text(min_size=1, max_size=20), value=st.text(max_size=40))
@settings(deadline=None)
def test_an_entitys_key_is_the_one_feast_computes(project: str, join_key: str, value: str) -> None:
    from feast.infra.online_stores.helpers import _redis_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    proto = EntityKey(join_keys=[join_key], entity_values=[Value(string_val=value)])
    assert entity_key(project, join_key, value) == _redis_key(project, proto, 3)


@given(project=st.text(max_size=8), join_key=st.text(min_size=1, max_size=8), values=st.lists(st.text(max_size=30)))
@settings(deadline=None)
def test_keys_of_a_column_are_the_keys_of_its_values(project: str, join_key: str, values: list[str]) -> None:
    keys = entity_keys(project, join_key, pa.array(values, pa.string())).to_pylist()
    assert keys == [entity_key(project, join_key, value) for value in values]
