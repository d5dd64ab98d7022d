"""The online store, read in one round trip: every feature of every view of one entity, and its consents beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import hiredis
import msgspec
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from credit301.errors import FeatureStoreError
from credit301.features.packed_wire import Kind, Layout, Scalar, entity_key, fingerprint_of, layout_key, unpack
from credit301.governance.consent.coverage import Asking, Coverage
from credit301.model.bundle import Manifest, ViewSpec
from serving.permission import ConsentGate

_PING = hiredis.pack_command(("PING",))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FeatureRow(msgspec.Struct, frozen=True):
    """What the store has on one entity: ``values`` in plan order, and the event time of each view's row.

    ``coverage`` says what was allowed to be read; of a source that was withheld there is nothing here.
    """

    values: list[Scalar]
    as_of: dict[str, datetime | None]
    coverage: Coverage

    @property
    def found(self) -> bool:
        """Whether the store has anything on the entity."""
        return any(time is not None for time in self.as_of.values()) or any(value is not None for value in self.values)


class UnknownLayout(Exception):
    """A row is laid out in a way that this process has not met yet; ``fingerprint`` is that of the layout."""

    def __init__(self, fingerprint: int) -> None:
        super().__init__(f"{fingerprint:08x}")
        self.fingerprint = fingerprint


class Plan:
    """What to read for a bundle, prepared once.

    A row that was written in the layout that the bundle was trained for is taken as it is. Of any other layout, which
    the store describes, the plan takes its own features by name: a view may gain features while older models are used.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.project = manifest.feature_project
        self.join_key = manifest.entity_key
        self.keys = tuple(f"{view.name}:{feature.name}" for view in manifest.views for feature in view.features)
        self.views = tuple(view.name for view in manifest.views)
        self.layouts = tuple(_layout(view) for view in manifest.views)
        self._all = Coverage(self.views, {}, ())
        self._places = {
            view: [place for place, key in enumerate(self.keys) if key.startswith(f"{view}:")] for view in self.views
        }
        self._known = {layout.fingerprint: layout for layout in self.layouts}

    def withhold(self, values: list[Any], sources: Collection[str]) -> None:
        """Empty the places of ``sources`` in ``values``, which is in plan order."""
        for source in sources:
            for place in self._places[source]:
                values[place] = None

    def learn(self, layout: Layout) -> None:
        """Be able to read rows of ``layout``."""
        self._known[layout.fingerprint] = layout

    def decode(self, reply: Sequence[bytes | None], coverage: Coverage | None = None) -> FeatureRow:
        """The row in a reply to ``HMGET key *views``; of what ``coverage`` withholds nothing is decoded.

        Raises:
            UnknownLayout: a row has a layout that the plan must :meth:`learn` first.
            FeatureStoreError: a value is no row of a feature view.
        """
        coverage = coverage or self._all
        values: list[Scalar] = []
        as_of: dict[str, datetime | None] = {}
        for view, layout, data in zip(self.views, self.layouts, reply, strict=True):
            if data is None or view in coverage.withheld:
                values += [None] * len(layout.names)
                as_of[view] = None
                continue
            written = self._known.get(fingerprint := fingerprint_of(data))
            if written is None:
                raise UnknownLayout(fingerprint)
            row = unpack(written, data)
            values += row.values if written is layout else _by_name(layout, written, row.values)
            as_of[view] = _EPOCH + timedelta(microseconds=row.event)
        return FeatureRow(values=values, as_of=as_of, coverage=coverage)


def _layout(view: ViewSpec) -> Layout:
    kinds: dict[str, Kind] = {"number": "d", "category": "s"}
    return Layout(
        tuple(feature.name for feature in view.features), tuple(kinds[feature.kind] for feature in view.features)
    )


def _by_name(wanted: Layout, written: Layout, values: list[Any]) -> list[Scalar]:
    there = dict(zip(zip(written.names, written.kinds, strict=True), values, strict=True))
    return [there.get(column) for column in zip(wanted.names, wanted.kinds, strict=True)]


class StoreUnreachable(FeatureStoreError):
    """The online store did not answer; asking again may help."""


