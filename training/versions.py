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
from training import gate, registry, tracking
from training.frames import matrix

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace


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
    client = registry.connect(registry.target(workspace))
    number = _numbers(workspace, client).get(which, which) if which else None
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
    scorer = Scorer(bundle)
    return scorer.probabilities(matrix(scorer, features))


def points(bundle: Bundle, features: pd.DataFrame) -> np.ndarray:
    """Score of each row in points, shape (rows,); NaN where no source has any data."""
    from credit301.domain import scale

    spec = bundle.manifest.scale
    probability = probabilities(bundle, features)
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
    """The highest probability that its policy lets pass; 1 where it has no policy."""
    return float(bundle.manifest.policy.get("maximum_probability", 1.0))


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
