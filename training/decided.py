"""What the endpoint decided, from the audit trail, and what became of it, from the outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit301.governance.audit.entry import Event
from credit301.governance.audit.verify import records
from credit301.identity.keyed_hash import KeyedHash
from training.dataset import LABEL, TIME

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from training.dataset import TrainingSet

COLUMNS = ("decision", "at", "entity", "alias", "registered", "probability", "outcome")
LOT = ("lot_probability", "lot_drawn", "lot_granted")
SHADOW = ("shadow_registered", "shadow_probability", "shadow_outcome")
WITHIN = pd.Timedelta(days=60)
"""A loan that is decided on by a bank within this time after the decision comes of it."""


def decisions(workspace: Workspace) -> pd.DataFrame:
    """One row a decision, oldest first: who decided, what was said, the lot, and what the shadow said.

    ``propensity`` is the probability that a loan is made: 1 for an approval by the score; for one by lot its
    probability times the share of that month's drawn lots for which there was money.
    """
    said, shadows = [], {}
    for record in records(workspace.paths.audit):
        detail = record.entry.detail
        if record.entry.event is Event.DECIDED:
            said.append({"decision": record.entry.decision, "at": record.at, "entity": record.entry.entity, **detail})
        elif record.entry.event is Event.SHADOWED and "probability" in detail:
            names = ("registered", "probability", "outcome")
            shadows[record.entry.decision] = {f"shadow_{name}": detail[name] for name in names}
    frame = pd.DataFrame([{**row, **shadows.get(str(row["decision"]), {})} for row in said])
    frame = frame.reindex(columns=[*COLUMNS, *LOT, *SHADOW])
    frame["at"] = pd.to_datetime(frame["at"], utc=True, format="ISO8601").dt.tz_localize(None)
    frame["month"] = frame["at"].dt.strftime("%Y-%m")
    frame["propensity"] = _propensity(frame)
    return frame.sort_values("at", ignore_index=True)


def with_outcomes(workspace: Workspace, frame: pd.DataFrame, data: TrainingSet) -> pd.DataFrame:
    """``frame`` with the ``label`` of the first loan that followed each decision; NaN where none is known yet."""
    hashed = KeyedHash.from_settings(workspace.settings)
    known = pd.DataFrame(
        {"entity": [hashed(str(key)) for key in data.frame[data.entity]], TIME: data.times, LABEL: data.labels}
    )
    if frame.empty:
        return frame.assign(**{LABEL: np.nan})
    # A bank may date its loan on the day of the decision, without the hour.
    asked = frame.assign(day=frame["at"].dt.normalize().astype("datetime64[us]")).sort_values("day")
    joined = pd.merge_asof(
        asked,
        known.sort_values(TIME),
        left_on="day",
        right_on=TIME,
        by="entity",
        direction="forward",
        tolerance=WITHIN,
    )
    return joined.drop(columns=["day", TIME]).sort_values("at", ignore_index=True)


def _propensity(frame: pd.DataFrame) -> pd.Series:
    drawn = frame["lot_drawn"].fillna(0).astype(float)
    granted = frame["lot_granted"].fillna(0).astype(float)
    months = frame["month"]
    funded = (granted.groupby(months).transform("sum") / drawn.groupby(months).transform("sum")).fillna(0.0)
    by_lot = frame["lot_probability"].astype(float) * funded
    approved = frame["outcome"].eq("approve")
    return by_lot.where(granted > 0, approved.astype(float))
