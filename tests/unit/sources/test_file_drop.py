from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.errors import ContractError, SourceError
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.sources.inbox import pull
from credit301.sources.landing import land
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import PULL, accept, pull_all
from tests.unit.sources.exchange import sales

COLUMNS = ["uscc", "month", "amount", "kind", "event_time", "available_at"]


@pytest.fixture
def drop(tiny: TinyWorkspace, tmp_path: Path) -> Path:
    """The directory that the tiny workspace's source takes its files from."""
    directory = tmp_path / "data"
    directory.mkdir()
    tiny.settings.data_dir = directory
    return directory


def workspace_for(tiny: TinyWorkspace, options: str) -> Workspace:
    tiny.replace("connector: http_exchange, " + PULL, f"connector: file_drop, options: {options}")
    return tiny.load()


def csv_text(count: int = 3, names: list[str] | None = None) -> str:
    lines = [",".join(names or COLUMNS), *(",".join(record.values()) for record in sales(count))]
    return "\n".join(lines) + "\n"


def rows(store: Store, identity: str, name: str = "kind") -> list[str | None]:
    values: list[str | None] = pq.read_table(store.inbox_file(identity))[name].to_pylist()
    return values


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_csv_is_read_in_the_encoding_that_it_has(tiny: TinyWorkspace, drop: Path, encoding: str) -> None:
    (drop / "sales.csv").write_bytes(csv_text().replace("goods", "货物").encode(encoding))
    workspace = workspace_for(tiny, "{path: sales.csv}")
    store = Store(workspace, "sales")
    batch = pull_all(store, workspace)
    assert (rows(store, batch.pull_id), batch.drift) == (["货物"] * 3, {})


def test_bytes_in_no_known_encoding_are_refused(tiny: TinyWorkspace, drop: Path, settings: Settings) -> None:
    (drop / "sales.csv").write_bytes(csv_text().encode() + b"\xff\xff,\xfe\n")
    workspace = workspace_for(tiny, "{path: sales.csv}")
    with pytest.raises(SourceError, match="not text in utf-8 or gb18030"):
        pull(Store(workspace, "sales"), settings, maximum_rows=10)


def test_a_file_in_another_encoding_than_the_contract_says_is_refused(
    tiny: TinyWorkspace, drop: Path, settings: Settings
) -> None:
    (drop / "sales.csv").write_bytes(csv_text().replace("goods", "货物").encode("gb18030"))
    workspace = workspace_for(tiny, "{path: sales.csv, encoding: utf-8}")
    with pytest.raises(SourceError, match="not text in utf-8"):
        pull(Store(workspace, "sales"), settings, maximum_rows=10)


def test_absent_data_names_the_setting(tiny: TinyWorkspace, settings: Settings) -> None:
    workspace = workspace_for(tiny, "{path: 'sales*.csv'}")
    with pytest.raises(SourceError, match="no file") as caught:
        pull(Store(workspace, "sales"), settings, maximum_rows=10)
    assert "CREDIT301_DATA_DIR" in caught.value.hint


def test_parquet_values_that_do_not_fit_become_their_shortest_text(tiny: TinyWorkspace, drop: Path) -> None:
    table = pa.Table.from_pylist(
        [
            {**record, "amount": Decimal("12.500"), "event_time": dt.datetime(2024, 3, 31), "kind": [1]}
            for record in sales(2)
        ]
    )
    pq.write_table(table, drop / "sales.parquet")
    workspace = workspace_for(tiny, "{path: sales.parquet}")
    store = Store(workspace, "sales")
    identity = pull_all(store, workspace).pull_id
    assert rows(store, identity, "amount") == ["12.500", "12.500"]
    assert rows(store, identity, "event_time")[0] == dt.datetime(2024, 3, 31)
    assert rows(store, identity) == ["[1]", "[1]"]


def test_a_half_written_parquet_is_refused_and_lands_nothing(
    tiny: TinyWorkspace, drop: Path, settings: Settings
) -> None:
    pq.write_table(pa.Table.from_pylist(sales(1000)), drop / "whole.parquet")
    (drop / "sales.parquet").write_bytes((drop / "whole.parquet").read_bytes()[:-200])
    workspace = workspace_for(tiny, "{path: sales.parquet}")
    store = Store(workspace, "sales")
    with pytest.raises(SourceError, match="cannot be read") as caught:
        pull(store, settings, maximum_rows=10)
    assert "complete" in caught.value.hint
    assert list(store.inbox.iterdir()) == []


