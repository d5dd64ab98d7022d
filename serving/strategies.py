"""The strategies in use: which of them decides on an application."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from credit301.domain.draw import draw
from credit301.errors import NotFound
from credit301.identity.keyed_hash import KeyedHash
from credit301.strategy import folder
from credit301.strategy.definition import Mode, Role
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


class Chosen(msgspec.Struct, frozen=True):
    """The strategy that decides on an application, its role, and those that judge the same afterwards."""

    strategy: Strategy
    role: Role = "champion"
    beside: tuple[Strategy, ...] = ()


class _Candidates(msgspec.Struct, frozen=True):
    """Who may decide on applications of one kind."""

    champion: Strategy
    challengers: tuple[Strategy, ...]
    shadows: tuple[Strategy, ...]


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
        self._key = KeyedHash.from_settings(workspace.settings).key
        self._known: dict[tuple[str, str | None, Mode | None], _Candidates] = {}
        self._known_of: tuple[Strategy, ...] = ()
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

    def of(self, entity: str, bank: str, product: str | None = None, mode: Mode | None = None) -> Chosen:
        """The strategy that decides on an application of ``entity`` to ``bank``.

        It is the champion that applies and has most conditions, or a challenger that drew the enterprise: the same one
        for all its applications while both stay.

        Raises:
            ApiError: there is none.
        """
        there = self._candidates(bank, product, mode)
        if not there.challengers and not there.shadows:
            return Chosen(there.champion)
        for one in there.challengers:
            drawn = draw(self._key, f"strategy {one.name} {one.definition.round}", entity)
            if one.definition.share is not None and drawn < one.definition.share:
                others = (other for other in there.challengers if other is not one)
                return Chosen(one, "challenger", (there.champion, *others, *there.shadows))
        return Chosen(there.champion, "champion", (*there.challengers, *there.shadows))

    def _candidates(self, bank: str, product: str | None, mode: Mode | None) -> _Candidates:
        strategies = self._followed.said
        if strategies is not self._known_of:
            self._known, self._known_of = {}, strategies
        found = self._known.get((bank, product, mode))
        if found is None:
            apply = [one for one in strategies if one.definition.applies_to.to(bank, product, mode)]
            champions = [one for one in apply if one.definition.role == "champion"]
            if not champions:
                raise ApiError(NO_STRATEGY)
            found = self._known[bank, product, mode] = _Candidates(
                max(champions, key=lambda one: one.definition.applies_to.conditions),
                tuple(one for one in apply if one.definition.role == "challenger"),
                tuple(one for one in apply if one.definition.role == "shadow"),
            )
        return found

    def _load(self) -> tuple[Strategy, ...]:
        try:
            return tuple(folder.load_all(self._workspace))
        except NotFound:
            # It scores, and decides on nobody.
            return ()

    def _files(self) -> Iterable[Path]:
        return (path for place in folder.folders(self._workspace) for path in place.iterdir())
