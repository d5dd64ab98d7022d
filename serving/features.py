"""The online store, read in one round trip: the features of every view, the windows over events, and the consents."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import Layout, layout_key
from credit301.features.vector import FeatureRow, Plan, UnknownLayout
from credit301.features.windows.definition import Counts, WindowSet
from credit301.governance.consent.coverage import Asking, Coverage
from serving.permission import ConsentGate
from serving.wire import Command, Servers, connect

__all__ = ["FeatureRow", "OnlineStore", "Plan", "StoreUnreachable", "UnknownLayout"]


class StoreUnreachable(FeatureStoreError):
    """The online store did not answer; asking again may help."""


class OnlineStore:
    """Reads from the online store, one server or a cluster of them.

    Args:
        url: ``redis://``, ``rediss://``, ``redis+cluster://`` or ``rediss+cluster://`` URL.
        gate: says what may be read.
        windows: the windows that are read beside the features.
        timeout: seconds to wait for a connection and for the answer.
    """

    def __init__(
        self,
        url: str,
        gate: ConsentGate,
        *,
        windows: Sequence[WindowSet] = (),
        timeout: float = 1.0,
    ) -> None:
        self.gate = gate
        self.windows = tuple(windows)
        self._servers: Servers = connect(OnlineAddress.parse(url), timeout=timeout)

    async def read(
        self,
        plan: Plan,
        entity: str,
        asking: Asking,
        indispensable: Collection[str] = frozenset(),
        subjects: Mapping[str, str] | None = None,
        named: str | None = None,
    ) -> FeatureRow:
        """Everything that ``plan`` names and consent covers, of the entity with this key, in one round trip.

        Args:
            plan: what to read.
            entity: whose.
            asking: who reads, and what for.
            indispensable: sources that the policy cannot do without.
            subjects: by column, the values whose windows are read beside the entity's own, such as its device.
            named: the entity's keyed hash, where it is known.

        Raises:
            ConsentMissing: the enterprise's consents, as they are now, do not cover what is needed.
            StoreUnreachable: the store cannot be reached, or not in time.
            FeatureStoreError: it holds something under this key that is no feature.
        """
        key = plan.key(entity)
        known = {**(subjects or {}), plan.join_key: entity}
        asked = [
            (windows, subject.column, windows.key(subject.column, known[subject.column]))
            for windows in self.windows
            for subject in windows.subjects
            if subject.column in known
        ]
        # Consents first: from one server they are never older than the features that are read by them.
        consents = self.gate.asked(named or self.gate.named(entity))
        commands = [] if consents is None else [Command.of(consents, b"GET", consents)]
        commands.append(Command.of(key, b"HMGET", key, *plan.fields))
        commands += [Command.of(name, b"GET", name) for _, _, name in asked]
        try:
            replies = await self._servers.ask(commands)
        except ResponseError as error:
            raise FeatureStoreError(
                f"The online store refuses to read a row: {error}.",
                hint="Materialize the features again; something else wrote to this key.",
            ) from error
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        now = time.time_ns() // 1000
        data = None if consents is None else replies.pop(0)
        coverage = self.gate.judge(
            data, plan.views, asking, indispensable, [windows.source for windows in self.windows]
        )
        row = await self._decoded(plan, replies[0], coverage, now)
        return msgspec.structs.replace(row, windows=self._counted(asked, replies[1:], coverage, now))

    async def _decoded(self, plan: Plan, reply: Any, coverage: Coverage, now: int) -> FeatureRow:
        while True:
            try:
                return plan.decode(reply, coverage, now)
            except UnknownLayout as unknown:
                plan.learn(await self._layout(plan.project, unknown.fingerprint))

    def _counted(
        self,
        asked: Sequence[tuple[WindowSet, str, bytes]],
        replies: Sequence[bytes | None],
        coverage: Coverage,
        now: int,
    ) -> Counts:
        """All windows; those of a subject that was not told, or of a source that is withheld, are not known."""
        found: Counts = {}
        for windows in self.windows:
            found |= windows.nothing()
        for (windows, column, _), data in zip(asked, replies, strict=True):
            if windows.source in coverage.sources:
                found |= windows.counts(column, data, now)
        return found

    async def _layout(self, project: str, fingerprint: int) -> Layout:
        key = layout_key(project, fingerprint).encode()
        try:
            (text,) = await self._servers.ask([Command.of(key, b"GET", key)])
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        layout = None if text is None else Layout.parse(text)
        if layout is None or layout.fingerprint != fingerprint:
            raise FeatureStoreError(
                f"The online store does not say how its rows are laid out ({fingerprint:08x}).",
                hint="Materialize the features again.",
            )
        return layout

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Replies to ``commands``, which do no harm when one is sent again.

        Raises:
            StoreUnreachable: the store cannot be reached, or not in time, or refuses one.
        """
        try:
            return await self._servers.ask(commands)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def ping(self) -> None:
        """Check that the store answers.

        Raises:
            StoreUnreachable: it does not.
        """
        try:
            await self._servers.ping()
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _unreachable(error: Exception) -> StoreUnreachable:
    slow = isinstance(error, TimeoutError | RedisTimeoutError)
    return StoreUnreachable(
        f"The online store {'did not answer in time' if slow else 'cannot be reached'}: {type(error).__name__}.",
        hint="Check that Redis runs and CREDIT301_REDIS_URL names it.",
    )
