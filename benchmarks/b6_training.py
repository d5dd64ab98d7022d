"""B6: all sub-models, the additive model, the ensemble and its calibration on a million rows, beside one LightGBM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.b5_pipeline import workspace_source
from benchmarks.results import Figure
from credit301 import console
from credit301.settings import Profile, Settings
from credit301.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from training.dataset import TrainingSet
    from training.specs import ModelSpec

REACH = "1,000,000 rows in <= 3 x the time of one LightGBM on all columns"
ROWS = 1_000_000
ROWS_AT_ONCE = 50_000
TIMES = 3.0
THREADS = 2
ABSENT = 0.1
LEVELS = tuple("ABCDEFGH")
SEED = 301
ENTITY = "uscc"


def measure(folder: Path, rows: int = ROWS) -> list[Figure]:
    """Both on the same made-up rows, which stay on disk, with the columns of the reference city's training set."""
    from training import fitting, memory, splits
    from training.dataset import TrainingSet
    from training.specs import source_specs

    settings = Settings(profile=Profile.EMBEDDED, home=folder / "b6", host="127.0.0.1")
    workspace = Workspace.load(workspace_source(), settings)
    specs, split = source_specs(workspace), workspace.definition.split
    if split is None:
        raise RuntimeError("the reference city declares no split")
    columns = sum(len(spec.inputs) for spec in specs)
    console.say(f"== B6: {rows:,} rows of {columns} columns, {rows * columns * 8 / memory.GIB:.2f} GiB as numbers")
    path = folder / "b6.parquet"
    make_up(path, rows, specs)
    before = memory.peak()
    data = TrainingSet.on_disk(path, ENTITY)
    plan = splits.plan(data, split)
    learnt = np.arange(len(data))
    peer = _one_model(data, learnt, specs)
    console.say(f"   one LightGBM: {peer:.1f} s")
    began = time.perf_counter()
    fitted = fitting.fit(data, learnt, plan, specs, threads=THREADS)
    ours = time.perf_counter() - began
    console.say(f"   {len(fitted.sources)} sub-models, additive model, stack, calibration: {ours:.1f} s")
    console.say(f"   most memory: {memory.peak():.2f} GiB ({before:.2f} before anything was read)")
    return [
        Figure(
            id="B6",
            what=f"train all sub-models, additive model, ensemble, calibration on {rows:,} rows on disk "
            f"(out of fold in time order and on all rows; the peer is fitted once, on all rows; "
            f"{memory.peak():.2f} GiB at most)",
            unit="s",
            ours=ours,
            peer=peer,
            floor=None,
            spread=(ours, ours),
            reached=ours <= TIMES * peer and rows >= ROWS,
        )
    ]


def make_up(path: Path, rows: int, specs: tuple[ModelSpec, ...], seed: int = SEED) -> None:
    """Write ``rows`` labelled rows of some 5 % defaults: every source tells a little, and is absent on one in ten."""
    import pyarrow.parquet as pq

    random, writer = np.random.default_rng(seed), None
    days = np.sort(random.integers(0, 1000, rows))
    for start in range(0, rows, ROWS_AT_ONCE):
        table = _some(random, start, days[start : start + ROWS_AT_ONCE], specs)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _some(random: np.random.Generator, start: int, days: np.ndarray, specs: tuple[ModelSpec, ...]) -> pa.Table:
    import pyarrow as pa

    from training.dataset import LABEL, TIME

    rows = len(days)
    z = np.full(rows, -3.6)
    columns = {
        ENTITY: pa.array([f"{number:09d}" for number in range(start, start + rows)]),
        TIME: pa.array(np.datetime64("2022-01-01", "us") + days.astype("timedelta64[D]")),
    }
    for spec in specs:
        absent = random.random(rows) < ABSENT
        for item in spec.inputs:
            if item.category:
                codes = random.integers(0, len(LEVELS), rows)
                z += 0.03 * (codes - 3.5)
                columns[item.column] = pa.array(np.array(LEVELS, dtype=object)[codes], mask=absent)
                continue
            normal = random.standard_normal(rows)
            z += 0.12 * (item.monotone or 0.3) * normal
            columns[item.column] = pa.array(np.exp(normal), mask=absent)
    columns[LABEL] = pa.array((random.random(rows) < 1 / (1 + np.exp(-z))).astype(np.int64))
    return pa.table(columns)


def _one_model(data: TrainingSet, rows: np.ndarray, specs: tuple[ModelSpec, ...]) -> float:
    """Seconds of one LightGBM on all columns with the trees that a model on as many rows may have."""
    from training import submodels
    from training.specs import pooled_spec

    trees = submodels.rounds(int(data.labels.sum()))
    began = time.perf_counter()
    submodels.refit(data, rows, pooled_spec("one", specs), trees=trees, seed=SEED, threads=THREADS)
    return time.perf_counter() - began
