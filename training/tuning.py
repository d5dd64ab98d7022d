"""Search for better LightGBM parameters of each sub-model, within a budget of seconds.

Each trial is judged by the log-loss on the same folds that choose the number of trees: inside the training rows,
forward in time where the split is by time. The usual parameters are the first trial, so that on the
folds nothing gets worse. How many trials fit into the seconds depends on the machine: what was found is kept
by what it was found on.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from credit301.console import say
from credit301.errors import ModelError
from credit301.files import replacing
from training import submodels
from training.splits import inner_folds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import optuna
    from distributed import Client

    from credit301.workspace import Workspace
    from training.dataset import TrainingSet
    from training.specs import ModelSpec
    from training.splits import Plan

Tuned = dict[str, dict[str, Any]]
"""LightGBM parameters by sub-model that differ from the usual ones."""

FOLDER = "tuning"
LEAST_GAIN = 1e-4
"""Share of the log-loss by which a trial must be better than the usual parameters: less is chance."""


def tune(
    workspace: Workspace,
    data: TrainingSet,
    plan: Plan,
    specs: tuple[ModelSpec, ...],
    *,
    seconds: float,
    threads: int,
    cluster: Client | None = None,
) -> Tuned:
    """Better parameters for each of ``specs``, learnt from the training rows of ``plan`` alone.

    Raises:
        ModelError: the split tests every row, so that a search over all rows would have seen the tests.
    """
    if plan.nested:
        raise ModelError(
            "Parameters are not searched for where every row is tested.",
            hint="Split by time or by a column, or leave --tune.",
        )
    rows = plan.repeats[0][0].train
    path = workspace.paths.state / FOLDER / f"{_fingerprint(data, rows, specs, plan, seconds)}.json"
    if path.is_file():
        found: Tuned = json.loads(path.read_text(encoding="utf-8"))
        better = ", ".join(found) or "none 无"
        say(f"train: the search on the same rows is not made again; it found better parameters for: {better}.")
        return found
    folds = inner_folds(data, rows, plan)
    tuned: Tuned = {}
    until = time.monotonic() + seconds
    for number, spec in enumerate(specs):
        share = (until - time.monotonic()) / (len(specs) - number)

        def loss(changed: dict[str, Any], spec: ModelSpec = spec) -> float | None:
            fitted = submodels.fit(
                data, rows, folds, spec, seed=plan.seed, threads=threads, changed=changed, cluster=cluster
            )
            return None if fitted is None else fitted.loss

        found_now = search(loss, seconds=share, seed=plan.seed)
        if found_now:
            tuned[spec.name] = found_now
    _keep(path, tuned)
    better = ", ".join(tuned) or "none 无"
    of = f"{len(tuned)} of {len(specs)} sub-models"
    say(f"train: {seconds:g} s of search found better parameters for {of}: {better}.")
    return tuned


def search(loss: Callable[[dict[str, Any]], float | None], *, seconds: float, seed: int) -> dict[str, Any]:
    """The parameters with the least ``loss`` that were found in ``seconds``; empty where the usual ones are as good."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    usual = loss({})
    if usual is None:
        return {}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def objective(trial: optuna.Trial) -> float:
        found = loss(_suggested(trial))
        return usual if found is None else found

    if seconds > 0:
        study.optimize(objective, timeout=seconds)
    better = study.trials and study.best_value < usual * (1 - LEAST_GAIN)
    return _suggested(optuna.trial.FixedTrial(study.best_params)) if better else {}


def _suggested(trial: optuna.Trial | optuna.trial.FixedTrial) -> dict[str, Any]:
    leaves = trial.suggest_int("num_leaves", 2, submodels.LEAVES)
    return {
        "num_leaves": leaves,
        "max_depth": 1 if leaves == submodels.STUMP else 6,
        "lambda_l2": trial.suggest_float("lambda_l2", 0.5, 100.0, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 400, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.12, log=True),
        "extra_trees": trial.suggest_categorical("extra_trees", [False, True]),
    }


def _fingerprint(data: TrainingSet, rows: np.ndarray, specs: tuple[ModelSpec, ...], plan: Plan, seconds: float) -> str:
    said = f"{data.digest()} {hashlib.sha256(rows.tobytes()).hexdigest()} {specs} {plan.folds} {plan.seed} {seconds}"
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _keep(path: Path, tuned: Tuned) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(tuned, indent=2, sort_keys=True), encoding="utf-8")
