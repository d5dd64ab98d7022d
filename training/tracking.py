"""What a training run leaves in MLflow: runs, metrics, plots, the models and their registered versions."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.model.scorer import Scorer
from training import registry
from training.dataset import LABEL, evenly
from training.frames import columns, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace
    from training.dataset import TrainingSet
    from training.evaluation import Evaluation
    from training.registry import Target
    from training.submodels import SubModel

MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")
TEST_ROWS = "gate/test.parquet"
REFERENCE_ROWS = "gate/training.parquet"
MOST_REFERENCE_ROWS, MOST_TEST_ROWS = 20_000, 100_000
MOST_SHOWN = 10_000
"""Rows from which MLflow derives the schema of a training set."""

TOGETHER = 20

PROBABILITY = "out_of_fold_probability"
NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


@dataclass(frozen=True)
class Registered:
    """A version that training registered."""

    name: str
    version: str
    run_id: str


def log(
    workspace: Workspace,
    data: TrainingSet,
    evaluation: Evaluation,
    bundle: Bundle,
    directory: Path,
    plots: dict[str, bytes],
    table: dict[str, Any],
    where: Target,
) -> Registered:
    """Log one training run with everything in it, and register the ensemble and each sub-model.

    Args:
        workspace: gives the experiment and the models their names.
        data: what was trained on.
        evaluation: what was found.
        bundle: the bundle, as written to ``directory``.
        directory: where it is.
        plots: PNG by name.
        table: the summary with the table of models.
        where: the store.
    """
    client = registry.connect(where)
    import mlflow

    _experiment(workspace, where)
    with mlflow.start_run(run_name=bundle.version) as run:
        mlflow.log_params(_parameters(data, evaluation))
        mlflow.log_metrics(asdict(evaluation.ensemble.metrics))
        mlflow.log_metrics({"rows": len(data), "test_rows": len(evaluation.rows)})
        mlflow.log_input(_dataset(workspace, data), context="training")
        mlflow.log_dict(table, "models.json")
        mlflow.log_artifacts(str(directory), "bundle")
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), data, evaluation, plots)
            mlflow.log_artifacts(folder)
        for source in evaluation.fitted.sources:
            _log_source(workspace, data, evaluation, source.model)
        number = _log_ensemble(workspace, data, evaluation, bundle, directory)
        name = registry.ensemble_name(workspace)
        tags = {
            registry.TAG_SHA256: bundle.sha256,
            registry.TAG_DIRECTORY: str(directory),
            registry.TAG_VERSION: bundle.version,
            registry.TAG_DATA_AS_OF: data.data_as_of,
            registry.TAG_ROWS: str(len(data)),
        }
        for key, value in tags.items():
            client.set_model_version_tag(name, number, key, value)
        mlflow.set_tags(tags)
    return Registered(name, number, run.info.run_id)


def _experiment(workspace: Workspace, where: Target) -> None:
    import mlflow

    if mlflow.get_experiment_by_name(workspace.name) is None:
        artifacts = (workspace.paths.root / "mlflow" / "artifacts").as_uri() if where.local else None
        # The kind decides which of its faces MLflow shows: runs and metrics, not traces of language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        mlflow.create_experiment(workspace.name, artifact_location=artifacts, tags=kind)
    mlflow.set_experiment(workspace.name)


def _parameters(data: TrainingSet, evaluation: Evaluation) -> dict[str, Any]:
    plan, fitted = evaluation.plan, evaluation.fitted
    return {
        "split": plan.kind,
        "folds": plan.folds,
        "repeats": len(plan.repeats),
        "seed": plan.seed,
        "sources": ",".join(source.model.spec.name for source in fitted.sources),
        "skipped_sources": ",".join(fitted.skipped) or "none",
        "calibration": type(fitted.calibration).__name__.lower(),
        "dataset_digest": data.digest()[:16],
        "data_as_of": data.data_as_of,
    }


def _dataset(workspace: Workspace, data: TrainingSet) -> Any:
    import mlflow
    import pandas as pd

    rows, names = evenly(np.arange(len(data)), MOST_SHOWN), data.rows.columns
    # Of rows that lie far apart Arrow holds much more than it gives: some columns at a time.
    shown = [data.take(names[start : start + TOGETHER], rows) for start in range(0, len(names), TOGETHER)]
    # MLflow warns of integers, which could not be missing; a label never is.
    return mlflow.data.from_pandas(
        pd.concat(shown, axis=1).astype({LABEL: float}),
        name=f"{workspace.name}_training_set",
        targets=LABEL,
        digest=data.digest()[:16],
    )


def _write_files(folder: Path, data: TrainingSet, evaluation: Evaluation, plots: dict[str, bytes]) -> None:
    """The plots, and for the gate the tested rows and a sample of those learnt from, but not who they are."""
    (folder / "plots").mkdir()
    for name, content in plots.items():
        (folder / "plots" / name).write_bytes(content)
    place = evenly(np.arange(len(evaluation.rows)), MOST_TEST_ROWS)
    said = evaluation.ensemble.probability.mean(axis=0)[place]
    _write_rows(folder / TEST_ROWS, data, evaluation.rows[place], {PROBABILITY: said})
    if not evaluation.plan.nested:
        learnt = evaluation.plan.repeats[0][0].train
        chosen = np.random.default_rng(evaluation.plan.seed).permutation(learnt)[:MOST_REFERENCE_ROWS]
        _write_rows(folder / REFERENCE_ROWS, data, np.sort(chosen))


def _write_rows(path: Path, data: TrainingSet, rows: np.ndarray, beside: Mapping[str, np.ndarray] = NOTHING) -> None:
    """Features and label of ``rows``, and numbers ``beside`` them, shape (rows,), as Parquet; batch by batch."""
    schema = data.rows.schema(data.feature_names).append(pa.field(LABEL, pa.int64()))
    for name in beside:
        schema = schema.append(pa.field(name, pa.float64()))
    path.parent.mkdir(exist_ok=True)
    with pq.ParquetWriter(path, schema) as file:
        end = 0
        for numbers, frame in data.batches(data.feature_names, rows):
            start, end = end, end + len(numbers)
            more = {name: values[start:end] for name, values in beside.items()}
            whole = frame.assign(**{LABEL: data.labels[numbers]}, **more)
            file.write_table(pa.Table.from_pandas(whole, schema, preserve_index=False))


def _log_source(workspace: Workspace, data: TrainingSet, evaluation: Evaluation, model: SubModel) -> None:
    """A nested run of one sub-model, registered by its source's name. Its input is encoded: categories are codes."""
    import lightgbm
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    name = model.spec.name
    booster = lightgbm.Booster(model_str=model.text)
    names = [item.column for item in model.spec.inputs]
    first = data.take(names, np.arange(min(5, len(data))))
    example = pd.DataFrame(encode(first, model.spec, model.categories), columns=names)
    with mlflow.start_run(run_name=name, nested=True):
        mlflow.log_params({**model.parameters, "trees": model.trees, "rows": model.rows, "defaults": model.positives})
        mlflow.log_metrics(asdict(evaluation.model(name, "source").metrics))
        gain = dict(zip(names, map(float, booster.feature_importance("gain")), strict=True))
        mlflow.log_dict(dict(sorted(gain.items(), key=lambda item: -item[1])), "feature_gain.json")
        mlflow.log_dict({column: list(values) for column, values in model.categories.items()}, "categories.json")
        mlflow.lightgbm.log_model(
            booster,
            name=name,
            signature=infer_signature(example, booster.predict(example.to_numpy())),
            input_example=example,
            registered_model_name=registry.source_name(workspace, name),
            pip_requirements=_requirements("lightgbm", "numpy", "pandas"),
        )