class OnlineStore:
    """Connections to the online store.

    redis-py's own pool asks each connection for its health before each use, which takes longer than the read itself;
    here one that turns out to be broken is opened anew, once.

    Args:
        url: ``redis://`` or ``rediss://`` URL.
        gate: says what may be read.
        timeout: seconds to wait for a connection and for the answer.
        connections: most connections open at once; further requests wait their turn.
    """

    def __init__(self, url: str, gate: ConsentGate, *, timeout: float = 1.0, connections: int = 32) -> None:
        self.gate = gate
        self._timeout = timeout
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[AbstractConnection] = []
        self._factory = ConnectionPool.from_url(
            url, socket_connect_timeout=timeout, socket_keepalive=True, retry=Retry(NoBackoff(), 0)
        )

    async def read(
        self, plan: Plan, entity: str, asking: Asking, indispensable: Collection[str] = frozenset()
    ) -> FeatureRow:
        """Everything that ``plan`` names and consent covers, of the entity with this key, in one round trip.

        Args:
            plan: what to read.
            entity: whose.
            asking: who reads, and what for.
            indispensable: sources that the policy cannot do without.

        Raises:
            ConsentMissing: the enterprise's consents, as they are now, do not cover what is needed.
            StoreUnreachable: the store cannot be reached, or not in time.
            FeatureStoreError: it holds something under this key that is no feature.
        """
        key = entity_key(plan.project, plan.join_key, entity)
        consents = self.gate.command(self.gate.named(entity))
        try:
            # Packed by hiredis, whose types know only one-tuples: redis-py takes ten times as long.
            features = hiredis.pack_command(("HMGET", key, *plan.views))  # type: ignore[arg-type]
            # Consents first: they are never older than the features that are read by them.
            replies = await self._ask(*([features] if consents is None else [consents, features]))
        except ResponseError as error:
            raise FeatureStoreError(
                f"The online store refuses to read a row: {error}.",
                hint="Materialize the features again; something else wrote to this key.",
            ) from error
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        data = None if consents is None else replies[0]
        coverage = self.gate.judge(data, plan.views, asking, indispensable)
        while True:
            try:
                return plan.decode(replies[-1], coverage)
            except UnknownLayout as unknown:
                plan.learn(await self._layout(plan.project, unknown.fingerprint))

    async def _layout(self, project: str, fingerprint: int) -> Layout:
        try:
            (text,) = await self._ask(hiredis.pack_command(("GET", layout_key(project, fingerprint))))  # type: ignore[arg-type]
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error
        layout = None if text is None else Layout.parse(text)
        if layout is None or layout.fingerprint != fingerprint:
            raise FeatureStoreError(
                f"The online store does not say how its rows are laid out ({fingerprint:08x}).",
                hint="Materialize the features again.",
            )
        return layout

    async def ping(self) -> None:
        """Check that the store answers.

        Raises:
            StoreUnreachable: it does not.
        """
        try:
            await self._ask(_PING)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from error

    async def _ask(self, *commands: bytes) -> list[Any]:
        """Send packed commands that change nothing, in one go, and give their replies."""
        async with asyncio.timeout(self._timeout), self._slots:
            connection = self._idle.pop() if self._idle else self._factory.make_connection()
            try:
                try:
                    return await _exchange(connection, commands)
                except RedisConnectionError:
                    # A restarted server has closed the old one; a second read does no harm.
                    return await _exchange(connection, commands)
            finally:
                self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._idle:
            await connection.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _exchange(connection: AbstractConnection, commands: Sequence[bytes]) -> list[Any]:
    """Opens the connection where it is closed, and closes it on any failure, so that no reply is left in it."""
    await connection.send_packed_command(b"".join(commands))
    replies: list[Any] = []
    refused: ResponseError | None = None
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            # The connection stays open after one: the replies that follow are read before it is told.
            refused = refused or error
    if refused is not None:
        raise refused
    return replies


def _unreachable(error: Exception) -> StoreUnreachable:
    slow = isinstance(error, TimeoutError | RedisTimeoutError)
    return StoreUnreachable(
        f"The online store {'did not answer in time' if slow else 'cannot be reached'}: {type(error).__name__}.",
        hint="Check that Redis runs and CREDIT301_REDIS_URL names it.",
    )
