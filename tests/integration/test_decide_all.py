"""Deciding on a whole file of applicants from the marts, with the same judgement as the endpoint's."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from credit301 import verbs
from credit301.errors import AuditError, ConfigError, NotFound, WarehouseError
from credit301.evidence import find as evidences
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import bundle
from credit301.strategy.folder import find
from credit301.workspace import Workspace
from serving import batch_marts
from serving.judge import Loaded
from serving.verbs import decide_all, sample, yuan_of
from tests.support import strategies
from tests.support.consenting import consent
from tests.support.scoring import BAD, CATEGORIES, GOOD, NUMBERS, trained, valid_uscc
from training import decided, declined
from training.dataset import TrainingSet

KNOWN, SOUND, WEAK, TAX_ONLY, HOLLOW = (valid_uscc(f"91420100MA4K{number:04d}") for number in range(5))


@pytest.fixture
def built(wuhan: Workspace) -> Workspace:
    """The reference city with marts of five enterprises, of which one has an outcome, and a bundle."""
    model = trained()
    bundle.write(wuhan.paths.bundles / "v1", model.manifest, model.files)
    marts = wuhan.paths.marts
    marts.mkdir(parents=True)
    for view, numbers in NUMBERS.items():
        columns = [*numbers, *CATEGORIES.get(view, {})]
        rows = []
        for entity, values in ((KNOWN, GOOD), (SOUND, GOOD), (WEAK, BAD), (TAX_ONLY, GOOD), (HOLLOW, None)):
            if entity == TAX_ONLY and view != "tax_declaration":
                continue
            read = [None if values is None else values[f"{view}:{name}"] for name in columns]
            rows.append((entity, "2024-06-01", *read))
            # An older row that must not be read.
            rows.append((entity, "2024-01-01", *[None] * len(columns)))
        _mart(marts / f"feature_{view}.parquet", columns, rows)
    duckdb.execute(
        f"copy (select '{KNOWN}' as uscc, timestamp '2024-01-01' as decision_time, 0 as label) "
        f"to '{marts / 'training_labels.parquet'}' (format parquet)"
    )
    consent(wuhan, KNOWN, SOUND, WEAK, TAX_ONLY, HOLLOW)
    return wuhan


def _mart(path: Path, columns: list[str], rows: Sequence[tuple[object, ...]]) -> None:
    kinds = {"status_last": "varchar"}
    with duckdb.connect() as connection:
        typed = ", ".join(f'"{name}" {kinds.get(name, "double")}' for name in columns)
        connection.execute(f"create table t (uscc varchar, event_timestamp timestamp, {typed})")
        connection.executemany(f"insert into t values (?, ?{', ?' * len(columns)})", rows)
        connection.execute(f"copy (select *, event_timestamp as created_timestamp from t) to '{path}' (format parquet)")


def test_everyone_without_an_outcome_is_decided_on_once(built: Workspace) -> None:
    summary = decide_all(built, amount="200,000.00", term=12)
    rows = {row["entity"]: row for row in pq.read_table(summary["path"]).to_pylist()}
    assert set(rows) == {SOUND, WEAK, TAX_ONLY}
    assert (summary["decided"], summary["without_data"]) == (3, 1)
    assert rows[TAX_ONLY]["missing_sources"] == ["business_registration", "judicial_penalty"]


def test_the_numbers_are_those_of_a_single_decision(built: Workspace) -> None:
    summary = decide_all(built, amount="200000", term=12)
    rows = {row["entity"]: row for row in pq.read_table(summary["path"]).to_pylist()}
    loaded = Loaded(bundle.read(built.paths.bundles / "v1"), source="directory")
    for entity, values in ((SOUND, GOOD), (WEAK, BAD)):
        judged = loaded.judge(find(built), [values[key] for key in loaded.plan.keys], Decimal(200_000), 12)
        row = rows[entity]
        assert judged.score is not None
        assert row["probability"] == judged.score.probability
        assert (row["limit"], row["annual_rate"]) == (judged.verdict.limit, judged.verdict.annual_rate)
        assert row["reasons_zh"] == [reason.text.zh for reason in judged.reasons]


def test_each_decision_is_on_record_and_can_be_made_again_without_what_made_it(
    built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_marts, "AT_ONCE", 2)  # several batches
    summary = decide_all(built, amount="200000", term=12)
    rows = {row["decision_id"]: row for row in pq.read_table(summary["path"]).to_pylist()}
    shutil.rmtree(built.paths.bundles)
    shutil.rmtree(built.paths.marts)
    records = evidences.newest(built.paths.audit, 10)
    hashed = KeyedHash.from_settings(built.settings)
    assert {record.entry.decision: record.entry.entity for record in records} == {
        number: hashed(row["entity"]) for number, row in rows.items()
    }
    assert {record.entry.application for record in records} == {summary["application"]}
    for record in records:
        evidence, data = evidences.of(built.paths.audit, record)
        row, decision = rows[record.entry.decision], evidence.decision
        assert row["entity"].encode() not in data
        assert (decision.outcome, decision.limit, decision.probability) == (
            row["outcome"],
            row["limit"],
            row["probability"],
        )
        assert decision.features_as_of["tax_declaration"] == datetime(2024, 6, 1, tzinfo=UTC)
        assert decision.consents
    assert verbs.call("replay", built, last=10) == {"replayed": 3, "identical": 3}
    assert verbs.call("replay", built, decision=next(iter(rows))) == {"replayed": 1, "identical": 1}


def test_a_source_without_consent_is_missing_to_the_strategy_too(built: Workspace, tmp_path: Path) -> None:
    document = copy.deepcopy(strategies.DOCUMENT)
    document["definition"]["fallbacks"] = {"sources": {"tax_declaration": "refer"}}
    strategies.write(tmp_path / "own" / "strategies", document)
    governance = built.definition.governance
    lenient = governance.consent.model_copy(update={"uncovered": "no_data"})
    definition = built.definition.model_copy(update={"governance": governance.model_copy(update={"consent": lenient})})
    own, partly = replace(built, directory=tmp_path / "own", definition=definition), valid_uscc("91420100MA4K0009")
    for view, numbers in NUMBERS.items():
        columns = [*numbers, *CATEGORIES.get(view, {})]
        values = [GOOD[f"{view}:{name}"] for name in columns]
        _mart(built.paths.marts / f"feature_{view}.parquet", columns, [(partly, "2024-06-01", *values)])
    consent(built, partly, sources=["business_registration", "judicial_penalty"])
    summary = decide_all(own, amount="200000", term=12)
    assert (summary["decided"], summary["referred"]) == (1, 1)
    (record,) = evidences.newest(built.paths.audit, 10)
    decision = evidences.of(built.paths.audit, record)[0].decision
    assert decision.withheld_sources == ("tax_declaration",)
    assert decision.features_as_of["tax_declaration"] is None
    assert verbs.call("replay", own, last=1)["identical"] == 1


def test_what_nobody_applied_for_is_not_measured_as_the_endpoints(built: Workspace) -> None:
    assert decide_all(built, amount="200000", term=12)["declined"] > 0
    assert list(decided.by_month(built)) == []
    asked = pd.DataFrame({"uscc": [KNOWN], "decision_time": [pd.Timestamp("2024-01-01")], "label": [0]})
    assert declined.declined(built, TrainingSet(asked, "uscc")) is None


def test_without_its_evidence_there_is_no_decision(built: Workspace) -> None:
    built.paths.archive.write_text("no folder")
    with pytest.raises(AuditError, match="cannot be kept"):
        decide_all(built)
    built.paths.archive.unlink()
    shutil.rmtree(built.paths.audit)
    built.paths.audit.write_text("no folder")
    with pytest.raises(AuditError, match="could not be recorded"):
        decide_all(built)
    assert not list(built.paths.reports.glob("*"))


def test_the_summary_adds_up(built: Workspace) -> None:
    summary = decide_all(built, amount="200000", term=12)
    rows = pq.read_table(summary["path"]).to_pylist()
    approved = [row for row in rows if row["outcome"] == "approve"]
    assert summary["approved"] == len(approved) == sum(summary["approved_by_band"].values())
    assert summary["approved"] + summary["declined"] == summary["decided"]
    assert Decimal(summary["limits"]) == sum(row["limit"] for row in approved)


def test_by_default_each_asks_for_the_most_that_the_product_lends(built: Workspace) -> None:
    path = decide_all(built)["path"]
    assert max(row["limit"] or 0 for row in pq.read_table(path).to_pylist()) > 500_000


def test_a_mart_that_was_built_for_another_model_is_an_error(built: Workspace) -> None:
    _mart(built.paths.marts / "feature_tax_declaration.parquet", ["other"], [(SOUND, "2024-06-01", 1.0)])
    with pytest.raises(WarehouseError, match="do not fit the model"):
        decide_all(built)


def test_without_marts_or_a_bundle_it_says_what_to_run(wuhan: Workspace) -> None:
    with pytest.raises(NotFound, match="credit301 train"):
        decide_all(wuhan)
    model = trained()
    bundle.write(wuhan.paths.bundles / "v1", model.manifest, model.files)
    with pytest.raises(NotFound, match="credit301 build"):
        decide_all(wuhan)
    with pytest.raises(NotFound, match="credit301 build"):
        sample(wuhan)


def test_a_workspace_without_a_strategy_decides_nothing(built: Workspace, tmp_path: Path) -> None:
    bare = replace(built, directory=tmp_path)
    with pytest.raises(NotFound, match="no strategy"):
        decide_all(bare)


def test_a_sample_is_an_applicant_without_an_outcome_that_the_most_sources_know(built: Workspace) -> None:
    assert sample(built)[0] in {SOUND, WEAK, HOLLOW}
    assert sample(built) == sample(built, 2)[:1]


def test_an_amount_that_is_no_number_is_refused() -> None:
    assert yuan_of("1,200.50") == Decimal("1200.50")
    with pytest.raises(ConfigError, match="not an amount"):
        yuan_of("much")
