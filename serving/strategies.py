"""The strategies in use: which of them decides on an application."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from credit301.errors import NotFound
from credit301.strategy import folder
from credit301.strategy.definition import Mode
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from serving.errors import NO_STRATEGY, ApiError
from serving.followed import Followed
from serving.metrics import Metrics


class StrategiesStatus(msgspec.Struct, frozen=True):
    """The strategies in use: SHA-256 by name and version. ``problem`` says why the files as they are now are not."""

    in_use: dict[str, str]
    loaded_at: datetime
    problem: str


class StrategyBook:
    """The strategies of a workspace, followed while requests are served.

    Args:
        workspace: whose.
        metrics: told of every change.
        interval: seconds between two looks at the files.

    Raises:
        ContractError, StrategyError: a strategy does not hold.
    """

    def __init__(self, workspace: Workspace, metrics: Metrics, interval: float = 2.0) -> None:
        self._workspace = workspace
        self._followed: Followed[tuple[Strategy, ...]] = Followed(
            str(folder.FOLDER), self._load, self._files, metrics.strategies, interval
        )

    async def run(self) -> None:
        """Follow the files for ever."""
        await self._followed.run()

    async def look(self) -> bool:
        """Look at the files once; whether there is something new."""
        return await self._followed.look()

    @property
    def status(self) -> StrategiesStatus:
        """What is in use."""
        status = self._followed.status
        in_use = {strategy.version: strategy.sha256 for strategy in self._followed.said}
        return StrategiesStatus(in_use, status.loaded_at, status.problem)

    def of(self, bank: str, product: str | None = None, mode: Mode | None = None) -> Strategy:
        """The strategy that decides on an application to ``bank``: of those that apply, the one with most conditions.

        Raises:
            ApiError: there is none.
        """
        found: Strategy | None = None
        for strategy in self._followed.said:
            applies = strategy.definition.applies_to
            if applies.to(bank, product, mode) and (
                found is None or applies.conditions > found.definition.applies_to.conditions
            ):
                found = strategy
        if found is None:
            raise ApiError(NO_STRATEGY)
        return found

    def _load(self) -> tuple[Strategy, ...]:
        try:
            return tuple(folder.load_all(self._workspace))
        except NotFound:
            # It scores, and decides on nobody.
            return ()

    def _files(self) -> Iterable[Path]:
        return (path for place in folder.folders(self._workspace) for path in place.iterdir())
