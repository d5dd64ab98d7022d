"""The training set: labels joined with the features that were known when each decision was made."""

from __future__ import annotations

from typing import Any

import duckdb

from credit301 import console
from credit301.derive.dbt import LABELS_MODEL
from credit301.errors import FeatureStoreError
from credit301.files import replacing
from credit301.workspace import Workspace
from feature_repo.materialize import apply
from feature_repo.store import as_known, open_store


def build_training_set(workspace: Workspace) -> dict[str, Any]:
    """Write labels and point-in-time features as one Parquet file.

    Columns: the entity's key, ``decision_time``, ``label`` and what else the label table has, then
    ``<view>__<feature>`` for every feature of the service. Feast joins, for each view, the newest row whose
    event time and whose created time are not after the decision (``filter_by_created_timestamp``).

    Raises:
        FeatureStoreError: there are no labels.
    """
    if workspace.definition.labels is None:
        raise FeatureStoreError(
            f"{workspace.name} declares no labels.", hint="Add labels and split to its workspace.yaml."
        )
    path = workspace.paths.mart(LABELS_MODEL)
    labels = duckdb.read_parquet(str(path)).df() if path.exists() else None
    if labels is None or labels.empty:
        raise FeatureStoreError(
            "There are no labels to learn from.", hint="Run `credit301 build` after outcomes have landed."
        )
    store = open_store(workspace)
    apply(workspace, store)
    console.say(f"joining features of {len(labels)} decisions as known at each")
    frame = labels.rename(columns={"decision_time": "event_timestamp"})
    joined = as_known(store, frame).to_df()
    joined = joined.rename(columns={"event_timestamp": "decision_time"})
    joined["decision_time"] = joined["decision_time"].dt.tz_localize(None)
    joined = joined.sort_values(["decision_time", workspace.entity.key], kind="stable").reset_index(drop=True)
    target = workspace.paths.training_set
    with replacing(target) as temporary:
        joined.to_parquet(temporary, index=False)
    return {"path": str(target), "rows": len(joined), "features": joined.shape[1] - labels.shape[1]}
