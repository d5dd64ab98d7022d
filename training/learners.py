"""What grows the trees of one model: LightGBM in this process, or on a cluster.

Either is made of the rows of a training set, batch by batch, and grows as many boosters on parts of them as it is asked
for. In this process a value is one byte: the bin of a histogram, whose bounds come from a sample of the rows (their
labels are not looked at), and a fold's rows are a part of the same bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import lightgbm
import numpy as np

from credit301.errors import ModelError
from credit301.model.booster import TreeByTree
from training import distributed, memory
from training.dataset import LABEL, evenly
from training.frames import encode, encoded
from training.rows import OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

    from training.dataset import Categories, TrainingSet
    from training.specs import ModelSpec

SAMPLE = 50_000
"""Rows from which the bounds of the bins come: some 200 for each of 255 bins."""

PATIENCE, PATIENCE_OF_MANY = 50, 20
"""Trees without a better loss on the tests after which no more are tried; on many rows chance is small."""

MANY_TESTED = 20_000


class Grown(NamedTuple):
    """LightGBM's text, and the mean log-loss on the tested rows after each tree, shape (trees,); zeros without any."""

    text: str
    curve: np.ndarray


class Learner(Protocol):
    """Grows boosters on rows of one training set, for one model."""

    def grow(self, train: np.ndarray, test: np.ndarray, trees: int) -> Grown:
        """A booster of at most ``trees`` on the rows ``train``, watched on ``test``; both ascending row numbers."""


class Binned:
    """LightGBM in this process, on ``rows`` of ``data``; other rows than these are not asked for.

    Args:
        data: where the rows lie.
        rows: ascending; rows on which none of the columns is known are not to be among them.
        spec: columns and their constraints.
        categories: of each categorical column, in code order.
        parameters: LightGBM's.
    """

    def __init__(
        self,
        data: TrainingSet,
        rows: np.ndarray,
        spec: ModelSpec,
        categories: Categories,
        parameters: dict[str, Any],
    ) -> None:
        self._rows, self._parameters = rows, parameters
        columns = [item.column for item in spec.inputs]
        sample = evenly(rows, SAMPLE)
        # Columns that no leaf of that many rows could split are left out; of a sample, as many fewer.
        least = int(parameters["min_data_in_leaf"] * len(sample) / len(rows))
        named: dict[str, Any] = {
            "feature_name": columns,
            "categorical_feature": [index for index, item in enumerate(spec.inputs) if item.category],
            "params": {**parameters, "min_data_in_leaf": max(1, least)},
        }
        matrix = encoded(data, sample, spec, categories)
        self._bins = lightgbm.Dataset(matrix, data.labels[sample], weight=data.weights_of(sample), **named).construct()
        if len(sample) < len(rows):
            batches = (encode(frame, spec, categories) for _, frame in data.batches(columns, rows))
            stream = _Stream(batches, len(rows), memory.rows_at_once(len(columns)))
            # Of the sample only its bounds are kept.
            self._bins = lightgbm.Dataset(
                stream, data.labels[rows], reference=self._bins, weight=data.weights_of(rows), **named
            ).construct()

    def grow(self, train: np.ndarray, test: np.ndarray, trees: int) -> Grown:
        """As :meth:`Learner.grow`; it ends where the loss on ``test`` no longer falls."""
        learn = self._part(train)
        if not len(test):
            booster = lightgbm.train(self._parameters, learn, num_boost_round=trees)
            return Grown(booster.model_to_string(), np.zeros(trees))
        patience = PATIENCE_OF_MANY if len(test) >= MANY_TESTED else PATIENCE
        record: dict[str, Any] = {}
        booster = lightgbm.train(
            self._parameters,
            learn,
            num_boost_round=trees,
            valid_sets=[self._part(test)],
            valid_names=["test"],
            callbacks=[lightgbm.record_evaluation(record), lightgbm.early_stopping(patience, verbose=False)],
        )
        curve = np.asarray(record["test"]["binary_logloss"])
        # It stopped because no split is left, or because the loss rises: from there on it counts as it is then.
        curve = np.concatenate([curve, np.full(trees - len(curve), curve[-1])])
        return Grown(booster.model_to_string(num_iteration=-1), curve)

    def _part(self, rows: np.ndarray) -> lightgbm.Dataset:
        if len(rows) == len(self._rows):
            return self._bins
        part = self._bins.subset([])
        # As an array: the method would make a list of it, at forty bytes a row.
        part.used_indices = np.searchsorted(self._rows, rows).astype(np.int32)
        return part


class Spread:
    """LightGBM on a Dask cluster, whose workers read the rows from the training set's file.

    Args:
        client: of the cluster.
        data: rows of a file.
        spec: columns and their constraints.
        categories: of each categorical column, in code order.
        parameters: LightGBM's.
    """

    def __init__(
        self, client: Client, data: TrainingSet, spec: ModelSpec, categories: Categories, parameters: dict[str, Any]
    ) -> None:
        if not isinstance(data.rows, OnDisk):
            raise ModelError("A cluster reads rows from a file.", hint="Open the training set on disk.")
        self._path, self._places = data.rows.path, data.rows.places
        self._client, self._data, self._spec = client, data, spec
        self._categories, self._parameters = categories, parameters

    def grow(self, train: np.ndarray, test: np.ndarray, trees: int) -> Grown:
        """As :meth:`Learner.grow`; all ``trees`` are grown, and ``test`` is scored here."""
        text = distributed.fit(
            self._client,
            distributed.parts(self._path, self._places(train), len(self._client.nthreads())),
            self._spec,
            self._categories,
            LABEL,
            self._parameters,
            trees,
            seed=int(self._parameters["seed"]),
        )
        return Grown(text, self._curve(text, test, trees))

    def _curve(self, text: str, test: np.ndarray, trees: int) -> np.ndarray:
        total = np.zeros(trees)
        if not len(test):
            return total
        columns = [item.column for item in self._spec.inputs]
        grown = lightgbm.Booster(model_str=text).num_trees()
        booster = TreeByTree(text, len(columns))
        for rows, frame in self._data.batches(columns, test):
            matrix, sign = encode(frame, self._spec, self._categories), 1.0 - 2.0 * self._data.labels[rows]
            z = np.zeros(len(matrix))
            for tree in range(trees):
                if tree < grown:
                    z += booster.raw_of(tree, matrix)
                total[tree] += np.logaddexp(0.0, sign * z).sum()
        return total / len(test)


def first_trees(text: str, trees: int) -> str:
    """The model of the first ``trees`` of a model's."""
    return str(lightgbm.Booster(model_str=text).model_to_string(num_iteration=trees))


class _Stream(lightgbm.Sequence):
    """Batches as LightGBM reads them where the bounds of the bins are known: each once, one after the other."""

    def __init__(self, batches: Iterator[np.ndarray], rows: int, size: int) -> None:
        self._batches, self._count, self.batch_size = batches, rows, size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> np.ndarray:
        return next(self._batches)
