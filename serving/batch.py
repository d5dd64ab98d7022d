"""Deciding on many entities at once from the feature marts, without an online store."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit301 import console
from credit301.derive.dbt import LABELS_MODEL, feature_model_name
from credit301.domain.verdict import Outcome, Scalar
from credit301.errors import NotFound, WarehouseError
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentMissing, ConsentRule, Coverage
from credit301.governance.consent.ledger import ledger_of
from credit301.governance.consent.records import standing
from credit301.identity.keyed_hash import KeyedHash
from credit301.model import bundle as bundles
from credit301.model.scorer import NothingKnown
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from serving.judge import Judgement, Loaded

REPORT = "decisions.parquet"
_SCHEMA = pa.schema(
    [
        ("entity", pa.string()),
        ("outcome", pa.string()),
        ("probability", pa.float64()),
        ("score", pa.int32()),
        ("band", pa.string()),
        ("limit", pa.decimal128(18, 2)),
        ("annual_rate", pa.decimal128(9, 6)),
        ("reasons_zh", pa.list_(pa.string())),
        ("reasons_en", pa.list_(pa.string())),
        ("missing_sources", pa.list_(pa.string())),
    ]
)


def newest_bundle(folder: Path) -> Path:
    """Directory of the bundle that was made last.

    Raises:
        NotFound: there is none.
    """
    found = [
        (bundles.read(path.parent).manifest.created_at, path.parent)
        for path in folder.glob(f"[!.]*/{bundles.MANIFEST}")
    ]
    if not found:
        raise NotFound("There is no bundle to decide with.", hint="Train a model first: credit301 train.")
    return max(found)[1]


def decide_all(
    workspace: Workspace, loaded: Loaded, strategy: Strategy, amount: Decimal, term_months: int, asking: Asking
) -> dict[str, Any]:
    """Decide on every entity that has features, no outcome to learn from, and consents; write the decisions as Parquet.

    Args:
        workspace: whose marts are read.
        loaded: scores.
        strategy: decides.
        amount: yuan that each is taken to ask for.
        term_months: months that each is taken to ask for.
        asking: by whose consents it is read, as the ledger has them now.

    Returns:
        Counts by outcome (``without_consent``: not decided on) and band, the sum of limits, the mean rate over
        approvals, and the file's path.

    Raises:
        NotFound: no feature mart has been built.
        WarehouseError: a mart cannot be read, or lacks a feature of the model.
        ModelError: a value does not fit the model.
    """
    rows: list[dict[str, Any]] = []
    without_data = without_consent = 0
    with AuditWriter.of(workspace) as audit:
        gate = _Gate(workspace, loaded, strategy, asking, audit)
        for entity, values in _entities(workspace, loaded):
            if not gate.admits(entity, values):
                without_consent += 1
                continue
            try:
                rows.append(_row(entity, loaded.judge(strategy, values, amount, term_months)))
            except NothingKnown:
                without_data += 1
    if without_consent:
        console.say(
            f"没有有效授权、未作决策：{without_consent} 家 · without consent, not decided on: {without_consent}"
        )
    path = workspace.paths.reports / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), path)
    approved = [row for row in rows if row["outcome"] == Outcome.APPROVE]
    return {
        "model": loaded.manifest.version,
        "strategy": strategy.version,
        "decided": len(rows),
        "without_data": without_data,
        "without_consent": without_consent,
        "approved": len(approved),
        "declined": sum(row["outcome"] == Outcome.DECLINE for row in rows),
        "referred": sum(row["outcome"] == Outcome.REFER for row in rows),
        "approved_by_band": {name: sum(row["band"] == name for row in approved) for name in strategy.definition.bands},
        "limits": str(sum((row["limit"] for row in approved), Decimal(0))),
        "mean_annual_rate": _mean([row["annual_rate"] for row in approved]),
        "path": str(path),
    }


class _Gate:
    """Consent for a whole file, from the ledger itself; every entity that is read or refused is on record."""

    def __init__(
        self, workspace: Workspace, loaded: Loaded, strategy: Strategy, asking: Asking, audit: AuditWriter
    ) -> None:
        self._rule = ConsentRule.of(workspace)
        self._ledger = ledger_of(workspace)
        self._named = KeyedHash.from_settings(workspace.settings)
        self._loaded = loaded
        self._indispensable = strategy.definition.indispensable
        self._asking = asking
        self._audit = audit
        self._application = f"decide_all-{uuid.uuid4()}"
        reason = workspace.definition.governance.consent.reason
        if reason is not None:
            console.say(f"无需授权：{reason.zh} · no consent needed: {reason.en}")

    def admits(self, entity: str, values: list[Scalar]) -> bool:
        """Whether ``entity`` may be decided on; what of ``values`` no consent covers is emptied."""
        named = self._named(entity)
        standings = standing(self._ledger.records(named)) if self._rule.enforced else ()
        now = time.time_ns() // 1000
        coverage = self._rule.cover(standings, self._loaded.plan.views, self._asking, now)
        try:
            self._rule.require(coverage, self._indispensable)
        except ConsentMissing:
            self._record(named, Event.REFUSED, Coverage((), coverage.withheld, ()))
            return False
        self._loaded.plan.withhold(values, coverage.withheld)
        self._record(named, Event.READ, coverage)
        return True

    def _record(self, named: str, event: Event, coverage: Coverage) -> None:
        self._audit.append(
            Entry(
                event=event,
                who=self._asking.grantee,
                entity=named,
                application=self._application,
                purpose=self._asking.purpose,
                sources=coverage.sources,
                consents=coverage.consents,
                detail={**coverage.withheld},
            )
        )


def _entities(workspace: Workspace, loaded: Loaded) -> Iterator[tuple[str, list[Scalar]]]:
    """Keys with the newest values known, in plan order, of entities without a label."""
    paths = workspace.paths
    views = {view.name: paths.mart(feature_model_name(view.name)) for view in loaded.manifest.views}
    there = {name: path for name, path in views.items() if path.is_file()}
    if not there:
        raise NotFound("There is no feature mart to decide on.", hint="Build first: credit301 build.")
    key = _quoted(workspace.entity.key)
    labels = paths.mart(LABELS_MODEL)
    known = f"select {key} from read_parquet({_text(labels)})" if labels.is_file() else "select null limit 0"
    everyone = " union ".join(f"select {key} as entity from read_parquet({_text(path)})" for path in there.values())
    joins, columns = [], []
    for number, view in enumerate(loaded.manifest.views):
        names = [_quoted(feature.name) for feature in view.features]
        if view.name not in there:
            columns += ["null"] * len(names)
            continue
        newest = (
            f"qualify row_number() over (partition by {key} order by event_timestamp desc, created_timestamp desc) = 1"
        )
        rows = f"select {key} as entity, {', '.join(names)} from read_parquet({_text(there[view.name])}) {newest}"
        joins.append(f"left join ({rows}) v{number} on v{number}.entity = e.entity")
        columns += [f"v{number}.{name}" for name in names]
    query = (
        f"select e.entity, {', '.join(columns)} from ({everyone}) e {' '.join(joins)} "
        f"where e.entity not in ({known}) order by e.entity"
    )
    with duckdb.connect() as connection:
        try:
            result = connection.execute(query)
            while chunk := result.fetchmany(1000):
                yield from ((str(row[0]), list(row[1:])) for row in chunk)
        except duckdb.Error as error:
            raise WarehouseError(
                f"The feature marts do not fit the model {loaded.manifest.version}: {error}.",
                hint="Build and train again: credit301 build, credit301 train.",
            ) from error


def _row(entity: str, judged: Judgement) -> dict[str, Any]:
    verdict, score = judged.verdict, judged.score
    return {
        "entity": entity,
        "outcome": verdict.outcome.value,
        "probability": None if score is None else score.probability,
        "score": None if score is None else score.score,
        "band": verdict.band,
        "limit": verdict.limit,
        "annual_rate": verdict.annual_rate,
        "reasons_zh": [reason.text.zh for reason in judged.reasons],
        "reasons_en": [reason.text.en for reason in judged.reasons],
        "missing_sources": [] if score is None else list(score.missing_sources),
    }


def _mean(rates: list[Decimal]) -> str | None:
    return str((sum(rates, Decimal(0)) / len(rates)).quantize(Decimal("0.000001"))) if rates else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
