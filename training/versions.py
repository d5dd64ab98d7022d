"""A registered version as the life of a model needs it: its bundle, its run, its tags, its aliases."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit301.errors import ModelError, NotFound
from credit301.model import bundle as bundles
from credit301.model import promotions
from credit301.model.scorer import Scorer
from credit301.model.stewardship import ALIASES
from training import gate, memory, registry, tracking
from training.dataset import LABEL, require_labels
from training.frames import columns, matrix
from training.rows import OnDisk

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace
    from training.dataset import TrainingSet

_SCORERS: dict[str, Scorer] = {}
_SCORERS_KEPT = 2


@dataclass(frozen=True)
class Version:
    """A registered version with its verified bundle."""

    number: str
    bundle: Bundle
    run_id: str
    tags: dict[str, str]
    client: MlflowClient

    @property
    def seen_until(self) -> str:
        """ISO time up to which it has learnt from decisions; later ones are new to it."""
        metrics = self.bundle.manifest.metrics
        return str(metrics.get("learnt_until") or self.tags.get(registry.TAG_DATA_AS_OF, ""))

    def tested(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the rows that training tested it on, and what it says of them, shape (rows,), NaN where nothing.

        They are read some at a time.
        """
        labels, said = [], []
        with tempfile.TemporaryDirectory() as folder:
            rows = OnDisk(Path(self.client.download_artifacts(self.run_id, tracking.TEST_ROWS, folder)))
            for frame in rows.batches(rows.columns, None, memory.rows_at_once(len(rows.columns))):
                labels.append(frame[LABEL].to_numpy())
                said.append(probabilities(self.bundle, frame))
        return np.concatenate(labels), np.concatenate(said)

    def test_rows(self) -> pd.DataFrame:
        """The rows that training tested it on, with ``label``, but not who they are."""
        with tempfile.TemporaryDirectory() as folder:
            return tracking.read_test_rows(self.client, self.run_id, Path(folder))

    def learnt_rows(self) -> pd.DataFrame:
        """A sample of the rows that it learnt from; those it was tested on where these are the same."""
        with tempfile.TemporaryDirectory() as folder:
            found = tracking.read_reference_rows(self.client, self.run_id, Path(folder))
        return self.test_rows() if found is None else found

    def artifact(self, path: str) -> str | None:
        """The text of an artifact of its run; ``None`` where there is none."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                return Path(self.client.download_artifacts(self.run_id, path, folder)).read_text(encoding="utf-8")
            except (MlflowException, OSError):
                return None


def find(workspace: Workspace, which: str | None = None) -> Version:
    """The version of this number or alias; by default the newest.

    Raises:
        NotFound: there is none.
        ModelError: its bundle is not the one that was registered.
    """
    require_labels(workspace)
    client = registry.connect(registry.target(workspace))
    number = _numbers(workspace, client).get(which, which) if which else None
    if number in ALIASES:
        raise NotFound(
            f"No version of {registry.ensemble_name(workspace)} has the alias {number}.",
            hint=f"Give it to one: credit301 promote VERSION --alias {number}. Or name versions by their numbers.",
        )
    found = gate.get_version(client, workspace, number)
    return Version(str(found.version), _bundle(client, found), found.run_id, dict(found.tags), client)


def champion(workspace: Workspace) -> Version | None:
    """The version that decides by right; ``None`` where there is none."""
    holder = promotions.holder(promotions.read(workspace))
    if holder is None:
        return None
    try:
        return find(workspace, holder.version)
    except NotFound:
        return None


def probabilities(bundle: Bundle, features: pd.DataFrame) -> np.ndarray:
    """Probability of default of each row, shape (rows,); NaN where no source has any data."""
    scorer = _scorer(bundle)
    return scorer.probabilities(matrix(scorer, features))


def probabilities_of(bundle: Bundle, data: TrainingSet, rows: np.ndarray | None = None) -> np.ndarray:
    """As :func:`probabilities`, of ``rows`` (ascending; default: all) of a training set, some at a time."""
    found = [probabilities(bundle, frame) for _, frame in data.batches(columns_of(bundle, data), rows)]
    return np.concatenate(found) if found else np.empty(0)


def columns_of(bundle: Bundle, data: TrainingSet) -> list[str]:
    """The columns of ``data`` that the model reads."""
    there = set(data.feature_names)
    return [name for name in columns(_scorer(bundle).plan) if name in there]


def _scorer(bundle: Bundle) -> Scorer:
    """The scorer of ``bundle``, made once: that takes longer than to score a few thousand rows."""
    if bundle.sha256 not in _SCORERS or not bundle.sha256:
        while len(_SCORERS) >= _SCORERS_KEPT:
            _SCORERS.pop(next(iter(_SCORERS)))
        _SCORERS[bundle.sha256] = Scorer(bundle)
    return _SCORERS[bundle.sha256]


def points_of(bundle: Bundle, probability: np.ndarray) -> np.ndarray:
    """Points of each probability, shape (rows,); NaN where there is none."""
    from credit301.domain import scale

    spec = bundle.manifest.scale
    return np.array(
        [
            np.nan
            if np.isnan(p)
            else scale.points(
                float(np.log(p / (1 - p))),
                base_score=spec.base_score,
                base_odds=spec.base_odds,
                to_double=spec.points_to_double_odds,
            )
            for p in probability
        ]
    )


def cut_off(bundle: Bundle) -> float:
    """The highest probability that the strategies let pass when it was trained; 1 where there was none."""
    return 1.0 if bundle.manifest.cut_off is None else bundle.manifest.cut_off


def _numbers(workspace: Workspace, client: MlflowClient) -> dict[str | None, str]:
    from mlflow.exceptions import MlflowException

    try:
        found: Any = client.get_registered_model(registry.ensemble_name(workspace)).aliases
    except MlflowException:
        return {}
    return {alias: str(number) for alias, number in found.items() if alias in ALIASES}


def _bundle(client: MlflowClient, found: Any) -> Bundle:
    """From its directory where this machine has it, else downloaded; verified either way."""
    digest, local = found.tags.get(registry.TAG_SHA256), found.tags.get(registry.TAG_DIRECTORY)
    if digest and local and (Path(local) / bundles.MANIFEST).is_file():
        try:
            return bundles.read(Path(local), sha256=digest)
        except ModelError:
            pass
    with tempfile.TemporaryDirectory() as folder:
        return gate.bundle_of(client, found, Path(folder) / "bundle")
