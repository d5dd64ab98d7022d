"""Training from end to end: data, splits, fit, evaluation, bundle, MLflow."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit301.console import say
from credit301.errors import ModelError
from credit301.model import bundle as bundles
from training import (
    bundling,
    evaluation,
    figures,
    fitting,
    leakage,
    memory,
    registry,
    rejects,
    report,
    splits,
    tracking,
    tuning,
    verdict,
)
from training.dataset import TrainingSet, check_columns
from training.specs import ModelSpec, source_specs

if TYPE_CHECKING:
    from distributed import Client

    from credit301.model.bundle import Bundle
    from credit301.workspace import Split, Workspace
    from training.evaluation import Evaluation
    from training.rejects import Inferred, Method

STATE = "training.json"


def train(
    workspace: Workspace,
    data: TrainingSet,
    *,
    register: bool = True,
    force: bool = False,
    allow_leaks: bool = False,
    tune: float = 0.0,
    cluster: Client | None = None,
    inference: Method | None = None,
) -> dict[str, Any]:
    """Train on ``data``, write the bundle and the report, and register the versions in MLflow.

    Args:
        workspace: contracts, split and strategies.
        data: labelled rows.
        register: log to MLflow and register; without, only the bundle and the report are written.
        force: also when nothing changed since the last training.
        allow_leaks: also on columns that bear the marks of a leak.
        tune: seconds in which better parameters of the sub-models are searched for.
        cluster: where trees are grown; ``data`` is then to be on disk. In this process where it is not given.
        inference: what is made of declined applications; they are left out where it is not given.

    Returns:
        The summary with the table of models; ``skipped`` says whether it is the last training's.

    Raises:
        ModelError: there are too few outcomes, the data does not fit the contracts, a column knows what nobody can
            know at the decision, or there is nothing to learn.
    """
    split, specs = _declared(workspace)
    check_columns(data, specs)
    if not allow_leaks:
        leakage.check(data, specs)
    where = registry.target(workspace) if register else None
    known = _with_data(data, specs)
    plan, threads = splits.plan(known, split), workspace.settings.cpu_threads
    labelled, inferred = len(known), None
    if inference is not None:
        inferred = _inferred(workspace, known, plan, specs, inference)
        known, plan = inferred.data, inferred.plan
    searched = f"{tune} {cluster is not None} {inference} {known.digest() if inferred else ''}"
    fingerprint = _fingerprint(workspace, data, searched)
    if not force and (last := _unchanged(workspace, fingerprint, where)) is not None:
        say(f"train: labels and features are those of {last['version']}; nothing to do (--force trains anyway).")
        return {**last, "skipped": True}
    started = time.perf_counter()
    grown: dict[str, Any] = {"threads": threads, "cluster": cluster}
    tuned = tuning.tune(workspace, known, plan, specs, seconds=tune, **grown) if tune else {}
    found = evaluation.evaluate(workspace, known, plan, specs, tuned=tuned, **grown)
    for name in found.fitted.skipped:
        say(f"train: {name} has data on too few outcomes for a model of its own. 该数据源标签样本过少，未建子模型。")
    results = report.summarize(workspace, known, found)
    results["rows"] = labelled
    results["reject_inference"] = _said(inference, inferred)
    limit = report.bayes_limit(workspace, known, found.rows)
    created = datetime.now(UTC)
    bundle, directory = write_bundle(workspace, known, found, fingerprint, created)
    say(f"train: bundle {bundle.version} written after {time.perf_counter() - started:.1f} s.")
    plots = figures.figures(found.labels, found.ensemble.probability.mean(axis=0))
    results["limit"] = limit
    results["tuned"] = [{"name": name, "parameters": of} for name, of in tuned.items()] if tune else None
    results["outcomes"] = len(data)
    results["verdict"] = verdict.words(results)
    results |= {"version": bundle.version, "bundle": str(directory), "registered": None}
    if where is not None:
        registered = _registered(workspace, known, found, bundle, directory, plots, results, where)
        results["registered"] = {"name": registered.name, "version": registered.version, "at": where.uri}
        say(f"train: registered as version {registered.version} of {registered.name}.")
    results["seconds"] = round(time.perf_counter() - started, 1)
    results["peak_memory_gib"] = round(memory.peak(), 2)
    report.write(workspace, results, plots)
    # What a page needs of the models' life builds on this module.
    from training import pages, report_page

    html = report_page.page(workspace, results, found.labels, found.ensemble.probability.mean(axis=0))
    (workspace.paths.reports / report_page.PAGE).write_text(html, encoding="utf-8")
    pages.write(workspace, pages.TRAINING, html)
    _remember(workspace, fingerprint, results)
    return {**results, "skipped": False}


def _registered(
    workspace: Workspace,
    data: TrainingSet,
    found: Evaluation,
    bundle: Bundle,
    directory: Path,
    plots: dict[str, bytes],
    results: dict[str, Any],
    where: registry.Target,
) -> tracking.Registered:
    """The version that MLflow made of the training; it may have gone since the training began."""
    from mlflow.exceptions import MlflowException

    try:
        return tracking.log(workspace, data, found, bundle, directory, plots, results, where)
    except MlflowException as error:
        raise ModelError(
            f"MLflow at {where.uri} did not take the training: {str(error)[:200]} MLflow 未能登记本次训练。",
            hint=f"Bundle {bundle.version} is written. See that MLflow answers (credit301 status), and train again.",
        ) from error


def _inferred(
    workspace: Workspace, data: TrainingSet, plan: splits.Plan, specs: tuple[ModelSpec, ...], method: Method
) -> Inferred:
    """``data`` as ``method`` has it learnt from."""
    from training import declined

    threads = workspace.settings.cpu_threads
    by_lot = method is rejects.Method.LANE
    population = rejects.Population(
        data,
        plan,
        None if by_lot else declined.declined(workspace, data),
        declined.propensity(workspace, data) if by_lot else None,
    )
    found = rejects.infer(
        method,
        workspace,
        population,
        specs,
        lambda rows, learnt, split: fitting.fit(rows, learnt, split, specs, threads=threads),
    )
    say(
        f"train: reject inference ({method}): {found.declined} declined applications are learnt from; a row counts at "
        f"most {found.largest_weight:.1f}. 拒绝推断：纳入 {found.declined} 笔被拒申请。"
    )
    return found


def _said(method: Method | None, found: Inferred | None) -> dict[str, Any] | None:
    """What the report keeps of reject inference."""
    if method is None or found is None:
        return None
    return {"method": method.value, "declined": found.declined, "largest_weight": round(found.largest_weight, 3)}


def _declared(workspace: Workspace) -> tuple[Split, tuple[ModelSpec, ...]]:
    """The split and the sub-models that the workspace declares."""
    split, specs = workspace.definition.split, source_specs(workspace)
    if split is None:
        raise ModelError(
            f"{workspace.name} declares no labels to learn from.", hint="Add labels and split to its workspace.yaml."
        )
    if not specs:
        raise ModelError(f"No source of {workspace.name} has a sub-model.", hint="Add subModel to a contract.")
    return split, specs


def write_bundle(
    workspace: Workspace, data: TrainingSet, found: Evaluation, fingerprint: str, created: datetime
) -> tuple[Bundle, Path]:
    """Write the model that ships as a bundle named after ``created`` and what it was trained on; where it is."""
    version = f"{created:%Y%m%dT%H%M%S}-{fingerprint[:8]}"
    manifest, files = bundling.assemble(
        workspace,
        found.fitted,
        found.categories,
        version=version,
        created_at=created.isoformat(timespec="seconds"),
        metrics=_metrics(data, found),
        cut_off=bundling.highest_cut_off(workspace),
    )
    directory = workspace.paths.bundles / version
    return bundles.write(directory, manifest, files), directory


def _metrics(data: TrainingSet, found: Evaluation) -> dict[str, Any]:
    """What the gate and the console want to know of the evaluation."""
    plan = found.plan
    fold = plan.repeats[0][0]
    return {
        **asdict(found.ensemble.metrics),
        "split": plan.kind,
        "nested": plan.nested,
        "rows": len(data),
        "test_rows": len(found.rows),
        "learnt_until": "" if plan.nested else data.span(fold.train)[1],
        "test_from": "" if plan.nested else data.span(fold.test)[0],
        "dataset_digest": data.digest(),
    }


def _with_data(data: TrainingSet, specs: tuple[ModelSpec, ...]) -> TrainingSet:
    """``data`` without rows on which no source knows anything: they are not scored, and nothing is learnt from them."""
    columns = [item.column for spec in specs for item in spec.inputs]
    known = data.known(columns)
    if not known.all():
        say(f"train: {int((~known).sum())} rows without data from any source are left out.")
    if not known.any():
        raise ModelError(
            "No source with a sub-model has data on any labelled entity.",
            hint="Compare the keys of the labels with those of the sources, and the decision times with their dates.",
        )
    return data if known.all() else data.where(known)


def _fingerprint(workspace: Workspace, data: TrainingSet, chosen: str) -> str:
    """What a training depends on: data, what the contracts say of it, split, cut-off, options, the code's version."""
    parts = [
        chosen,
        data.digest(),
        bundling.feature_version(workspace),
        _declared(workspace)[0].model_dump_json(),
        str(bundling.highest_cut_off(workspace)),
        installed("lightgbm"),
        *(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _unchanged(workspace: Workspace, fingerprint: str, where: registry.Target | None) -> dict[str, Any] | None:
    """The last training's results, if it was on the same and what it was to leave behind is still there."""
    path = workspace.paths.state / STATE
    if not path.is_file():
        return None
    last = json.loads(path.read_text(encoding="utf-8"))
    results: dict[str, Any] = last["results"]
    same = last["fingerprint"] == fingerprint and Path(results["bundle"]).is_dir()
    if not same or (where is not None and not _is_registered(workspace, results, where)):
        return None
    return results


def _is_registered(workspace: Workspace, results: dict[str, Any], where: registry.Target) -> bool:
    registered = results["registered"]
    if registered is None or registered["at"] != where.uri:
        return False
    if where.local:
        return Path(where.uri.removeprefix("sqlite:///")).is_file()
    view = registry.RestRegistry(where.uri, registry.ensemble_name(workspace))
    try:
        found = view.version(registered["version"])
    finally:
        view.close()
    return found is not None and found[1].get(registry.TAG_VERSION) == results["version"]


def _remember(workspace: Workspace, fingerprint: str, results: dict[str, Any]) -> None:
    path = workspace.paths.state / STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"fingerprint": fingerprint, "results": results}, ensure_ascii=False), encoding="utf-8")
