"""How a workspace looks after its models (``strategies/models.yaml``): who approves, who tries, what is watched."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from credit301.contracts.model import Name, Strict, Text
from credit301.errors import ConfigError
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

PLACE = "strategies/models.yaml"
Alias = Literal["champion", "challenger", "shadow"]
CHAMPION: Alias = "champion"
CHALLENGER: Alias = "challenger"
SHADOW: Alias = "shadow"
ALIASES: tuple[Alias, ...] = (CHAMPION, CHALLENGER, SHADOW)
TITLES: dict[str, Text] = {
    CHAMPION: Text(zh="冠军", en="champion"),
    CHALLENGER: Text(zh="挑战者", en="challenger"),
    SHADOW: Text(zh="影子", en="shadow"),
}
Share = Annotated[float, Field(ge=0, le=1)]
Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]


class Role(Strict):
    """A role that may approve; where ``people`` are named, nobody else may act in it."""

    title: Text
    people: tuple[str, ...] = ()


class Approval(Strict):
    """Whether a version needs somebody's approval before it decides on anybody, and whose."""

    required: bool = False
    roles: dict[Name, Role] = Field(default_factory=dict)

    def check(self, by: str, role: str) -> None:
        """Check that ``by`` may approve as ``role``; who approves always says who and why.

        Raises:
            ConfigError: they may not.
        """
        if not self.required and not role:
            return
        known = ", ".join(self.roles) or "none"
        if role not in self.roles:
            raise ConfigError(
                f"{role or 'Nobody'} is no role that approves models.", hint=f"Roles in {PLACE}: {known}. Give --role."
            )
        people = self.roles[role].people
        if not by or (people and by not in people):
            raise ConfigError(f"{by or 'Nobody'} may not act as {role}.", hint=f"{PLACE} names who may. Give --by.")


class Traffic(Strict):
    """``challenger_share`` of the enterprises are decided on by the challenger; each ``round`` draws the lots anew."""

    challenger_share: Share = 0.1
    round: str = "1"


class AcceptLane(Strict):
    """A lot among those who would be declined for their score alone: what became of them shows what the score missed.

    ``share`` of them are lent up to ``limit_per_loan`` yuan, together up to ``monthly_cap`` yuan a month (UTC).
    """

    share: Share = 0.02
    monthly_cap: Money
    limit_per_loan: Money
    round: str = "1"


class Segment(Strict):
    """Groups by the value of a feature (its first ``prefix`` letters), for fairness and monitoring."""

    feature: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$")]
    title: Text
    prefix: Annotated[int, Field(ge=1)] | None = None

    @property
    def column(self) -> str:
        """The feature's column in the training set."""
        return self.feature.replace(":", "__")


class Monitoring(Strict):
    """What is drift. A month, or a group, with fewer rows or defaults is shown and raises nothing.

    PSI beyond what chance makes of samples of that size; ``maximum_calibration_error`` likewise. A feature moved when
    its PSI is above ``maximum_feature_psi``; more than ``maximum_moved_share`` of them are drift. ``maximum_auc_loss``:
    below the test's AUC by more than this and two standard errors.
    """

    minimum_rows: Annotated[int, Field(ge=1)] = 100
    minimum_defaults: Annotated[int, Field(ge=1)] = 10
    maximum_score_psi: float = 0.25
    maximum_feature_psi: float = 0.25
    maximum_moved_share: Share = 0.2
    maximum_auc_loss: Share = 0.05
    maximum_calibration_error: Share = 0.05


class Retraining(Strict):
    """When a new version is trained, and which alias it gets where it passes the gate: it decides on nobody unasked.

    ``on_new_outcomes``: when so many more outcomes are known, as a share of those that the last training had.
    ``reject_inference``: what is made of the declined, whose outcomes are never known (docs/models.md).
    """

    every_days: Annotated[int, Field(ge=1)] = 30
    on_drift: bool = True
    on_new_outcomes: Annotated[float, Field(gt=0)] | None = None
    alias: Literal["challenger", "shadow"] = "shadow"
    reject_inference: Literal["none", "fuzzy", "parcelling", "reweight", "lane"] = "none"


class Stewardship(Strict):
    """The file as a whole; a workspace without it has these defaults, and no accept lane."""

    approval: Approval = Approval()
    traffic: Traffic = Traffic()
    accept_lane: AcceptLane | None = None
    segments: tuple[Segment, ...] = ()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()

    def needs_approval(self, alias: Alias) -> bool:
        """Whether a version needs approval for ``alias``; a shadow decides on nobody."""
        return self.approval.required and alias != SHADOW


def load(workspace: Workspace) -> Stewardship:
    """What the workspace says.

    Raises:
        ContractError: the file says something that cannot be; the message names file and line.
    """
    path = workspace.directory / PLACE
    if not path.is_file():
        return Stewardship()
    file = YamlFile(path)
    rules = file.parse(Stewardship)
    known = {f"{source.name}:{feature.name}" for source in workspace.featured() for feature in source.features}
    for number, segment in enumerate(rules.segments):
        if segment.feature not in known:
            raise file.error(("segments", number, "feature"), f"no contract has the feature {segment.feature}")
    if rules.approval.required and not rules.approval.roles:
        raise file.error(("approval",), "approval is required, but there is no role that may give it")
    return rules