def test_a_line_with_a_wrong_number_of_fields_is_kept_as_it_is(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "sales.csv").write_text(csv_text(2) + "91420100,2024-03\n", encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.csv}")
    store = Store(workspace, "sales")
    batch = pull_all(store, workspace)
    assert batch.drift == {"_malformed_row": 1}
    assert json.loads(str(rows(store, batch.pull_id, "_extra")[2])) == {"_malformed_row": "91420100,2024-03"}


def test_json_lines_may_differ_in_their_keys(tiny: TinyWorkspace, drop: Path) -> None:
    first, second = sales(2)
    del first["kind"]
    text = "\n".join(json.dumps(record) for record in (first, {**second, "amount": 1.10}))
    (drop / "sales.jsonl").write_text(text, encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.jsonl}")
    store = Store(workspace, "sales")
    identity = pull_all(store, workspace).pull_id
    assert (rows(store, identity), rows(store, identity, "amount")) == ([None, "goods"], ["0.50", "1.1"])


def test_excel_with_two_header_rows_is_read_by_position(tiny: TinyWorkspace, drop: Path) -> None:
    from openpyxl import Workbook

    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    for line in (
        ["企业", None, None, None, None, None],
        ["甲", "乙", "丙", "丁", "戊", "己"],
        *(list(record.values()) for record in sales(2)),
    ):
        sheet.append(line)
    workbook.save(drop / "sales.xlsx")
    workspace = workspace_for(tiny, "{path: sales.xlsx, header_rows: 2, columns: by_position}")
    store = Store(workspace, "sales")
    batch = pull_all(store, workspace)
    assert (rows(store, batch.pull_id, "month"), batch.drift) == (["2024-03", "2024-03"], {})


def test_each_content_is_delivered_once_whatever_its_name(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "sales_1.csv").write_text(csv_text(2), encoding="utf-8")
    (drop / "sales_2.csv").write_text(csv_text(2), encoding="utf-8")
    (drop / "sales_3.csv").write_text(csv_text(5), encoding="utf-8")
    workspace = workspace_for(tiny, "{path: ['sales_*.csv']}")
    store = Store(workspace, "sales")
    taken = []
    while (batch := pull(store, workspace.settings, maximum_rows=2)) is not None:
        taken.append((batch.origins, batch.rows, batch.has_more))
        accept(store, batch)
        land(workspace, store, batch)
    assert taken == [(["sales_1.csv"], 2, True), (["sales_3.csv"], 5, False)]


def test_columns_that_are_no_concern_of_the_contract_may_be_ignored(tiny: TinyWorkspace, drop: Path) -> None:
    text = csv_text(1, [*COLUMNS, "remark"]).replace("\n9142", "\n9142", 1).rstrip("\n") + ",x\n"
    (drop / "sales.csv").write_text(text, encoding="utf-8")
    workspace = workspace_for(tiny, "{path: sales.csv, unknown_columns: ignore}")
    assert pull_all(Store(workspace, "sales"), workspace).drift == {}


def test_a_column_of_the_contract_may_take_the_name_of_the_file(tiny: TinyWorkspace, drop: Path) -> None:
    (drop / "march.csv").write_text(csv_text(1), encoding="utf-8")
    tiny.replace(
        "{name: kind, logicalType: string, enum: [{value: goods}, {value: services}],",
        "{name: kind, physicalName: _file, logicalType: string,",
    )
    workspace = workspace_for(tiny, "{path: march.csv, unknown_columns: ignore}")
    store = Store(workspace, "sales")
    assert rows(store, pull_all(store, workspace).pull_id) == ["march"]


def test_an_unknown_option_is_named_with_its_line(tiny: TinyWorkspace, drop: Path) -> None:
    with pytest.raises(ContractError, match=r"contract\.yaml:\d+: .*options\.colour: unknown key"):
        workspace_for(tiny, "{path: sales.csv, colour: red}")


def test_an_unknown_connector_is_named_with_its_line(tiny: TinyWorkspace) -> None:
    with pytest.raises(ContractError, match=r"contract\.yaml:\d+: .*'carrier_pigeon' is no connector.*sftp"):
        tiny.replace("connector: http_exchange", "connector: carrier_pigeon").load()
