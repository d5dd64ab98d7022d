"""The training set: one row per (entity, decision) with its label and every source's features as known then."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit301.errors import ModelError, NotFound

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from training.specs import ModelSpec

TIME = "decision_time"
LABEL = "label"
NAMED = 5
KNOWN_AT = "label_known_at"
SEPARATOR = "__"
"""Where the verb ``training_set`` leaves it, below the workspace's files."""


@dataclass(frozen=True)
class TrainingSet:
    """Labelled rows in a fixed order.

    Args:
        frame: shape (rows, columns): the entity's key, ``decision_time``, ``label`` (0 or 1), the features as
            ``<view>__<feature>``, and optionally ``label_known_at``: when the label's window had closed.
        entity: name of the column with the entity's key.

    Raises:
        ModelError: a column is missing, or a label is neither 0 nor 1.
    """

    frame: pd.DataFrame
    entity: str

    def __post_init__(self) -> None:
        """Check the columns and put the rows in one order, so that equal data trains equal models."""
        missing = {self.entity, TIME, LABEL} - set(self.frame.columns)
        if missing:
            raise ModelError(
                f"The training set lacks {', '.join(sorted(missing))}.", hint="Rebuild it: credit301 training-set."
            )
        if not set(self.frame[LABEL].unique()) <= {0, 1}:
            raise ModelError("A label is neither 0 nor 1.", hint="Mend the workspace's label model.")
        ordered = self.frame.sort_values([TIME, self.entity], kind="stable", ignore_index=True)
        object.__setattr__(self, "frame", ordered.astype({TIME: "datetime64[us]"}))

    @classmethod
    def of(cls, workspace: Workspace) -> TrainingSet:
        """What the verb ``training_set`` last joined, point in time, from the feature store's offline side.

        Raises:
            NotFound: it has not been run.
        """
        path = workspace.paths.training_set
        if not path.is_file():
            raise NotFound(f"{workspace.name} has no training set.", hint="Run: credit301 training-set.")
        return cls(pd.read_parquet(path), workspace.entity.key)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labels(self) -> np.ndarray:
        """Labels, shape (rows,), int64; 1 is a default."""
        return self.frame[LABEL].to_numpy(dtype=np.int64)

    @property
    def times(self) -> np.ndarray:
        """Decision times, shape (rows,), datetime64[us]."""
        return self.frame[TIME].to_numpy(dtype="datetime64[us]")

    @property
    def known_at(self) -> np.ndarray:
        """When each label was known, shape (rows,); the decision's own time where the label model does not say."""
        if KNOWN_AT not in self.frame:
            return self.times
        return self.frame[KNOWN_AT].to_numpy(dtype="datetime64[us]")

    @property
    def groups(self) -> np.ndarray:
        """A number per entity, shape (rows,), int64."""
        return pd.factorize(self.frame[self.entity])[0].astype(np.int64)

    @property
    def data_as_of(self) -> str:
        """ISO time of the newest decision."""
        return self.span(np.arange(len(self)))[1]

    def span(self, rows: np.ndarray) -> tuple[str, str]:
        """ISO times of the first and the last decision among ``rows``."""
        times = self.times[rows]
        return pd.Timestamp(times.min()).isoformat(), pd.Timestamp(times.max()).isoformat()

    def features(self, rows: np.ndarray | None = None) -> pd.DataFrame:
        """The feature columns of ``rows`` (default: all), in the frame's order of columns."""
        columns = [name for name in self.frame.columns if SEPARATOR in name]
        return self.frame[columns] if rows is None else self.frame[columns].iloc[rows]

    def digest(self) -> str:
        """SHA-256 over every value and column name; equal for equal data whatever order it came in."""
        frame = self.frame[sorted(self.frame.columns)]
        sha = hashlib.sha256(",".join(frame.columns).encode())
        sha.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        return sha.hexdigest()


def check_columns(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> None:
    """Check that every feature of the contracts is in ``data``.

    Raises:
        ModelError: naming the columns that are not.
    """
    missing = [item.column for spec in specs for item in spec.inputs if item.column not in data.frame]
    if missing:
        raise ModelError(
            f"The training set lacks {', '.join(missing[:NAMED])}{' ...' if missing[NAMED:] else ''}.",
            hint="The contracts changed after it was built: run build and training-set again.",
        )
