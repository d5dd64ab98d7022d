"""What a version must satisfy to be promoted, as the workspace says in ``strategies/gate.yaml``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from credit301.contracts.model import Strict
from credit301.errors import ConfigError
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

RULES = "strategies/gate.yaml"
Share = Annotated[float, Field(ge=0, le=1)]


class Fairness(Strict):
    """How groups of enterprises (``segments`` of ``strategies/models.yaml``) are to be treated.

    ``minimum_approval_ratio``: of those who paid, the share that passes the cut-off, in a group over its whole segment.
    ``maximum_auc_gap``: between two groups of a segment; ``maximum_calibration_gap``: between defaults seen and
    predicted; both beyond two standard errors. Groups with fewer rows or defaults are shown, and not judged.
    """

    minimum_rows: Annotated[int, Field(ge=1)] = 100
    minimum_defaults: Annotated[int, Field(ge=1)] = 10
    minimum_approval_ratio: Share
    maximum_auc_gap: Share
    maximum_calibration_gap: Share


class Stability(Strict):
    """PSI of the scores on the test, beyond chance: against those of the training rows, and against the champion's."""

    maximum_score_psi: Annotated[float, Field(gt=0)]
    maximum_champion_psi: Annotated[float, Field(gt=0)]


class Rules(Strict):
    """Thresholds of the gate.

    ``maximum_auc``: above it a leak is likelier than skill. ``maximum_auc_loss``: how far below the champion's AUC
    on the same test, beyond two standard errors of the difference. ``maximum_calibration_error``: expected calibration
    error beyond what chance makes of a right model on a test of that size. ``maximum_brier_ratio``: Brier score over
    that of always saying the test's rate of defaults. ``maximum_latency_ms_p99`` and ``maximum_microseconds_per_row``
    (median): of one row, in processor time.
    ``parity_rows``: rows on which the MLflow model must say what the scorer says. ``forbidden_features``: words that no
    feature's name and no column it reads may contain.
    """

    minimum_auc: Share
    minimum_ks: Share
    maximum_auc: Share
    maximum_auc_loss: Share
    maximum_brier_ratio: Annotated[float, Field(gt=0)]
    maximum_calibration_error: Share
    maximum_latency_ms_p99: Annotated[float, Field(gt=0)]
    maximum_microseconds_per_row: Annotated[float, Field(gt=0)] | None = None
    parity_rows: Annotated[int, Field(ge=1)]
    forbidden_features: tuple[str, ...]
    fairness: Fairness | None = None
    stability: Stability | None = None


def load(workspace: Workspace) -> Rules:
    """The workspace's rules.

    Raises:
        ConfigError: it has none; nothing is promoted without a gate.
        ContractError: the file says something that cannot be; the message names file and line.
    """
    path = workspace.directory / RULES
    if not path.is_file():
        raise ConfigError(f"{workspace.name} has no {RULES}.", hint="Copy that of workspaces/wuhan and set it.")
    return YamlFile(path).parse(Rules)
