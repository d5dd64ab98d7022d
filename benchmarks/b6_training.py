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
    import pandas as pd

    from training.dataset import TrainingSet
    from training.specs import ModelSpec

REACH = "1,000,000 rows in <= 3 x the time of one LightGBM on all columns"
ROWS = 1_000_000
TIMES = 3.0
THREADS = 2
ABSENT = 0.1
LEVELS = tuple("ABCDEFGH")
SEED = 301


def measure(folder: Path, rows: int = ROWS) -> list[Figure]:
    """Both on the same made-up rows with the columns of the reference city's training set."""
    from training import fitting, splits
    from training.specs import source_specs

    settings = Settings(profile=Profile.EMBEDDED, home=folder / "b6", host="127.0.0.1")
    workspace = Workspace.load(workspace_source(), settings)
    specs, split = source_specs(workspace), workspace.definition.split
    if split is None:
        raise RuntimeError("the reference city declares no split")
    console.say(f"== B6: {rows:,} rows of {sum(len(spec.inputs) for spec in specs)} columns")
    data = made_up(rows, specs)
    plan = splits.plan(data, split)
    learnt = np.arange(len(data))
    peer = _one_model(data, learnt, specs)
    console.say(f"   one LightGBM: {peer:.1f} s")
    began = time.perf_counter()
    fitted = fitting.fit(data, learnt, plan, specs, threads=THREADS)
    ours = time.perf_counter() - began
    console.say(f"   {len(fitted.sources)} sub-models, additive model, stack, calibration: {ours:.1f} s")
    return [
        Figure(
            id="B6",
            what=f"train all sub-models, additive model, ensemble, calibration on {rows:,} rows "
            "(out of fold in time order and on all rows; the peer is fitted once, on all rows)",
            unit="s",
            ours=ours,
            peer=peer,
            floor=None,
            spread=(ours, ours),
            reached=ours <= TIMES * peer and rows >= ROWS,
        )
    ]


def made_up(rows: int, specs: tuple[ModelSpec, ...], seed: int = SEED) -> TrainingSet:
    """``rows`` labelled rows of 7 % defaults: every source tells a little, and is absent on one row in ten."""
    import pandas as pd

    from training.dataset import LABEL, TIME, TrainingSet

    random = np.random.default_rng(seed)
    z = np.full(rows, -3.6)
    columns: dict[str, pd.Series] = {}
    for spec in specs:
        absent = random.random(rows) < ABSENT
        for item in spec.inputs:
            if item.category:
                codes = random.integers(0, len(LEVELS), rows)
                z += 0.03 * (codes - 3.5)
                named = pd.Series(np.array(LEVELS, dtype=object)[codes])
                columns[item.column] = named.mask(pd.Series(absent)).astype("category")
                continue
            normal = random.standard_normal(rows)
            z += 0.12 * (item.monotone or 0.3) * normal
            columns[item.column] = pd.Series(np.where(absent, np.nan, np.exp(normal)))
    frame = pd.DataFrame(columns)
    frame["uscc"] = np.arange(rows).astype(str)
    frame[TIME] = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.sort(random.integers(0, 1000, rows)), "D")
    frame[LABEL] = (random.random(rows) < 1 / (1 + np.exp(-z))).astype(np.int64)
    return TrainingSet(frame, "uscc")


def _one_model(data: TrainingSet, rows: np.ndarray, specs: tuple[ModelSpec, ...]) -> float:
    """Seconds of one LightGBM on all columns with the trees that a model on as many rows may have."""
    from training import submodels
    from training.specs import pooled_spec

    trees = submodels.rounds(int(data.labels.sum()))
    began = time.perf_counter()
    submodels.refit(data, rows, pooled_spec("one", specs), trees=trees, seed=SEED, threads=THREADS)
    return time.perf_counter() - began
