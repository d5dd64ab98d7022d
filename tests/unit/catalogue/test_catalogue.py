"""The catalogue's pages say everything that the contracts say, and how the data stands."""

from __future__ import annotations

import html
import re
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from credit301 import verbs
from credit301.catalogue.state import state_of
from credit301.contracts.model import Contract, Feature
from credit301.derive import dictionary
from credit301.settings import Settings
from credit301.sources.batches import Store
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY


@pytest.fixture
def city(tmp_path: Path) -> Workspace:
    return Workspace.load(REPOSITORY / "workspaces" / "wuhan", Settings(home=tmp_path))


def landed(workspace: Workspace, source: str, newest: str | None, served_through: str) -> None:
    """One landed file of three records, the newest as given (``None``: undated), and the source's clock."""
    store = Store(workspace, source)
    store.landing.mkdir(parents=True)
    columns = ", ".join(
        f"CAST(NULL AS {column.sql_type}) AS {column.name}"
        for column in store.contract.columns
        if column.name != "available_at"
    )
    duckdb.execute(
        f"COPY (SELECT {columns}, CAST({'NULL' if newest is None else repr(newest)} AS TIMESTAMP) - INTERVAL 1 DAY * n AS available_at, n AS _record_hash "
        f"FROM range(3) t(n)) TO '{store.landing / 'a.parquet'}' (FORMAT parquet)"
    )
    path = workspace.paths.state / "watermarks" / f"{source}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"source": "{source}", "cursor": "1", "served_through": "{served_through}", "pull_id": "x"}}')


def test_every_column_and_feature_can_be_found_in_the_dictionary(city: Workspace) -> None:
    page = Path(verbs.call("catalogue", city)["page"])
    text = html.unescape(page.read_text(encoding="utf-8"))
    for contract in city.sources.values():
        for column in contract.columns:
            assert f"{contract.name}.{column.name}<" in text
            assert column.label.zh in text
        for feature in contract.features:
            assert f"{contract.name}:{feature.name}<" in text


def test_a_sources_page_says_who_answers_for_it_and_what_each_feature_is(city: Workspace) -> None:
    verbs.call("catalogue", city)
    for contract in city.sources.values():
        text = html.unescape((city.paths.site / "catalogue" / f"{contract.name}.html").read_text(encoding="utf-8"))
        for said in (contract.owner, contract.legal_basis, contract.purpose, contract.grain):
            assert said in text
        for feature in contract.features:
            words = dictionary.definition(contract, feature)
            assert words.zh in text
            assert words.en in text


def test_links_within_the_catalogue_lead_somewhere(city: Workspace) -> None:
    verbs.call("catalogue", city)
    folder = city.paths.site / "catalogue"
    for page in folder.glob("*.html"):
        for link in re.findall(r'<a href="([^"#:.][^"#:]*)', page.read_text(encoding="utf-8")):
            assert (folder / link).is_file(), f"{page.name} links to {link}"


@pytest.mark.parametrize(("clock", "late"), [("2026-05-01T00:00:00", False), ("2026-09-01T00:00:00", True)])
def test_freshness_is_judged_by_the_sources_own_clock(city: Workspace, clock: str, late: bool) -> None:
    landed(city, "tax_declaration", "2026-04-20 08:00:00", clock)
    with duckdb.connect() as connection:
        state = state_of(city, "tax_declaration", connection)
    assert state.rows == 3
    assert state.newest == datetime(2026, 4, 20, 8)
    assert state.late is late


def test_a_source_without_data_is_neither_fresh_nor_late(city: Workspace) -> None:
    with duckdb.connect() as connection:
        state = state_of(city, "judicial_penalty", connection)
    assert (state.rows, state.newest, state.late, state.passed_share) == (0, None, None, None)


def test_records_without_a_date_are_not_called_no_data(city: Workspace) -> None:
    landed(city, "tax_declaration", None, "2026-05-01T00:00:00")
    verbs.call("catalogue", city)
    page = (city.paths.site / "catalogue" / "tax_declaration.html").read_text(encoding="utf-8")
    assert "未注明日期" in page
    assert "尚无数据" not in page


def test_a_definition_names_column_window_and_condition_in_both_languages(city: Workspace) -> None:
    contract: Contract = city.source("tax_declaration")
    late: Feature = contract.feature("late_filing_count_12m")
    assert dictionary.definition(contract, late).zh == "记录数，近 12 个月，条件：逾期天数 > 0"
    assert dictionary.definition(contract, late).en == (
        "number of records, over the last 12 months, where days filed after the due date > 0"
    )
    momentum = contract.feature("sales_momentum")
    assert dictionary.definition(contract, momentum).en == (
        "mean monthly sales in 3 months / mean monthly sales in 12 months"
    )
