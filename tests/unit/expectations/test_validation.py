from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from credit301.contracts.model import Severity
from credit301.errors import ValidationFailed
from credit301.sources.batches import CheckResult, Store, Verdict
from credit301.sources.landing import land
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.sources.conftest import pull_all
from tests.unit.sources.exchange import Exchange, Record, sales

RULE = """
    quality:
      - {name: enough, metric: rowCount, mustBeGreaterOrEqualTo: 2}
      - {name: no_round_sum, type: custom, engine: sql, implementation: "amount <> 4 or kind <> 'services'", severity: error}
      - {name: modest, type: custom, engine: sql, implementation: "amount < 90", severity: warning}
"""


def changed(start: int, **values: object) -> Record:
    return {**sales(1, start=start)[0], **values}


def judge(
    tiny: TinyWorkspace, exchange: Exchange, records: list[Record], maximum_rows: int = 10_000
) -> tuple[Store, Verdict]:
    from expectations.validation import Validator

    exchange.records = records
    workspace = tiny.load()
    store = Store(workspace, "sales")
    with Validator(workspace) as validator:
        return store, validator.validate(store, pull_all(store, workspace, maximum_rows))


@pytest.fixture
def ruled(tiny: TinyWorkspace) -> TinyWorkspace:
    """The tiny workspace with checks of rows and of the batch besides."""
    return tiny.replace("    physicalType: table\n", "    physicalType: table" + RULE.replace("\n    ", "\n    "))


BAD = [
    changed(0, uscc="91420100000000000X"),
    changed(1, uscc=None),
    changed(2, month="2024-3"),
    changed(3, amount="a lot"),
    changed(4, amount="4", kind="services"),
    changed(5, amount="-0.01"),
    changed(6, kind="both"),
    changed(7, kind="both", amount=None),
    changed(8, available_at=""),
    changed(9, amount="95"),
]


def test_great_expectations_counts_exactly_the_rows_that_are_quarantined(
    ruled: TinyWorkspace, exchange: Exchange
) -> None:
    store, verdict = judge(ruled, exchange, [*BAD, *sales(190, start=10)])
    table = pq.read_table(store.quarantine_file(verdict.pull_id))
    quarantined: dict[str, int] = {}
    for reasons in table["_reasons"].to_pylist():
        for reason in reasons:
            quarantined[reason] = quarantined.get(reason, 0) + 1
    counted = {
        name: check.unexpected
        for name, check in verdict.checks.items()
        if check.severity == "fail" and check.unexpected
    }
    assert counted == quarantined
    assert counted == {
        "uscc_uscc": 1,
        "uscc_not_null": 1,
        "month_pattern": 1,
        "amount_castable": 1,
        "no_round_sum": 1,
        "amount_between": 1,
        "kind_in_set": 2,
        "amount_not_null": 1,
        "available_at_not_null": 1,
    }
    assert (verdict.accepted, verdict.rows, verdict.passed, verdict.quarantined) == (True, 200, 191, 9)


def test_a_unique_key_of_severity_fail_quarantines_every_row_of_the_conflict(
    tiny: TinyWorkspace, exchange: Exchange
) -> None:
    from credit301.contracts.model import Contract
    from expectations.validation import Validator

    exchange.records = [*sales(98), changed(0, amount="7"), *sales(1, start=200), *sales(1, start=200)]
    workspace = tiny.load()
    contract = workspace.source("sales")
    strict = Contract(
        **{
            **dict(contract),
            "checks": tuple(
                check.model_copy(update={"severity": Severity.FAIL}) if check.id == "unique_key" else check
                for check in contract.checks
            ),
        }
    )
    workspace.sources["sales"] = strict
    store = Store(workspace, "sales")
    with Validator(workspace) as validator:
        verdict = validator.validate(store, pull_all(store, workspace))
    assert (verdict.checks["unique_key"].unexpected, verdict.quarantined, verdict.duplicates) == (2, 2, 1)


def test_a_warning_is_counted_and_its_rows_land(ruled: TinyWorkspace, exchange: Exchange) -> None:
    _, verdict = judge(ruled, exchange, [changed(9, amount="95"), *sales(9, start=10)])
    assert (verdict.checks["modest"].unexpected, verdict.warned, verdict.quarantined, verdict.passed) == (1, 1, 0, 10)


