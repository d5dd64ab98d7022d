"""The MLflow model: the scorer on the bundle, nothing else. MLflow keeps this file beside the bundle and runs it.

It takes raw features, one column ``<view>__<feature>`` each, any of which may be missing, and gives for each row the
probability of default within the label's window, the score in points, and each source's own probability. A row on which
no source has data gets no numbers at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from scipy.special import expit

from credit301.model.bundle import read
from credit301.model.scorer import Scorer
from training.frames import matrix


class EnsembleModel(PythonModel):
    """Scores data frames with :class:`credit301.model.scorer.Scorer`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Verify and load the bundle that was logged with the model."""
        self.scorer = Scorer(read(Path(context.artifacts["bundle"])))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """One row of ``probability``, ``score`` and ``subscore__<source>`` for each row of ``model_input``."""
        vectors = matrix(self.scorer, model_input)
        known = self.scorer.known(vectors)
        batch = self.scorer.score_batch(vectors[known])
        result = pd.DataFrame(index=model_input.index)
        columns = {"probability": batch.probability, "score": batch.score.astype(np.float64)}
        columns |= {f"subscore__{name}": expit(logits) for name, logits in batch.sources.items()}
        for name, values in columns.items():
            result[name] = np.nan
            result.loc[known, name] = values
        return result


set_model(EnsembleModel())
