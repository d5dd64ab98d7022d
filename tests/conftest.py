"""What all tests share: a workspace that a test writes itself, in directories of its own."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import hypothesis
import pytest
from rich.console import Console

from credit301 import console
from credit301.settings import Settings
from credit301.workspace import Workspace

# Threads of LightGBM and scikit-learn that wait for one another would keep the cores from the other workers and from the
# servers under test, so that what takes a second takes ten. Read when the first of these libraries is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# How long an example takes says nothing about what it shows.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parents[1]
# Folders whose files take longest, those first: what is short then fills up the end of every worker.
LONGEST = (
    *("e2e", "integration", "dags", "golden", "browser"),
    *("unit/training", "unit/warehouse", "unit/sources", "unit/simulator", "unit/expectations"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where workers share the tests, the long files come first (with --no-loadscope-reorder they stay first)."""
    if hasattr(config, "workerinput"):
        order = {REPOSITORY / "tests" / folder: place for place, folder in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.parent, len(order)))


@pytest.fixture(autouse=True)
def wide_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and trees are printed unfolded, whatever the window that the tests run in."""
    monkeypatch.setattr(console, "_output", Console(highlight=False, width=200))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that keep every file of a run below the test's own directory."""
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def wuhan(settings: Settings) -> Workspace:
    """The reference city's contracts, with the files of its runs in the test's own directory."""
    return Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)


TINY_WORKSPACE = """
    name: tiny
    title: {zh: 小城, en: Tiny}
    entity: {key: uscc, label: {zh: 企业, en: enterprise}, format: uscc}
    dimensions: {tax: {zh: 税务, en: tax}}
    labels: {model: outcomes}
    split: {kind: time}
"""

TINY_CONTRACT = """
    apiVersion: v3.1.0
    kind: DataContract
    id: urn:test:sales
    name: sales
    version: 1.0.0
    status: active
    domain: tax
    description: {purpose: what it sells}
    team: {name: tax_office}
    slaProperties: [{property: retention, value: 5, unit: y}]
    schema:
      - name: sales
        businessName: 销售
        physicalType: table
        properties:
          - {name: uscc, businessName: 代码, logicalType: string, primaryKey: true, logicalTypeOptions: {format: uscc}, classification: internal}
          - {name: month, logicalType: string, primaryKey: true, logicalTypeOptions: {pattern: "^[0-9]{4}-[0-9]{2}$"}, classification: internal}
          - {name: amount, logicalType: number, physicalType: "DECIMAL(18,2)", required: true, logicalTypeOptions: {minimum: 0}, classification: internal}
          - {name: kind, logicalType: string, enum: [{value: goods}, {value: services}], classification: internal}
          - {name: event_time, logicalType: timestamp, required: true, classification: internal}
          - {name: available_at, logicalType: timestamp, required: true, classification: internal}
    customProperties:
      - {property: legalBasis, value: consent of the enterprise}
      - property: time
        value: {eventTime: event_time, availableAt: available_at}
      - property: pull
        value: {connector: http_exchange, options: {path: government/v1/sales/records, token_secret: government_token}}
      - property: subModel
        value: {label: {zh: 销售, en: sales}, absence: no_data}
      - property: features
        value:
          - {name: amount_sum, label: {zh: 金额, en: amount}, aggregation: sum, column: amount, window_months: 12, risk: decreasing}
"""


class TinyWorkspace:
    """A workspace directory with one source, whose texts a test may change before loading."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.definition = dedent(TINY_WORKSPACE)
        self.contract = dedent(TINY_CONTRACT)

    def replace(self, old: str, new: str) -> TinyWorkspace:
        """Change the contract's text; ``old`` must be there."""
        assert old in self.contract, f"{old!r} is not in the contract"
        self.contract = self.contract.replace(old, new)
        return self

    def load(self) -> Workspace:
        """Write the files and load them."""
        folder = self.directory / "sources" / "sales"
        folder.mkdir(parents=True, exist_ok=True)
        (self.directory / "workspace.yaml").write_text(self.definition, encoding="utf-8")
        (folder / "contract.yaml").write_text(self.contract, encoding="utf-8")
        return Workspace.load(self.directory, self.settings)


@pytest.fixture
def tiny(tmp_path: Path, settings: Settings) -> TinyWorkspace:
    """A workspace with one source of monthly sales."""
    return TinyWorkspace(tmp_path / "tiny", settings)
