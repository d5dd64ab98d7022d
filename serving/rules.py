"""The rules of the models' life (``strategies/models.yaml``), followed while requests are served."""

from __future__ import annotations

from collections.abc import Callable

from credit301.errors import ConfigError
from credit301.model import stewardship
from credit301.model.stewardship import PLACE, Stewardship
from credit301.workspace import Workspace
from serving.followed import Followed, FollowedStatus
from serving.metrics import Metrics


class RulesFollower:
    """Holds the rules in use.

    Args:
        workspace: whose file.
        metrics: told of every change.
        interval: seconds between two looks.

    Raises:
        ContractError: the file does not hold now: there is no last good one yet.
    """

    def __init__(self, workspace: Workspace, metrics: Metrics, interval: float = 2.0) -> None:
        self._workspace = workspace
        self._path = workspace.directory / PLACE
        self._began = False
        self._followed: Followed[Stewardship] = Followed(
            str(PLACE), self._load, lambda: [self._path], metrics.rules, interval
        )

    @property
    def rules(self) -> Stewardship:
        """The rules in use."""
        return self._followed.said

    @property
    def status(self) -> FollowedStatus:
        """Since when they are, and why the file as it is now is not."""
        return self._followed.status

    async def run(self, apply: Callable[[Stewardship], None]) -> None:
        """Look for ever, and have each new set of rules applied between two requests."""
        await self._followed.run(apply)

    async def look(self) -> bool:
        """Look once; whether there are new rules."""
        return await self._followed.look()

    def _load(self) -> Stewardship:
        # A workspace may have none from the beginning; a file that goes away is more likely a mistake.
        if self._began and not self._path.exists():
            raise ConfigError(f"{PLACE} is gone.")
        self._began = True
        return stewardship.load(self._workspace)
