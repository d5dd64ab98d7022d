"""How much memory a training takes, and whether the rows are read into it or stay on disk."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

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

OF_A_ROW = 400
"""Bytes of a row beside its features: key, time, label, and what each model says of it."""

OF_A_SAMPLE = 64
"""Bytes of a value of the rows that the logistic regression takes as a matrix, with what scikit-learn makes of it:
1.74 GiB at most with 200,000 rows of 147 columns on disk."""

MOST_SAMPLED = 100_000
"""Rows that models are fitted on which take them all at once (``MOST_ROWS`` of the baselines and the leak marks)."""

AT_LEAST = 0.75
"""GiB of the process with its libraries and a batch."""


def peak() -> float:
    """GiB that this process has had in memory at most since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB


def rows_at_once(columns: int) -> int:
    """Rows of a batch of so many columns."""
    return max(1, VALUES_AT_ONCE // max(1, columns))


def fits(path: Path, allowed: float) -> bool:
    """Whether the rows of the Parquet file ``path`` are to be read into memory, of which ``allowed`` GiB may be used.

    Raises:
        ModelError: training would need more even if the rows stay on disk.
    """
    file = pq.read_metadata(path)
    values = file.num_rows * file.num_columns
    sample = AT_LEAST + min(file.num_rows, MOST_SAMPLED) * file.num_columns * OF_A_SAMPLE / GIB
    least = sample + (values * BINNED + file.num_rows * OF_A_ROW) / GIB
    if least > allowed:
        raise ModelError(
            f"Training on {file.num_rows:,} rows of {file.num_columns} columns takes {least:.2f} GiB; "
            f"{allowed:.2f} GiB may be used. 训练约需 {least:.2f} GiB 内存，上限为 {allowed:.2f} GiB。",
            hint="Allow more (--memory, CREDIT301_TRAINING_MEMORY_GIB), or train on a cluster (--cluster).",
        )
    return sample + values * (FRAME + BINNED) / GIB <= allowed
