"""An index of the portrait is a place among peers, and among more of them where they are too few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import jinja2
import pytest

from credit301.derive.dbt.portrait import portrait_sql
from credit301.errors import ContractError

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from tests.conftest import TinyWorkspace

KIND = """
      - {name: kind_last, label: {zh: 种类, en: kind}, aggregation: last, column: kind, kind: category}
      - {name: month_last, label: {zh: 月份, en: month}, aggregation: last, column: month, kind: category}
"""
PEERS = """
portrait:
  peers: [{source: sales, feature: month_last, prefix: 4}, {source: sales, feature: kind_last}]
  fewest: 3
"""
# Entity, sum, kind, month: three of 2024 that sell goods, two of 2024 that sell services, one of 2025, one unknown.
ROWS = [
    ("A", 10, "goods", "2024-01"),
    ("B", 20, "goods", "2024-02"),
    ("C", 30, "goods", "2024-03"),
    ("D", 40, "services", "2024-03"),
    ("E", 0, "services", "2024-03"),
    ("F", 25, "goods", "2025-01"),
    ("G", 15, None, None),
]


def workspace_with(tiny: TinyWorkspace, portrait: str) -> Workspace:
    tiny.contract = tiny.contract.rstrip() + KIND
    tiny.definition += portrait
    return tiny.load()


def index_of(workspace: Workspace, rows: list[Any] = ROWS, column: str = "tax_index") -> dict[str, float]:
    """What the model makes of ``rows``."""
    sql = jinja2.Template(portrait_sql(workspace)).render(
        ref=lambda name: name, as_of=lambda: "timestamp '2026-01-01'", float_type=lambda: "double"
    )
    with duckdb.connect() as connection:
        connection.execute("create table feature_sales (uscc text, amount_sum double, kind_last text, month_last text)")
        connection.executemany("insert into feature_sales values (?, ?, ?, ?)", rows)
        connection.execute("alter table feature_sales add column event_timestamp timestamp default '2026-01-01'")
        connection.execute(
            "create table int_entities as select uscc, date '2024-01-01' as first_known from feature_sales"
        )
        return dict(connection.execute(f"select uscc, {column} from ({sql})").fetchall())


def test_without_peers_it_is_a_place_among_all(tiny: TinyWorkspace) -> None:
    found = index_of(workspace_with(tiny, ""))
    assert sorted(found, key=found.__getitem__) == ["E", "A", "G", "B", "F", "C", "D"]
    assert found["E"] == 0
    assert found["D"] == 100


def test_it_is_a_place_among_peers_then_among_more_where_they_are_too_few(tiny: TinyWorkspace) -> None:
    found = index_of(workspace_with(tiny, PEERS))
    assert (found["A"], found["B"], found["C"]) == (0, 50, 100)  # goods of 2024
    assert (found["D"], found["E"]) == (100, 0)  # two sell services: among the five of 2024
    assert found["F"] == pytest.approx(100 * 4 / 6)  # alone in 2025, so among all seven
    assert found["G"] == pytest.approx(100 * 2 / 6)  # nobody knows of what kind it is


def test_a_source_that_knows_nothing_any_more_covers_nobody(tiny: TinyWorkspace) -> None:
    found = index_of(workspace_with(tiny, ""), [*ROWS, ("H", None, None, None)], "tax_is_covered")
    assert [entity for entity, covered in found.items() if not covered] == ["H"]


@pytest.mark.parametrize("feature", ["amount_sum", "nothing"])
def test_peers_share_a_category(tiny: TinyWorkspace, feature: str) -> None:
    with pytest.raises(ContractError, match=f"sales.{feature} is no feature of kind category"):
        workspace_with(tiny, PEERS.replace("kind_last", feature))
