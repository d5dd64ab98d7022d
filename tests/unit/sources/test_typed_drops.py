"""Records that arrive typed: taken over as they are, and the same records as if they had come as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit301.errors import SourceError
from credit301.settings import Settings
from credit301.sources.arrived import make_view, sent_rows
from credit301.sources.batches import Batch, Store, database
from credit301.sources.connectors import Page
from credit301.sources.connectors.base import WholeFile
from credit301.sources.inbox import pull
from credit301.sources.landing import land
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import PULL, accept, pull_all
from tests.unit.sources.exchange import sales

Row = dict[str, Any]


def typed(count: int, start: int = 0, **values: Any) -> list[Row]:
    """The records of ``sales`` with the contract's types."""
    return [
        {
            **record,
            "amount": Decimal(record["amount"]),
            "event_time": dt.datetime.fromisoformat(record["event_time"]),
            "available_at": dt.datetime.fromisoformat(record["available_at"]),
            **values,
        }
        for record in sales(count, start=start)
    ]


def drop(path: Path, rows: list[Row], schema: pa.Schema | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


@pytest.fixture
def workspace(tiny: TinyWorkspace, tmp_path: Path) -> Workspace:
    tiny.settings.data_dir = tmp_path / "data"
    tiny.replace("connector: http_exchange, " + PULL, "connector: file_drop, options: {path: '*'}")
    return tiny.load()


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return Store(workspace, "sales")


def arrived(workspace: Workspace, store: Store, batch: Batch, what: str = "*") -> list[tuple[Any, ...]]:
    with database(workspace) as connection:
        make_view(connection, store, batch, "arrived")
        return connection.execute(f"SELECT {what} FROM arrived ORDER BY _row").fetchall()


def land_next(workspace: Workspace, store: Store) -> int:
    batch = pull_all(store, workspace)
    accept(store, batch)
    return land(workspace, store, batch)


def test_a_typed_file_is_taken_over_byte_for_byte(workspace: Workspace, store: Store) -> None:
    file = drop(workspace.settings.data_dir / "a.parquet", typed(3))
    batch = pull_all(store, workspace)
    assert store.part_file(batch.pull_id, batch.parts[0]).read_bytes() == file.read_bytes()
    assert arrived(workspace, store, batch, "_row, amount") == [(n, Decimal(f"{n - 1}.50")) for n in (1, 2, 3)]


def test_the_same_record_as_text_and_typed_lands_once(workspace: Workspace, store: Store) -> None:
    drop(workspace.settings.data_dir / "a.parquet", [dict(record) for record in sales(4)])
    assert land_next(workspace, store) == 4
    drop(workspace.settings.data_dir / "b.parquet", typed(5))
    assert land_next(workspace, store) == 1
    drop(workspace.settings.data_dir / "c.parquet", [{**record, "kind": " goods "} for record in typed(6)])
    assert land_next(workspace, store) == 1


def test_files_of_other_types_and_formats_are_one_batch_with_rows_in_order(workspace: Workspace, store: Store) -> None:
    directory = workspace.settings.data_dir
    drop(directory / "a.parquet", typed(2))
    drop(directory / "b.parquet", [{**row, "amount": float(row["amount"])} for row in typed(2, start=2)])
    (directory / "c.csv").write_text(
        "\n".join([",".join(sales(1)[0]), *(",".join(row.values()) for row in sales(2, start=4))]), encoding="utf-8"
    )
    drop(directory / "d.parquet", typed(1, start=6))
    batch = pull_all(store, workspace)
    assert arrived(workspace, store, batch, "_row, amount") == [(n, Decimal(f"{n - 1}.50")) for n in range(1, 8)]
    assert (batch.rows, batch.has_more) == (7, False)


def test_a_file_that_cannot_be_taken_ends_the_batch_before_it(workspace: Workspace, store: Store) -> None:
    directory = workspace.settings.data_dir
    drop(directory / "a.parquet", typed(2))
    (directory / "b.parquet").write_bytes(b"PAR1 and no more")
    batch = pull_all(store, workspace)
    assert (batch.origins, batch.has_more) == (["a.parquet"], True)
    accept(store, batch)
    land(workspace, store, batch)
    with pytest.raises(SourceError, match=r"b\.parquet cannot be read"):
        pull(store, workspace.settings, maximum_rows=10)


def test_values_that_no_type_of_the_contract_holds_are_none_and_are_kept_as_sent(
    workspace: Workspace, store: Store
) -> None:
    times = [dt.datetime(2024, 3, 31)] * 2
    table = pa.Table.from_pylist(typed(2)).drop_columns(["amount", "available_at"])
    table = table.append_column("amount", pa.array([1.005, float("nan")]))
    table = table.append_column(
        "available_at", pa.array(times, pa.timestamp("us")).cast(pa.int64()).cast("timestamp[us]")
    )
    never = pa.array([2**63 - 1, 0], pa.int64()).cast(pa.timestamp("us"))
    table = table.set_column(table.schema.get_field_index("event_time"), "event_time", never)
    workspace.settings.data_dir.mkdir()
    pq.write_table(table, workspace.settings.data_dir / "a.parquet")
    batch = pull_all(store, workspace)
    found = arrived(workspace, store, batch, "amount, amount__sent, event_time, event_time__sent IS NULL")
    assert found == [(None, "1.005", None, False), (None, "nan", dt.datetime(1970, 1, 1), False)]
    with database(workspace) as connection:
        query = f"SELECT amount, event_time FROM {sent_rows(store, batch, 'SELECT 1')}"
        assert connection.execute(query).fetchall() == [("1.005", "infinity")]


def test_moments_finer_than_a_microsecond_are_not_cut_off(workspace: Workspace, store: Store) -> None:
    times = pa.array([1_711_843_200_000_000_000, 1_711_843_200_000_000_001], pa.timestamp("ns"))
    table = pa.Table.from_pylist(typed(2)).drop_columns(["event_time"]).append_column("event_time", times)
    workspace.settings.data_dir.mkdir()
    pq.write_table(table, workspace.settings.data_dir / "a.parquet")
    batch = pull_all(store, workspace)
    assert arrived(workspace, store, batch, "event_time, event_time__sent IS NULL") == [
        (dt.datetime(2024, 3, 31), False),
        (None, False),
    ]


def test_unknown_columns_of_a_typed_file_are_counted_and_kept_aside(workspace: Workspace, store: Store) -> None:
    rows = [*typed(1, colour='r"d', empty=None), *typed(1, start=1, colour=None, empty=None)]
    drop(workspace.settings.data_dir / "a.parquet", rows)
    batch = pull_all(store, workspace)
    assert batch.drift == {"colour": 1, "empty": 0}
    with database(workspace) as connection:
        query = f"SELECT _extra FROM {sent_rows(store, batch, 'SELECT unnest([1, 2])')} ORDER BY _row"
        assert connection.execute(query).fetchall() == [('{"colour":"r\\"d"}',), (None,)]


def test_a_pull_again_leaves_no_file_of_the_first(workspace: Workspace, store: Store) -> None:
    file = drop(workspace.settings.data_dir / "a.parquet", typed(2))
    pull_all(store, workspace)
    drop(file, typed(3))
    batch = pull_all(store, workspace, again=True)
    assert [path.stem for path in (store.inbox / batch.pull_id).iterdir()] == [batch.parts[0].digest]


def test_typed_values_are_made_again_where_they_were_lost(workspace: Workspace, store: Store) -> None:
    drop(workspace.settings.data_dir / "a.parquet", [dict(record) for record in sales(3)])
    batch = pull_all(store, workspace)
    expected = arrived(workspace, store, batch)
    store.forget_typed()
    assert arrived(workspace, store, batch) == expected
    accept(store, batch)
    assert land(workspace, store, batch) == 3
    assert not store.typed_file(batch.pull_id, 0).exists()


class _Deliveries:
    """A connector that hands over one prepared page after another."""

    def __init__(self, pages: list[list[Row]], directory: Path, *, as_files: bool) -> None:
        self.pages, self.directory, self.as_files = pages, directory, as_files

    def read(self, cursor: str) -> Iterator[Page]:
        for number in range(int(cursor or 0), len(self.pages)):
            table = pa.Table.from_pylist(self.pages[number])
            after, more = str(number + 1), number + 1 < len(self.pages)
            file = None
            if self.as_files:
                path = self.directory / f"{number}.parquet"
                pq.write_table(table, path)
                file = WholeFile(path, _digest(path))
            records = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
            yield Page(records, after, has_more=more, origin=str(number), file=file)


def _digest(path: Path) -> str:
    from credit301.sources.connectors.delivery import digest_of

    return digest_of(path)


RECORDS = st.builds(
    lambda start, amount, day: typed(1, start=start, amount=amount, available_at=dt.datetime(2024, 5, day))[0],
    st.integers(0, 2),
    st.sampled_from([Decimal("1.00"), Decimal("2.00")]),
    st.integers(1, 3),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(st.lists(RECORDS, min_size=1, max_size=8), min_size=1, max_size=4), as_files=st.booleans())
def test_exactly_the_first_of_equal_records_lands_whatever_came_before(
    tiny: TinyWorkspace, pages: list[list[Row]], as_files: bool
) -> None:
    loaded = tiny.load()
    expected: list[Row] = []
    for row in (row for page in pages for row in page):
        if row not in expected:
            expected.append(row)
    with TemporaryDirectory() as home:
        place = Workspace(loaded.directory, loaded.definition, loaded.sources, Settings(home=Path(home)))
        store = Store(place, "sales")
        connector = _Deliveries(pages, Path(home), as_files=as_files)
        landed: list[Row] = []
        while (batch := pull(store, place.settings, maximum_rows=5, connector=connector)) is not None:
            accept(store, batch)
            land(place, store, batch)
            landed += pq.read_table(store.landing_file(batch.pull_id)).drop_columns(["_pull_id"]).to_pylist()
    assert landed == expected
