"""The training set: one row per (entity, decision) with its label and every source's features as known then."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from credit301.errors import ModelError, NotFound
from training import memory
from training.rows import InMemory, OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from credit301.workspace import Workspace
    from training.rows import Rows
    from training.specs import ModelSpec

TIME = "decision_time"
LABEL = "label"
NAMED = 5
KNOWN_AT = "label_known_at"
WEIGHT = "inferred_weight"
"""Column of what each row counts, where reject inference made the rows; absent, every row counts one."""

INFERRED = "inferred"
"""Column beside it: whether the outcome is a guess at what a declined application would have become."""

SEPARATOR = "__"
"""Between view and feature in a column's name; columns without it are not features."""

Categories = dict[str, tuple[str, ...]]
"""Values of each categorical column in code order."""


class TrainingSet:
    """Labelled rows in a fixed order; what is not a feature is in memory, features are read when they are asked for.

    Columns: the entity's key, ``decision_time``, ``label`` (0 or 1), the features as ``<view>__<feature>``, and
    optionally ``label_known_at``: when the label's window had closed. Rows are in the order of time and key, so that
    equal data trains equal models; results do not depend on where the rows lie and how many are read at once.

    Args:
        rows: a frame in any order, shape (rows, columns), or rows in their order.
        entity: name of the column with the entity's key.
        sampled: how many rows a model may learn from that takes them all at once.

    Raises:
        ModelError: a column is missing, or a label is neither 0 nor 1.
    """

    def __init__(self, rows: pd.DataFrame | Rows, entity: str, sampled: int = memory.MOST_SAMPLED) -> None:
        _check_names(rows.columns, entity)
        if isinstance(rows, pd.DataFrame):
            ordered = rows.sort_values([TIME, entity], kind="stable", ignore_index=True)
            rows = InMemory(ordered.astype({TIME: "datetime64[us]"}))
        self.rows, self.entity, self.sampled = rows, entity, sampled
        names = [name for name in rows.columns if SEPARATOR not in name]
        batches = rows.batches(names, None, memory.rows_at_once(len(names)))
        head = pd.concat([_texts(frame) for frame in batches], ignore_index=True)
        self.head = head.astype({TIME: "datetime64[us]"})
        """The columns that are not features."""
        if not set(self.head[LABEL].unique()) <= {0, 1}:
            raise ModelError("A label is neither 0 nor 1.", hint="Mend the workspace's label model.")

    @classmethod
    def on_disk(cls, path: Path, entity: str, sampled: int = memory.MOST_SAMPLED) -> TrainingSet:
        """The rows of a Parquet file, whose features stay there.

        Raises:
            ModelError: as when it is made of a frame, or the file is not in the order of time and key.
        """
        found = cls(OnDisk(path), entity, sampled)
        if not _in_order(found.times, found.head[entity].to_numpy()):
            raise ModelError(
                f"{path.name} is not in the order of decision time and key.", hint="Rebuild it: credit301 training-set."
            )
        return found

    @classmethod
    def of(cls, workspace: Workspace, *, memory_gib: float | None = None, stored: bool = False) -> TrainingSet:
        """What the verb ``training_set`` last joined, point in time, from the feature store's offline side.

        It is read into memory where that is a small part of what training may use, and else stays where it is.

        Args:
            workspace: whose.
            memory_gib: what training may use; the setting where it is not given.
            stored: it stays where it is, however small, and no memory of this process is asked for its rows.

        Raises:
            ModelError: the workspace declares no labels.
            NotFound: it has not been run.
            ModelError: not even the learner's own copy of the rows would fit into the memory that is allowed.
        """
        require_labels(workspace)
        path = workspace.paths.training_set
        if not path.is_file():
            raise NotFound(f"{workspace.name} has no training set.", hint="Run: credit301 training-set.")
        if stored:
            return cls.on_disk(path, workspace.entity.key)
        room = memory.room(path, memory_gib or workspace.settings.training_memory)
        if room.whole:
            return cls(pd.read_parquet(path), workspace.entity.key)
        return cls.on_disk(path, workspace.entity.key, room.sampled)

    def __len__(self) -> int:
        return len(self.head)

    @property
    def frame(self) -> pd.DataFrame:
        """Every row with every column, in memory."""
        if isinstance(self.rows, InMemory):
            return self.rows.frame
        return self.take(self.rows.columns, np.arange(len(self))).astype({TIME: "datetime64[us]"})

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels, shape (rows,), int64; 1 is a default."""
        return self.head[LABEL].to_numpy(dtype=np.int64)

    @cached_property
    def weights(self) -> np.ndarray | None:
        """What each row counts, shape (rows,); ``None`` where each counts one."""
        return self.head[WEIGHT].to_numpy(dtype=np.float64) if WEIGHT in self.head else None

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """:attr:`weights` of ``rows``."""
        return None if self.weights is None else self.weights[rows]

    def outcomes(self, rows: np.ndarray) -> tuple[float, float]:
        """How many defaults, and how many others, ``rows`` count."""
        labels, weights = self.labels[rows], self.weights_of(rows)
        if weights is None:
            return float(labels.sum()), float(len(labels) - labels.sum())
        return float(weights[labels == 1].sum()), float(weights[labels == 0].sum())

    def observed(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` whose outcome was seen."""
        return rows[~self.head[INFERRED].to_numpy(dtype=bool)[rows]] if INFERRED in self.head else rows

    @property
    def times(self) -> np.ndarray:
        """Decision times, shape (rows,), datetime64[us]."""
        return self.head[TIME].to_numpy(dtype="datetime64[us]")

    @property
    def known_at(self) -> np.ndarray:
        """When each label was known, shape (rows,); the decision's own time where the label model does not say."""
        if KNOWN_AT not in self.head:
            return self.times
        return self.head[KNOWN_AT].to_numpy(dtype="datetime64[us]")

    @cached_property
    def groups(self) -> np.ndarray:
        """A number per entity, shape (rows,), int64."""
        return pd.factorize(self.head[self.entity])[0].astype(np.int64)

    @property
    def data_as_of(self) -> str:
        """ISO time of the newest decision."""
        return self.span(np.arange(len(self)))[1]

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns, in order."""
        return tuple(name for name in self.rows.columns if SEPARATOR in name)

    def features(self, rows: np.ndarray | None = None) -> pd.DataFrame:
        """The feature columns of ``rows`` (ascending; default: all), in memory."""
        return self.take(self.feature_names, np.arange(len(self)) if rows is None else rows)

    def span(self, rows: np.ndarray) -> tuple[str, str]:
        """ISO times of the first and the last decision among ``rows``."""
        times = self.times[rows]
        return pd.Timestamp(times.min()).isoformat(), pd.Timestamp(times.max()).isoformat()

    def batches(
        self, columns: Sequence[str], rows: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
        """``columns`` of ``rows`` (ascending; default: all), some at a time: their numbers, and a frame of them."""
        size, start = memory.rows_at_once(len(columns)), 0
        for frame in self.rows.batches(columns, rows, size):
            end = start + len(frame)
            yield (np.arange(start, end) if rows is None else rows[start:end]), frame
            start = end

    def take(self, columns: Sequence[str], rows: np.ndarray) -> pd.DataFrame:
        """``columns`` of ``rows`` (ascending), shape (rows, columns); they must fit into memory."""
        found = [_texts(frame) for _, frame in self.batches(columns, rows)]
        if not found:
            return pd.DataFrame({name: [] for name in columns})
        return pd.concat(found, ignore_index=True)

    def known(self, columns: Sequence[str]) -> np.ndarray:
        """On which rows any of ``columns`` is known, shape (rows,), bool."""
        result = np.zeros(len(self), dtype=bool)
        for rows, frame in self.batches(columns):
            result[rows] = frame.notna().to_numpy().any(axis=1)
        return result

    def categories(self, columns: Iterable[str], rows: np.ndarray) -> Categories:
        """Values of each of the categorical ``columns`` seen in ``rows``, sorted."""
        seen: dict[str, set[str]] = {name: set() for name in columns}
        if seen:
            for _, frame in self.batches(list(seen), rows):
                for name, values in seen.items():
                    values.update(map(str, frame[name].dropna().unique()))
        return {name: tuple(sorted(values)) for name, values in seen.items()}

    def where(self, kept: np.ndarray) -> TrainingSet:
        """The rows for which ``kept``, shape (rows,), is true."""
        return TrainingSet(self.rows.where(np.flatnonzero(kept)), self.entity, self.sampled)

    def sample(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` that a model learns from which takes them all at once, evenly spaced."""
        return evenly(rows, self.sampled)

    def digest(self) -> str:
        """SHA-256 over every value and column name; equal for equal data whatever order it came in."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        features = sorted(self.feature_names)
        head = self.head[sorted(self.head.columns)]
        sha = hashlib.sha256(",".join([*head.columns, *features]).encode())
        sha.update(pd.util.hash_pandas_object(head, index=False).to_numpy().tobytes())
        for _, frame in self.batches(features):
            sha.update(pd.util.hash_pandas_object(_plain(frame), index=False).to_numpy().tobytes())
        return sha.hexdigest()


def require_labels(workspace: Workspace) -> None:
    """Check that there is something to learn from.

    Raises:
        ModelError: the workspace declares no labels, so that it has no models either.
    """
    if workspace.definition.labels is None:
        raise ModelError(
            f"{workspace.name} 未声明标签，因此没有模型。It declares no labels, so it has no models.",
            hint="Add labels and split to its workspace.yaml: docs/workspaces.md.",
        )


def check_columns(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> None:
    """Check that every feature of the contracts is in ``data``.

    Raises:
        ModelError: naming the columns that are not.
    """
    there = set(data.feature_names)
    missing = [item.column for spec in specs for item in spec.inputs if item.column not in there]
    if missing:
        raise ModelError(
            f"The training set lacks {', '.join(missing[:NAMED])}{' ...' if missing[NAMED:] else ''}.",
            hint="The contracts changed after it was built: run build and training-set again.",
        )


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of ``rows``, evenly spaced."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def _check_names(columns: Iterable[str], entity: str) -> None:
    missing = {entity, TIME, LABEL} - set(columns)
    if missing:
        raise ModelError(
            f"The training set lacks {', '.join(sorted(missing))}.", hint="Rebuild it: credit301 training-set."
        )


def _in_order(times: np.ndarray, keys: np.ndarray) -> bool:
    """Whether times rise, and keys within the same time; without a copy of either, which could be large."""
    same = np.flatnonzero(times[1:] == times[:-1])
    return bool((times[1:] >= times[:-1]).all() and (keys[same + 1] >= keys[same]).all())


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as the texts they stand for: those of two batches are not coded alike."""
    return frame.astype(dict.fromkeys(frame.select_dtypes("category"), object))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats and categories as texts: a batch without gaps is typed as one with gaps."""
    return _texts(frame).astype(dict.fromkeys(frame.select_dtypes(["number", "bool"]), np.float64))
