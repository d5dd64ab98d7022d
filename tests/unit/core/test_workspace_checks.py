"""What the files of a workspace say of one another must hold, and what does not is named with file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from credit301.derive.dbt import project_files
from credit301.errors import ContractError
from credit301.settings import Settings
from credit301.workspace import Workspace
from tests.unit.core.full_workspace import EVERYTHING

WORKSPACE, OUTCOMES, INVOICES = EVERYTHING
OUTCOME_FEATURE = """\
  - property: features
    value:
      - {name: ended, label: {zh: 结, en: ended}, aggregation: last, column: COLUMN, kind: category}
"""


def load(directory: Path, texts: dict[str, str]) -> Workspace:
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Workspace.load(directory, Settings(home=directory / "home", _env_file=None))


def changed(file: str, old: str, new: str) -> dict[str, str]:
    assert old in EVERYTHING[file], old
    return {**EVERYTHING, file: EVERYTHING[file].replace(old, new, 1)}


def with_outcome_feature(column: str) -> dict[str, str]:
    """The source of the labels with a feature of its own."""
    return {**EVERYTHING, OUTCOMES: EVERYTHING[OUTCOMES] + OUTCOME_FEATURE.replace("COLUMN", column)}


NEIGHBOUR = "          source: output_invoices\n          feature: sold_amount_12m_sum"


@pytest.mark.parametrize(
    ("texts", "file", "named", "message"),
    [
        (changed(WORKSPACE, "column: outcome,", "column: outcom,"), WORKSPACE, "labels:", "'outcom' is not a column"),
        (changed(WORKSPACE, "decision_time: decided_on", "decision_time: day"), WORKSPACE, "labels:", "'day' is not a"),
        (changed(WORKSPACE, "source: outcomes", "source: outcome"), WORKSPACE, "labels:", "'outcome' is not a source"),
        (
            changed(WORKSPACE, "split: {kind: time, test_share: 0.3, folds: 5, seed: 1}", ""),
            WORKSPACE,
            "labels:",
            "need a split",
        ),
        (
            changed(WORKSPACE, "kind: time, test_share: 0.3,", "kind: column, column: side,"),
            WORKSPACE,
            "split:",
            "'side' is not a column of outcomes",
        ),
        (changed(OUTCOMES, "domain: bank", "domain: weather"), OUTCOMES, "domain:", "is no dimension"),
        (with_outcome_feature("outcome"), OUTCOMES, "name: ended", "an outcome is no feature"),
        (changed(INVOICES, "to: buyer", "to: bujer"), INVOICES, "property: edges", "'bujer' is not a column"),
        (
            changed(INVOICES, "  - {property: edges, value: {from: code, to: buyer, directed: true}}\n", ""),
            INVOICES,
            "name: buyers,",
            "needs the custom property edges",
        ),
        (changed(INVOICES, "directed: true", "directed: false"), INVOICES, "name: buyers,", "can only be both"),
        (
            changed(INVOICES, "feature: sold_amount_12m_sum", "feature: sold"),
            INVOICES,
            "name: buyers_sell",
            "output_invoices:sold is no feature",
        ),
        (
            changed(INVOICES, "feature: sold_amount_12m_sum", "feature: buyers"),
            INVOICES,
            "name: buyers_sell",
            "is itself computed over edges",
        ),
        (
            changed(INVOICES, "          where: {gt: 10}\n", ""),
            INVOICES,
            "name: buyers_sell",
            "needs `where` in its neighbour",
        ),
        (
            changed(INVOICES, "window_days: 90", "window_days: 90, window_months: 3"),
            INVOICES,
            "name: buyers,",
            "in months or in days",
        ),
    ],
)
def test_what_does_not_hold_is_named_with_its_line(
    tmp_path: Path, texts: dict[str, str], file: str, named: str, message: str
) -> None:
    with pytest.raises(ContractError) as caught:
        load(tmp_path, texts)
    text = texts[file]
    line = text[: text.index(named)].count("\n") + 1
    assert re.search(rf"{re.escape(file)}:{line}: ", str(caught.value)), caught.value
    assert message in str(caught.value)


@pytest.mark.parametrize("column", ["outcome", "closed_on"])
def test_nothing_of_the_source_of_the_labels_is_taken_of_a_neighbour(tmp_path: Path, column: str) -> None:
    """Not even a column beside the outcome: it was written when the outcome was."""
    texts = with_outcome_feature(column)
    texts[INVOICES] = texts[INVOICES].replace(NEIGHBOUR, "          source: outcomes\n          feature: ended")
    with pytest.raises(ContractError, match=r"no outcome, of a neighbour neither|an outcome is no feature"):
        load(tmp_path, texts)


def test_a_workspace_without_labels_has_no_label_model_and_no_decision_on_its_spine(tmp_path: Path) -> None:
    lines = [line for line in EVERYTHING[WORKSPACE].splitlines() if not line.startswith(("labels", "split"))]
    files = project_files(load(tmp_path, {**EVERYTHING, WORKSPACE: "\n".join(lines)}))
    assert not [name for name in files if "training_labels" in name]
    assert "training_labels" not in "".join(files.values())


def test_a_label_table_gives_decision_time_and_when_the_outcome_was_known(tmp_path: Path) -> None:
    sql = project_files(load(tmp_path, EVERYTHING))["marts/training_labels.sql"]
    assert "cast(decided_on as timestamp) as decision_time" in sql
    assert "cast(closed_on as timestamp) as label_known_at" in sql


def test_a_label_model_may_say_when_the_outcome_was_known(tmp_path: Path) -> None:
    for said, carried in (("{model: my_labels, known_at: closed_on}", True), ("{model: my_labels}", False)):
        labels = (
            "labels: {source: outcomes, column: outcome, positive: bad, decision_time: decided_on, known_at: closed_on}"
        )
        files = project_files(
            load(tmp_path, {**EVERYTHING, WORKSPACE: EVERYTHING[WORKSPACE].replace(labels, f"labels: {said}")})
        )
        assert ("cast(closed_on as timestamp) as label_known_at" in files["marts/training_labels.sql"]) is carried
        assert ("label_known_at" in "".join(text for name, text in files.items() if name.endswith(".yml"))) is carried
