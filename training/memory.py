"""How much memory a training takes: whether the rows are read into it, and of how many a model may learn at once."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq

from credit301.errors import ModelError
from training.rows import VALUES_AT_ONCE

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
FRAME = 24
"""Bytes of a value where the rows are read into memory: as a frame, in order, and with those without data left out."""

BINNED = 2.5
"""Bytes of a value that the learner itself holds: its histogram's bin, of all rows and of those of a fold."""

BOUNDED, OF_THE_BOUNDED = 50_000, 24
"""Rows from which the bounds of the bins come, and bytes of a value of them: in a matrix, and as LightGBM sorts it."""

OF_A_ROW = 400
"""Bytes of a row beside its features: key, time, label, and what each model says of it."""

OF_A_SAMPLE = 32
"""Bytes of a value of the rows that the additive model, the logistic regression or the scorecard takes at once."""

LEAST_SAMPLED, MOST_SAMPLED = 5_000, 100_000
"""How many rows these learn from; more, evenly spaced in time, would not change a digit that counts."""

AT_LEAST = 0.85
"""GiB of the process with its libraries, MLflow's among them, and a batch."""


class Room(NamedTuple):
    """Whether all rows go into memory as they are, and how many a model may learn from that takes them all at once."""

    whole: bool
    sampled: int


def peak() -> float:
    """GiB that this process has had in memory at most since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB


def rows_at_once(columns: int) -> int:
    """Rows of a batch of so many columns."""
    return max(1, VALUES_AT_ONCE // max(1, columns))


def room(path: Path, allowed: float) -> Room:
    """What there is room for of the rows of the Parquet file ``path``, where ``allowed`` GiB may be used.

    Raises:
        ModelError: training would need more even if the rows stay on disk and the samples are small.
    """
    file = pq.read_metadata(path)
    rows, columns = file.num_rows, file.num_columns
    beside = AT_LEAST + rows * OF_A_ROW / GIB

    def takes(sampled: int, held: float) -> float:
        """One after the other: the bounds of the bins, the bins, and what takes a sample."""
        bounds = min(rows, BOUNDED) * OF_THE_BOUNDED
        return beside + columns * (rows * held + max(bounds, rows * BINNED, min(rows, sampled) * OF_A_SAMPLE)) / GIB

    least = takes(LEAST_SAMPLED, held=0)
    if least > allowed:
        raise ModelError(
            f"Training on {rows:,} rows of {columns} columns takes {least:.2f} GiB; "
            f"{allowed:.2f} GiB may be used. 训练约需 {least:.2f} GiB 内存，上限为 {allowed:.2f} GiB。",
            hint="Allow more (--memory, CREDIT301_TRAINING_MEMORY_GIB), or train on a cluster (--cluster).",
        )
    if takes(MOST_SAMPLED, held=FRAME) <= allowed:
        return Room(whole=True, sampled=MOST_SAMPLED)
    sampled = int((allowed - beside) * GIB / (columns * OF_A_SAMPLE))
    return Room(whole=False, sampled=max(LEAST_SAMPLED, min(sampled, MOST_SAMPLED)))
