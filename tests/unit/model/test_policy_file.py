"""A workspace's policy file is read strictly, with its tables put in."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from credit301.domain import policy as policies
from credit301.domain.policy import RateTable
from credit301.errors import ContractError
from credit301.model.policy_file import load_policy
from credit301.settings import Settings
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY, TinyWorkspace

POLICY = """
version: "1"
product: {name: {zh: 贷款, en: loan}, minimum_amount: 1000, maximum_amount: 2000, maximum_term_months: 12}
maximum_probability: 0.1
bands: [{name: A, maximum_probability: 0.1, sales_share: 0.5}]
sales: {feature: "sales:amount_sum", maximum_amount_without: null}
pricing: {kind: risk_based, cost_of_funds: 0.02, loss_given_default: 0.5, margin: 0.01, floor: 0.03, cap: 0.1}
"""


def _load(tiny: TinyWorkspace, text: str) -> policies.Policy:
    workspace = tiny.load()
    (tiny.directory / "strategies").mkdir()
    (tiny.directory / "strategies" / "policy.yaml").write_text(text, encoding="utf-8")
    return load_policy(workspace)


def test_the_reference_citys_policy_loads_and_survives_the_manifest(wuhan: Workspace) -> None:
    policy = load_policy(wuhan)
    assert policies.parse(json.loads(json.dumps(policy.model_dump(mode="json")))) == policy


def test_every_rule_of_the_reference_city_says_what_a_missing_value_means(wuhan: Workspace) -> None:
    assert {rule.id: rule.on_missing for rule in load_policy(wuhan).rules} == {
        "not_in_operation": "decline",
        "dishonest_debtor": "pass",
    }


def test_a_policy_of_another_workspace_loads(tiny: TinyWorkspace) -> None:
    assert _load(tiny, POLICY).product.maximum_amount == Decimal(2000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version:", "versoin: x\nversion:", r"policy\.yaml:2: versoin: unknown key"),
        ("maximum_probability: 0.1\n", "maximum_probability: 1.5\n", r"policy\.yaml:4: maximum_probability"),
        ("cap: 0.1", "cap: 0.01", "floor is above cap"),
        ("sales:amount_sum", "sales:nothing", "reads features that no contract has: sales:nothing"),
        ("kind: risk_based", "kind: guess", r"policy\.yaml:7: pricing"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_place(tiny: TinyWorkspace, old: str, new: str, message: str) -> None:
    assert old in POLICY
    with pytest.raises(ContractError, match=message):
        _load(tiny, POLICY.replace(old, new))


def test_a_workspace_without_a_policy_says_so(tiny: TinyWorkspace) -> None:
    with pytest.raises(ContractError, match=r"policy\.yaml does not exist"):
        load_policy(tiny.load())


def _invoices(settings: Settings) -> Workspace:
    return Workspace.load(REPOSITORY / "workspaces" / "invoices", settings)


def test_a_table_comes_from_its_mart_as_exact_decimals(settings: Settings) -> None:
    workspace = _invoices(settings)
    workspace.paths.marts.mkdir(parents=True)
    _mart(workspace.paths.marts / "rate_vs_customer_loss.parquet")
    policy = load_policy(workspace)
    assert isinstance(policy.pricing, RateTable)
    first, second = policy.tables[policy.pricing.table]
    assert first.annual_rate == Decimal("0.04")
    assert second.loss == {"A": Decimal("0.094574"), "B": Decimal("0.0668"), "C": Decimal("0.068725")}


def _mart(path: Path) -> None:
    rows = "(0.0425, 0.0945741262057566, 0.0667995833242854, 0.0687253064883727), (0.04, 0, 0, 0)"
    duckdb.execute(
        f"copy (select * from (values {rows}) t(annual_rate, loss_a, loss_b, loss_c)) to '{path}' (format parquet)"
    )


def test_a_table_whose_mart_is_not_built_says_how_to_build_it(settings: Settings) -> None:
    with pytest.raises(ContractError, match=r"rate_vs_customer_loss cannot be read: .*credit301 build"):
        load_policy(_invoices(settings))
