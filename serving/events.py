"""Events as they happen: each is checked against its source's contract, put on disk, and counted in its windows.

A sender that got no answer sends the same events again: one that was counted is not counted twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request

from credit301.contracts.model import Check, CheckKind, Column, Contract, LogicalType, Severity
from credit301.domain.text import Text
from credit301.features.windows.definition import EPOCH, WindowSet, microseconds, window_sets
from credit301.features.windows.journal import EventJournal
from credit301.features.windows.online import appends
from credit301.governance.erasure.suppression import suppressed
from credit301.identity.entity_key import KeyForm, normalise
from credit301.identity.keyed_hash import KeyedHash
from serving.errors import ApiError, Problem
from serving.features import OnlineStore
from serving.metrics import Metrics
from serving.requests import Reader
from serving.wire import Command

if TYPE_CHECKING:
    from credit301.workspace import Workspace

MOST_EVENTS = 50
LONGEST_TEXT = 200
_EXAMPLE_TIME = "2026-01-31T09:30:00+08:00"
_KINDS: dict[LogicalType, type] = {
    LogicalType.STRING: str,
    LogicalType.INTEGER: int,
    LogicalType.NUMBER: float,
    LogicalType.BOOLEAN: bool,
    LogicalType.DATE: date,
    LogicalType.TIMESTAMP: datetime,
}
_ERASED = Problem(
    422,
    "erased",
    Text(zh="该企业的数据已依法删除，不再接收。", en="The enterprise was erased; nothing on it is taken any more."),
    field="events",
)
Outcome = Literal["counted", "repeated", "late", "kept"]


class EventReceipt(msgspec.Struct, frozen=True):
    """事件回执 / what became of each event, in order.

    counted: in its windows now. repeated: was there already. late: came too late (or is too far ahead) for its windows.
    kept: is in no window. Each of them is on disk.
    """

    outcomes: Annotated[tuple[Outcome, ...], Meta(description="逐条结果，按发送顺序 / one for each event, in order")]


def event_type(contract: Contract) -> type[msgspec.Struct]:
    """The struct of one event of ``contract``: its columns, without the time of coming, which is ours to say."""
    fields: list[Any] = []
    for column in contract.columns:
        if column.name == contract.time.available_at:
            continue
        kind = _kind(column, [check for check in contract.checks if check.column == column.name])
        fields.append((column.name, kind) if column.required else (column.name, kind | None, None))
    return msgspec.defstruct(
        f"{_camel(contract.name)}Record",
        fields,
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": f"{contract.title.zh} / {contract.title.en}"},
    )


def batch_type(contract: Contract, event: type[msgspec.Struct], known: Mapping[str, str]) -> type[msgspec.Struct]:
    """The struct of a request: some events; ``known`` are examples by column."""
    described = Meta(min_length=1, max_length=MOST_EVENTS, examples=[[_example(contract, known)]],
                     description="事件，按发生顺序 / events")  # fmt: skip
    return msgspec.defstruct(
        f"{_camel(contract.name)}Events",
        [("events", Annotated[list[event], described])],  # type: ignore[valid-type]
        frozen=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": "一批事件 / some events"},
    )


class EventApi:
    """The routes ``/v1/events/<source>``, one for each source that declares windows.

    Args:
        workspace: whose contracts.
        store: where events are counted.
        metrics: count events.
        example: an entity's key for the documentation.
    """

    def __init__(self, workspace: Workspace, store: OnlineStore, metrics: Metrics, example: str) -> None:
        self._desks = [_Desk(workspace, windows, store, metrics, example) for windows in window_sets(workspace)]

    @property
    def types(self) -> dict[str, type[msgspec.Struct]]:
        """The struct of a request by path."""
        return {desk.path: desk.type for desk in self._desks}

    @property
    def routes(self) -> dict[str, Callable[[Request, str], Any]]:
        """Handler by path, all of them POST."""
        return {desk.path: desk.take for desk in self._desks}

    def close(self) -> None:
        """Close the journals."""
        for desk in self._desks:
            desk.journal.close()


class _Desk:
    """Takes the events of one source."""

    def __init__(
        self, workspace: Workspace, windows: WindowSet, store: OnlineStore, metrics: Metrics, example: str
    ) -> None:
        contract = windows.contract
        self.path = f"/v1/events/{windows.source}"
        self.journal = EventJournal(workspace.paths.events / windows.source)
        self.type = batch_type(contract, event_type(contract), {workspace.entity.key: example})
        self._workspace = workspace
        self._form: KeyForm = workspace.entity
        self._named = KeyedHash.from_settings(workspace.settings)
        self._windows = windows
        self._store = store
        self._metrics = metrics
        self._event_time = contract.time.event_time or ""
        self._came = contract.time.available_at or ""
        hint = Text(zh=f"1 至 {MOST_EVENTS} 条事件，字段见 /docs。", en=f"1 to {MOST_EVENTS} events; see /docs.")
        self._reader = Reader(self.type, self._form.key, {"events": hint})

    async def take(self, request: Request, _: str) -> EventReceipt:
        """Put the events in ``request`` on disk, then count them.

        Raises:
            ApiError: they are not what the contract says; none is taken then.
            SourceError: the disk did not take them.
            StoreUnreachable: they are on disk and not, or not all, counted: send them again.
        """
        sent: Any = await self._reader.read(request)
        events = [self._checked(msgspec.structs.asdict(event)) for event in sent.events]
        came = time.time_ns() // 1000
        arrived = _text(EPOCH + timedelta(microseconds=came))
        await asyncio.to_thread(self.journal.append, [{**_plain(event), self._came: arrived} for event in events])
        outcomes = await self._count(events, came)
        for outcome in outcomes:
            self._metrics.event(self._windows.source, outcome)
        return EventReceipt(tuple(outcomes))

    def _checked(self, event: dict[str, Any]) -> dict[str, Any]:
        """``event`` with the entity's key in its normal form; nobody who was erased comes back this way."""
        key = self._form.key
        if event.get(key) is None:
            return event
        entity = normalise(self._form, event[key])
        if self._named(entity) in suppressed(self._workspace):
            raise ApiError(_ERASED)
        return {**event, key: entity}

    async def _count(self, events: Sequence[Mapping[str, Any]], came: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        commands: list[Command] = []
        owners: list[int] = []
        for place, event in enumerate(events):
            happened = microseconds(event[self._event_time])
            calls = appends(self._windows, event, happened, came)
            late = not self._windows.takes(happened, came)
            outcomes.append("late" if late else "repeated" if calls else "kept")
            commands += [Command.of(call.keys[0], *call.command) for call in calls]
            owners += [place] * len(calls)
        replies = await self._store.send(commands) if commands else []
        for place, taken in zip(owners, replies, strict=True):
            if taken:
                outcomes[place] = "counted"
        return outcomes


def subjects_type(windows: Sequence[WindowSet], key: str) -> type[msgspec.Struct] | None:
    """The struct of what a request for a decision may say of its device, network and so on; ``None`` for nothing."""
    columns = {subject.column: item.contract for item in windows for subject in item.subjects if subject.column != key}
    if not columns:
        return None
    fields: list[Any] = []
    for name, contract in columns.items():
        kind = _kind(contract.column(name), [check for check in contract.checks if check.column == name])
        fields.append((name, kind | None, None))
    return msgspec.defstruct(
        "Subjects",
        fields,
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": "本次申请的设备、网络与申请人标识 / device, network and person of the application"},
    )


def _kind(column: Column, checks: Sequence[Check]) -> Any:
    refusing = {check.kind: check.arguments for check in checks if check.severity is Severity.FAIL}
    description = f"{column.label.zh} / {column.label.en}"
    values = refusing.get(CheckKind.IN_SET, {}).get("values")
    if values:
        return Annotated[Literal[tuple(values)], Meta(description=description)]
    options: dict[str, Any] = {"description": description}
    if column.logical_type is LogicalType.STRING:
        options |= {"min_length": 1, "max_length": LONGEST_TEXT}
        if CheckKind.PATTERN in refusing:
            options["pattern"] = refusing[CheckKind.PATTERN]["pattern"]
    if column.logical_type in (LogicalType.INTEGER, LogicalType.NUMBER):
        bounds = refusing.get(CheckKind.BETWEEN, {})
        options |= {name: bounds[key] for key, name in (("minimum", "ge"), ("maximum", "le")) if key in bounds}
    if column.logical_type is LogicalType.TIMESTAMP:
        options["tz"] = True
    return Annotated[_KINDS[column.logical_type], Meta(**options)]


def _example(contract: Contract, known: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    checks = contract.checks
    allowed = {check.column: check.arguments["values"][0] for check in checks if check.kind is CheckKind.IN_SET}
    hashed = {check.column for check in checks if check.kind is CheckKind.PATTERN}
    for column in contract.columns:
        if column.name == contract.time.available_at or not column.required:
            continue
        examples: dict[LogicalType, Any] = {
            LogicalType.STRING: "0" * 64 if column.name in hashed else column.name.upper()[:8],
            LogicalType.INTEGER: 1,
            LogicalType.NUMBER: 1.0,
            LogicalType.BOOLEAN: True,
            LogicalType.DATE: _EXAMPLE_TIME[:10],
            LogicalType.TIMESTAMP: _EXAMPLE_TIME,
        }
        found[column.name] = known.get(column.name) or allowed.get(column.name, examples[column.logical_type])
    return found


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """As the warehouse has it: times in UTC without a zone."""
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in event.items()}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
