"""What the endpoint decided, month by month from the digest of the audit trail, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.governance.audit.entry import Event
from credit301.identity.keyed_hash import KeyedHash
from training import decision_digest
from training.dataset import LABEL, TIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credit301.workspace import Workspace
    from training.dataset import TrainingSet
    from training.decision_digest import Position

SHADOW = ("registered", "probability", "outcome")
WITHIN = pd.Timedelta(days=60)
"""A loan that is decided on by a bank within this time after the decision comes of it."""


def by_month(workspace: Workspace) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each month with its decisions, oldest first: one row a decision, who decided, what was said, lot and shadow.

    ``propensity`` is the probability that a loan is made: 1 for an approval by the score; for one by lot its
    probability times the share of that month's drawn lots for which there was money.

    Raises:
        AuditError: the audit trail is not what it was when it was read last.
    """
    position = decision_digest.update(workspace)
    for month in decision_digest.months(position):
        yield month, _decisions(workspace, position, month)


def with_outcomes(frame: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the ``label`` of the first loan that followed each decision; NaN where none is known yet.

    ``known`` are the :func:`outcomes`.
    """
    known = known[known["entity"].isin(frame["entity"].unique())].astype({"entity": object})
    # A bank may date its loan on the day of the decision, without the hour.
    asked = frame.assign(day=frame["at"].dt.normalize().astype("datetime64[us]")).sort_values("day")
    joined = pd.merge_asof(
        asked, known, left_on="day", right_on=TIME, by="entity", direction="forward", tolerance=WITHIN
    )
    return joined.drop(columns=["day", TIME]).sort_values("at", ignore_index=True)


def outcomes(workspace: Workspace, data: TrainingSet) -> pd.DataFrame:
    """The known outcomes by the hash of whom they are of, which is all that a record says of an entity, in time."""
    hashed = KeyedHash.from_settings(workspace.settings)
    places, keys = pd.factorize(data.head[data.entity])
    # As Arrow has it a hash takes 32 bytes; as an object of Python's, 89.
    named = pa.array((hashed(str(key)) for key in keys), pa.large_string(), size=len(keys)).take(pa.array(places))
    kind = pd.ArrowDtype(pa.large_string())
    known = pd.DataFrame({"entity": pd.Series(named, dtype=kind), TIME: data.times, LABEL: data.labels})
    return known.sort_values(TIME, ignore_index=True)


def shadowed_strategies(workspace: Workspace, month: str) -> pd.DataFrame:
    """What strategies said beside those that decided in ``month``, a row for each strategy and decision.

    It is what the last update of the digest has, which :func:`by_month` makes.
    """
    following = str(pd.Period(month, "M") + 1)
    position = decision_digest.position(workspace)
    return _table(workspace, position, Event.STRATEGY_SHADOWED, (month, following))


def _decisions(workspace: Workspace, position: Position, month: str) -> pd.DataFrame:
    frame = _table(workspace, position, Event.DECIDED, (month,))
    # A shadow judges after the answer, at the end of a month in the next one.
    following = str(pd.Period(month, "M") + 1)
    shadows = _table(workspace, position, Event.SHADOWED, (month, following)).drop_duplicates("decision", keep="last")
    shadows = shadows[["decision", *SHADOW]].rename(columns={name: f"shadow_{name}" for name in SHADOW})
    frame = frame.merge(shadows, on="decision", how="left")
    frame["month"] = month
    frame["propensity"] = _propensity(frame)
    return frame.sort_values("at", ignore_index=True, kind="stable")


def _table(workspace: Workspace, position: Position, event: Event, months: tuple[str, ...]) -> pd.DataFrame:
    files = decision_digest.parts(workspace, position, event, months)
    tables = [pq.read_table(file, schema=decision_digest.SCHEMAS[event]) for file in files]
    if not tables:
        return decision_digest.SCHEMAS[event].empty_table().to_pandas()
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True)


def _propensity(frame: pd.DataFrame) -> pd.Series:
    """Of one month's decisions."""
    drawn = frame["lot_drawn"].fillna(0).astype(float)
    granted = frame["lot_granted"].fillna(0).astype(float)
    funded = granted.sum() / drawn.sum() if drawn.sum() else 0.0
    by_lot = frame["lot_probability"].astype(float) * funded
    approved: pd.Series = frame["outcome"].eq("approve").astype(float)
    return by_lot.where(granted > 0, approved)


def empty() -> pd.DataFrame:
    """No decisions with no outcomes, for whoever puts months together."""
    columns = [*decision_digest.SCHEMAS[Event.DECIDED].names, *(f"shadow_{name}" for name in SHADOW)]
    return pd.DataFrame(columns=[*columns, "month", "propensity", LABEL]).astype({LABEL: np.float64})
