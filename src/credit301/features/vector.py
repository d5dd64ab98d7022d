"""The feature vector of one entity as a decision reads it: what to ask the online store for, and what its reply says.

Needs neither Feast nor Arrow nor a connection: the endpoint, the parity check and the tests decode by the same code.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from credit301.features.packed_wire import Kind, Layout, Scalar, entity_key, fingerprint_of, unpack
from credit301.governance.consent.coverage import Coverage

if TYPE_CHECKING:
    from credit301.model.bundle import Manifest, ViewSpec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000


class FeatureRow(msgspec.Struct, frozen=True):
    """What the store has on one entity: ``values`` in plan order, and the event time of each view's row.

    ``coverage`` says what was allowed to be read; of a source that was withheld there is nothing here. ``expired`` has
    the event time of each view whose row is older than the view's time to live: of its values there is nothing, either.
    ``windows`` are the sliding windows by name; one whose subject was not told is ``None``.
    """

    values: list[Scalar]
    as_of: dict[str, datetime | None]
    coverage: Coverage
    expired: dict[str, datetime] = {}
    windows: dict[str, int | None] = {}

    @property
    def found(self) -> bool:
        """Whether the store has anything on the entity."""
        return any(time is not None for time in self.as_of.values()) or any(value is not None for value in self.values)


@dataclass(frozen=True)
class Wanted:
    """What to read where there is no bundle that says so."""

    feature_project: str
    entity_key: str
    views: tuple[ViewSpec, ...]


class UnknownLayout(Exception):
    """A row is laid out in a way that this process has not met yet; ``fingerprint`` is that of the layout."""

    def __init__(self, fingerprint: int) -> None:
        super().__init__(f"{fingerprint:08x}")
        self.fingerprint = fingerprint


class Plan:
    """What to read for a bundle, prepared once.

    A row that was written in the layout that the bundle was trained for is taken as it is. Of any other layout, which
    the store describes, the plan takes its own features by name: a view may gain features while older models are used.
    Another version of a view is another field: rows of both are there side by side.

    Attributes:
        fields: the fields of an entity's hash, one a view.
        keys: names of the values, ``<view>:<feature>``, in plan order.
    """

    def __init__(self, manifest: Manifest | Wanted) -> None:
        views = manifest.views
        self.project = manifest.feature_project
        self.join_key = manifest.entity_key
        self.keys = tuple(f"{view.name}:{feature.name}" for view in views for feature in view.features)
        self.views = tuple(view.name for view in views)
        self.fields = tuple(view.field or view.name for view in views)
        self.layouts = tuple(_layout(view) for view in views)
        self._lives = tuple(view.ttl_seconds * _SECOND for view in views)
        self._all = Coverage(self.views, {}, ())
        self._places = {
            view: [place for place, key in enumerate(self.keys) if key.startswith(f"{view}:")] for view in self.views
        }
        self._known = {layout.fingerprint: layout for layout in self.layouts}

    def key(self, entity: str) -> bytes:
        """Redis key of the entity's hash."""
        return entity_key(self.project, self.join_key, entity)

    def withhold(self, values: list[Any], sources: Collection[str]) -> None:
        """Empty the places of ``sources`` in ``values``, which is in plan order."""
        for source in sources:
            for place in self._places[source]:
                values[place] = None

    def learn(self, layout: Layout) -> None:
        """Be able to read rows of ``layout``."""
        self._known[layout.fingerprint] = layout

    def decode(
        self, reply: Sequence[bytes | None], coverage: Coverage | None = None, now: int | None = None
    ) -> FeatureRow:
        """The row in a reply to ``HMGET key *fields``; of what ``coverage`` withholds nothing is decoded.

        ``now`` is the time in microseconds since 1970 by which rows are too old; by default what the clock says.

        Raises:
            UnknownLayout: a row has a layout that the plan must :meth:`learn` first.
            FeatureStoreError: a value is no row of a feature view.
        """
        coverage = coverage or self._all
        values: list[Scalar] = []
        as_of: dict[str, datetime | None] = {}
        expired: dict[str, datetime] = {}
        now = time.time_ns() // 1000 if now is None else now
        for view, layout, life, data in zip(self.views, self.layouts, self._lives, reply, strict=True):
            if data is None or view in coverage.withheld:
                values += [None] * len(layout.names)
                as_of[view] = None
                continue
            written = self._known.get(fingerprint := fingerprint_of(data))
            if written is None:
                raise UnknownLayout(fingerprint)
            row = unpack(written, data)
            moment = _moment(row.event)
            if is_expired(row.event, life, now):
                values += [None] * len(layout.names)
                as_of[view] = None
                expired[view] = moment
                continue
            values += row.values if written is layout else _by_name(layout, written, row.values)
            as_of[view] = moment
        return FeatureRow(values=values, as_of=as_of, coverage=coverage, expired=expired)


@lru_cache(maxsize=4096)
def _moment(event: int) -> datetime:
    """The time of an event, which the rows of most entities have in common."""
    return _EPOCH + timedelta(microseconds=event)


def is_expired(event: int, life: int, now: int) -> bool:
    """Whether a row of this event time must not be used any more; a ``life`` of 0 never ends. All in microseconds."""
    return life > 0 and now - event > life


def _layout(view: ViewSpec) -> Layout:
    kinds: dict[str, Kind] = {"number": "d", "category": "s"}
    return Layout(
        tuple(feature.name for feature in view.features), tuple(kinds[feature.kind] for feature in view.features)
    )


def _by_name(wanted: Layout, written: Layout, values: list[Any]) -> list[Scalar]:
    there = dict(zip(zip(written.names, written.kinds, strict=True), values, strict=True))
    return [there.get(column) for column in zip(wanted.names, wanted.kinds, strict=True)]