@pytest.mark.parametrize(("bad", "accepted"), [(5, True), (6, False)])
def test_a_batch_is_refused_beyond_the_tolerance_of_a_check(
    tiny: TinyWorkspace, exchange: Exchange, bad: int, accepted: bool
) -> None:
    records = [changed(number, kind="both") for number in range(bad)] + sales(100 - bad, start=bad)
    store, verdict = judge(tiny, exchange, records)
    assert verdict.accepted is accepted
    assert store.quarantine_file(verdict.pull_id).exists() is accepted


def test_a_check_may_tolerate_more_than_the_workspace(tiny: TinyWorkspace, exchange: Exchange) -> None:
    tiny.replace(
        "{name: amount, logicalType: number,",
        "{name: amount, customProperties: [{property: tolerance, value: 0.5}], logicalType: number,",
    )
    _, verdict = judge(tiny, exchange, [changed(number, amount="x") for number in range(4)] + sales(6, start=4))
    assert (verdict.accepted, verdict.quarantined) == (True, 4)


def test_too_few_rows_refuse_the_batch(ruled: TinyWorkspace, exchange: Exchange) -> None:
    _, verdict = judge(ruled, exchange, sales(1))
    assert (verdict.accepted, verdict.failed()) == (False, ["enough"])


@pytest.mark.parametrize(("maximum_rows", "fresh"), [(1_000, False), (3, True)])
def test_only_the_newest_batch_must_be_fresh_and_only_warns(
    tiny: TinyWorkspace, exchange: Exchange, maximum_rows: int, fresh: bool
) -> None:
    tiny.replace("slaProperties: [", "slaProperties: [{property: latency, value: 10, unit: d}, ")
    _, verdict = judge(tiny, exchange, sales(7), maximum_rows)
    assert (verdict.checks["freshness"].success, verdict.accepted) == (fresh, True)


def test_a_check_that_cannot_be_evaluated_is_named(ruled: TinyWorkspace, exchange: Exchange) -> None:
    ruled.replace("amount < 90", "no_such_column < 90")
    with pytest.raises(ValidationFailed, match="'modest'"):
        judge(ruled, exchange, sales(3))


def test_two_counts_that_differ_stop_the_validation(tiny_workspace: Workspace) -> None:
    from expectations.validation import _require_agreement

    check = CheckResult(severity=Severity.FAIL, unexpected=2, share=0.1, tolerance=0.2, success=True)
    with pytest.raises(ValidationFailed, match="counts 2 rows, the predicate 3"):
        _require_agreement(tiny_workspace.source("sales"), {"uscc_uscc": 3}, {"uscc_uscc": check})


def test_rows_without_any_value_are_not_each_others_duplicates(tiny: TinyWorkspace, exchange: Exchange) -> None:
    empty = dict.fromkeys(sales(1)[0])
    _, verdict = judge(tiny, exchange, [dict(empty), dict(empty), *sales(98)])
    assert (verdict.duplicates, verdict.quarantined) == (0, 2)


def test_a_refused_record_that_was_sent_twice_does_not_land_by_its_second_copy(
    tiny: TinyWorkspace, exchange: Exchange
) -> None:
    bad = changed(40, amount="a lot")
    store, verdict = judge(tiny, exchange, [*sales(40), bad, bad])
    assert (verdict.passed, verdict.quarantined, verdict.duplicates) == (40, 1, 1)
    assert land(tiny.load(), store, store.batch(verdict.pull_id)) == 40


def test_each_batch_of_one_process_is_judged_by_its_own_rows(tiny: TinyWorkspace, exchange: Exchange) -> None:
    from expectations.validation import Validator

    workspace = tiny.load()
    store = Store(workspace, "sales")
    verdicts = []
    with Validator(workspace) as validator:
        for records in (sales(10), [changed(0, kind="both"), *sales(99, start=1)]):
            exchange.records = records
            verdicts.append(validator.validate(store, pull_all(store, workspace, again=True)))
    assert [(verdict.rows, verdict.quarantined) for verdict in verdicts] == [(10, 0), (100, 1)]
