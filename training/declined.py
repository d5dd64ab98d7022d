"""Who was declined for the score, and whose outcome is known by a lot: what reject inference starts from."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit301.domain.decision import BATCH
from credit301.domain.verdict import ABOVE_CUT_OFF, Outcome
from credit301.evidence import find
from credit301.evidence.archive import Archive
from credit301.governance.audit.attached import Destroyed
from credit301.identity.keyed_hash import KeyedHash
from training import decided
from training.dataset import LABEL, TIME, TrainingSet
from training.specs import column

if TYPE_CHECKING:
    from credit301.evidence.record import Evidence
    from credit301.workspace import Workspace

DAY = "day"


def declined(workspace: Workspace, data: TrainingSet) -> TrainingSet | None:
    """The applications that the endpoint declined for their score alone, with the features as they were read then.

    From the evidence of the decisions; what a rule declined is no question of risk, what a lot lent to is no decline,
    and evidence whose time is over is gone. Whoever is in ``data`` has the same key here; the others go by their keyed
    hash. Labels mean nothing: all are 0. ``None`` where there are none.
    """
    hashed = KeyedHash.from_settings(workspace.settings)
    named = {hashed(str(key)): key for key in data.head[data.entity].unique()}
    plans: dict[str, list[str]] = {}
    archive = Archive(workspace.paths.archive)
    rows = []
    for record in find.every(workspace.paths.audit):
        said = record.entry.detail
        if said.get("outcome") != Outcome.DECLINE.value or said.get("alias") == BATCH:
            continue
        try:
            evidence, _ = find.of(workspace.paths.audit, record)
        except Destroyed:
            continue
        if {cause.code for cause in evidence.decision.causes} != {ABOVE_CUT_OFF}:
            continue
        if evidence.bundle not in plans:
            views = archive.read(evidence.bundle).manifest.views
            plans[evidence.bundle] = [column(view.name, feature.name) for view in views for feature in view.features]
        rows.append(_row(evidence, plans[evidence.bundle], data.entity, named))
    if not rows:
        return None
    frame = pd.DataFrame(rows)
    frame = frame.reindex(columns=[data.entity, TIME, LABEL, *data.feature_names])
    for name in data.feature_names:
        # None is no number: a column that one decision did not know is typed as one that all knew.
        if pd.api.types.is_numeric_dtype(data.take([name], np.arange(1))[name].dtype):
            frame[name] = pd.to_numeric(frame[name])
    return TrainingSet(frame, data.entity)


def propensity(workspace: Workspace, data: TrainingSet) -> np.ndarray | None:
    """Probability that each row's outcome would be known, shape (rows,): that of its lot, 1 where there was none.

    A row belongs to the last decision on its enterprise in the 60 days before it. ``None`` without any decision.
    """
    months = [frame for _, frame in decided.by_month(workspace)]
    if not months:
        return None
    known = pd.concat([frame[["entity", "at", "propensity"]] for frame in months])
    known = known[known["propensity"] > 0].assign(**{DAY: known["at"].dt.normalize().astype("datetime64[us]")})
    hashed = KeyedHash.from_settings(workspace.settings)
    names = {key: hashed(str(key)) for key in data.head[data.entity].unique()}
    asked = pd.DataFrame(
        {"entity": data.head[data.entity].map(names), DAY: data.times, "row": np.arange(len(data))}
    ).sort_values(DAY)
    joined = pd.merge_asof(
        asked, known.sort_values(DAY), on=DAY, by="entity", direction="backward", tolerance=decided.WITHIN
    )
    found = np.ones(len(data))
    found[joined["row"].to_numpy()] = joined["propensity"].fillna(1.0).to_numpy()
    return found


def _row(evidence: Evidence, names: list[str], entity: str, named: dict[str, Any]) -> dict[str, Any]:
    said = evidence.decision
    at: datetime = said.decided_at.replace(tzinfo=None)
    values = dict(zip(names, evidence.values, strict=True))
    return {entity: named.get(said.entity, said.entity), TIME: at, LABEL: 0, **values}