def _log_ensemble(
    workspace: Workspace, data: TrainingSet, evaluation: Evaluation, bundle: Bundle, directory: Path
) -> str:
    """The final model as pyfunc, registered; its version."""
    import mlflow

    scorer = Scorer(bundle)
    info = mlflow.pyfunc.log_model(
        name=registry.ensemble_name(workspace),
        python_model=str(MODEL_CODE),
        artifacts={"bundle": str(directory)},
        signature=_signature(scorer),
        input_example=data.take(columns(scorer.plan), evaluation.rows[:5]),
        registered_model_name=registry.ensemble_name(workspace),
        pip_requirements=_requirements("credit301", "lightgbm", "numpy", "pandas", "scipy"),
    )
    return str(info.registered_model_version)


def _signature(scorer: Scorer) -> Any:
    """Every feature is optional: a source may be missing."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {"number": DataType.double, "category": DataType.string}
    features = [(f"{view.name}__{f.name}", f.kind) for view in scorer.bundle.manifest.views for f in view.features]
    inputs = [ColSpec(kinds[kind], name, required=False) for name, kind in features]
    outputs = ["probability", "score", *(f"subscore__{model.name}" for model in scorer.bundle.manifest.submodels)]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double, name, required=False) for name in outputs]))


def _requirements(*packages: str) -> list[str]:
    """Pinned to what is installed here; told to MLflow, so that it need not find out by itself."""
    found = []
    for package in packages:
        try:
            found.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            found.append(package)
    return found


def read_test_rows(client: Any, run_id: str, folder: Path) -> pd.DataFrame:
    """The tested rows of a run, as :func:`log` left them, downloaded into ``folder``."""
    import pandas as pd

    return pd.read_parquet(client.download_artifacts(run_id, TEST_ROWS, str(folder)))


def read_reference_rows(client: Any, run_id: str, folder: Path) -> pd.DataFrame | None:
    """Rows that a run learnt from, without who they are; ``None`` where it was tested by folds."""
    import pandas as pd

    there = client.list_artifacts(run_id, str(Path(REFERENCE_ROWS).parent))
    if not any(found.path == REFERENCE_ROWS for found in there):
        return None
    return pd.read_parquet(client.download_artifacts(run_id, REFERENCE_ROWS, str(folder)))


def compact(value: Any) -> str:
    """JSON without spaces, for tags."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
