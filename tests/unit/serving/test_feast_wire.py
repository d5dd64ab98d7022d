"""The wire module reads and names exactly what Feast itself writes; Feast is imported here only."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.errors import FeatureStoreError
from credit301.features import feast_wire
from tests.support.scoring import value_bytes

scalars = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(max_size=300),
)


@pytest.fixture(scope="module")
def feast() -> Any:
    from feast.infra.online_stores import helpers
    from feast.protos.feast.types import EntityKey_pb2, Value_pb2
    from google.protobuf.timestamp_pb2 import Timestamp

    class Feast:
        """What Feast offers, under one name."""

        value = Value_pb2.Value
        float_list = Value_pb2.FloatList
        entity = EntityKey_pb2.EntityKey
        timestamp = Timestamp
        key = staticmethod(helpers._redis_key)
        field = staticmethod(helpers._mmh3)

    return Feast


@given(project=st.text(min_size=1, max_size=20), join_key=st.text(min_size=1, max_size=20), value=st.text(max_size=40))
def test_an_entitys_key_is_the_one_feast_computes(feast: Any, project: str, join_key: str, value: str) -> None:
    proto = feast.entity(join_keys=[join_key], entity_values=[feast.value(string_val=value)])
    assert feast_wire.entity_key(project, join_key, value) == feast.key(project, proto, 3)


@given(view=st.text(min_size=1, max_size=30), feature=st.text(min_size=1, max_size=30))
def test_a_features_field_is_the_one_feast_computes(feast: Any, view: str, feature: str) -> None:
    assert feast_wire.field(view, feature) == feast.field(f"{view}:{feature}")


@given(value=scalars)
@settings(max_examples=300)
def test_every_scalar_reads_back_as_feast_wrote_it(feast: Any, value: float | str | bool) -> None:
    match value:
        case bool():
            proto = feast.value(bool_val=value)
        case int():
            proto = feast.value(int64_val=value)
        case float():
            proto = feast.value(double_val=value)
        case _:
            proto = feast.value(string_val=value)
    read = feast_wire.decode_value(proto.SerializeToString())
    assert (read, type(read)) == (value, type(value))


@given(st.floats(width=32, allow_nan=False))
def test_a_single_precision_value_reads_back(feast: Any, value: float) -> None:
    assert feast_wire.decode_value(feast.value(float_val=value).SerializeToString()) == value


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_short_integer_reads_back(feast: Any, value: int) -> None:
    assert feast_wire.decode_value(feast.value(int32_val=value).SerializeToString()) == value


def test_null_absent_empty_and_nan_are_all_no_value(feast: Any) -> None:
    nothing = [None, b"", feast.value(null_val=0).SerializeToString(), feast.value().SerializeToString()]
    nothing += [
        feast.value(double_val=math.nan).SerializeToString(),
        feast.value(float_val=math.nan).SerializeToString(),
    ]
    assert [feast_wire.decode_value(data) for data in nothing] == [None] * len(nothing)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_a_time_reads_back_to_the_microsecond(feast: Any, naive: datetime) -> None:
    time = naive.replace(tzinfo=UTC)
    stamp = feast.timestamp()
    stamp.FromDatetime(time)
    assert feast_wire.decode_timestamp(stamp.SerializeToString()) == time


def test_a_time_before_1970_reads_back(feast: Any) -> None:
    time = datetime(1949, 10, 1, tzinfo=UTC)
    stamp = feast.timestamp()
    stamp.FromDatetime(time)
    assert feast_wire.decode_timestamp(stamp.SerializeToString()) == time


def test_the_tests_own_writer_writes_what_feast_does(feast: Any) -> None:
    assert value_bytes(1.5) == feast.value(double_val=1.5).SerializeToString()
    assert value_bytes("active") == feast.value(string_val="active").SerializeToString()
    assert value_bytes(None) == feast.value(null_val=0).SerializeToString()


@given(st.binary(min_size=1, max_size=40))
@settings(max_examples=500)
def test_any_other_bytes_are_an_error_and_never_a_wrong_number(feast: Any, data: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        read = feast_wire.decode_value(data)
    except FeatureStoreError:
        return
    proto = feast.value()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        pytest.fail(f"{data!r} was read as {read!r}, which Feast would not read")
    kind = proto.WhichOneof("val")
    theirs = getattr(proto, kind) if kind and kind != "null_val" else None
    if isinstance(theirs, float) and math.isnan(theirs):
        theirs = None
    if kind != "int32_val":
        assert read == theirs


def test_a_list_is_refused(feast: Any) -> None:
    data = feast.value(float_list_val=feast.float_list(val=[1.0, 2.0])).SerializeToString()
    with pytest.raises(FeatureStoreError, match="not a scalar"):
        feast_wire.decode_value(data)


@pytest.mark.parametrize(
    "data", [b"\x08", b"\xff\xff", b"\x1a\x01x", b"\x08" + b"\xff" * 11, b"\x08" + b"\xff" * 8 + b"\x7f"]
)
def test_bytes_that_are_no_time_are_refused(data: bytes) -> None:
    with pytest.raises(FeatureStoreError):
        feast_wire.decode_timestamp(data)
