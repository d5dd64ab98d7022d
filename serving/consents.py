"""Consents over HTTP: a bank records what an enterprise allows it, withdraws it, and asks what stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from credit301.contracts.model import Purpose
from credit301.domain.text import Text
from credit301.governance.consent.desk import LONGEST_NOTE, ConsentDesk
from credit301.governance.consent.records import Consent, Status
from serving.requests import Reader

_Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
# No control characters: a database does not take them, and a person does not write them.
_Note = Annotated[str, Meta(max_length=LONGEST_NOTE, pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]*$")]
_Instant = Annotated[datetime, Meta(tz=True)]
_EXAMPLE = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
_HINTS = {
    "sources": Text(zh="数据源名称的列表。", en="A list of names of sources."),
    "purposes": Text(zh=f"用途列表：{'、'.join(Purpose)}。", en=f"A list of purposes: {', '.join(Purpose)}."),
    "valid_from": Text(zh="带时区的时间，缺省为现在。", en="A time with its offset; now by default."),
    "valid_until": Text(zh="带时区的时间，例如 2030-12-31T23:59:59+08:00。", en="A time with its offset."),
    "note": Text(zh="授权凭证，例如授权书编号。", en="What proves it, such as the number of the signed form."),
    "consent_id": Text(zh="登记授权时返回的编号。", en="The number that was given when it was recorded."),
    "reason": Text(zh="撤回原因。", en="Why it is withdrawn."),
}


class ConsentState(Consent, frozen=True, kw_only=True):
    """授权及其当前状态 / a consent, and where it stands now."""

    status: Annotated[Status, Meta(description="当前状态 / where it stands now")]


class ConsentList(msgspec.Struct, frozen=True):
    """企业对调用方的全部授权 / every consent that the enterprise has given to the caller."""

    consents: Annotated[tuple[ConsentState, ...], Meta(description="按登记顺序 / in the order of recording")]


def request_types(key: str, example: str) -> tuple[type[msgspec.Struct], type[msgspec.Struct], type[msgspec.Struct]]:
    """The structs of a grant, a withdrawal and a query, with the entity's key under its own name ``key``."""
    described = f"企业标识（{key}） / the enterprise's key ({key})"
    entity = ("entity", Annotated[str, Meta(min_length=1, max_length=64, description=described, examples=[example])])
    until = Annotated[_Instant, Meta(description="失效时间 / until when", examples=["2030-12-31T23:59:59+08:00"])]
    grant: list[Any] = [
        entity,
        ("valid_until", until),
        (
            "sources",
            Annotated[
                tuple[_Word, ...],
                Meta(max_length=64, description="数据源，缺省为全部 / sources; all of them by default", examples=[[]]),
            ],
            (),
        ),
        (
            "purposes",
            Annotated[
                tuple[Purpose, ...],
                Meta(min_length=1, max_length=8, description="用途 / what for", examples=[["credit_decision"]]),
            ],
            (Purpose.CREDIT_DECISION,),
        ),
        (
            "valid_from",
            Annotated[_Instant | None, Meta(description="生效时间 / from when; now by default", examples=[None])],
            None,
        ),
        ("note", Annotated[_Note, Meta(description="授权凭证 / what proves it", examples=["FORM-1"])], ""),
    ]
    withdrawal: list[Any] = [
        entity,
        (
            "consent_id",
            Annotated[
                _Word,
                Meta(description="授权编号 / the consent's number", examples=[_EXAMPLE]),
            ],
        ),
        ("reason", Annotated[_Note, Meta(description="撤回原因 / why", examples=["客户要求"])], ""),
    ]
    kinds: tuple[tuple[str, list[Any], str], ...] = (
        ("ConsentGrant", grant, "登记授权 / a consent to record"),
        ("ConsentWithdrawal", withdrawal, "撤回授权 / a consent to withdraw"),
        ("ConsentQuery", [entity], "查询授权 / whose consents to list"),
    )
    grants, withdrawals, queries = (
        msgspec.defstruct(
            name,
            fields,
            rename={"entity": key},
            forbid_unknown_fields=True,
            frozen=True,
            kw_only=True,
            namespace={"__doc__": text},
        )
        for name, fields, text in kinds
    )
    return grants, withdrawals, queries


class ConsentApi:
    """What the routes do; a caller sees and withdraws only what was given to itself.

    Args:
        desk: does the work, off the event loop.
        key: name of the entity's key.
        example: an example of one.
    """

    def __init__(self, desk: ConsentDesk, key: str, example: str) -> None:
        self._desk = desk
        self.types = request_types(key, example)
        self._readers = [Reader(kind, key, _HINTS) for kind in self.types]

    async def grant(self, request: Request, caller: str) -> ConsentState:
        """Record a consent given to the caller."""
        sent: Any = await self._readers[0].read(request)
        return _state(
            await asyncio.to_thread(
                self._desk.grant,
                sent.entity,
                caller,
                by=caller,
                sources=sent.sources,
                purposes=sent.purposes,
                valid_from=sent.valid_from,
                valid_until=sent.valid_until,
                note=sent.note,
            )
        )

    async def withdraw(self, request: Request, caller: str) -> ConsentState:
        """Record a withdrawal; the next decision does not read by that consent any more."""
        sent: Any = await self._readers[1].read(request)
        return _state(
            await asyncio.to_thread(
                self._desk.withdraw, sent.entity, sent.consent_id, by=caller, grantee=caller, reason=sent.reason
            )
        )

    async def show(self, request: Request, caller: str) -> ConsentList:
        """Every consent that an enterprise has given to the caller."""
        sent: Any = await self._readers[2].read(request)
        found = await asyncio.to_thread(self._desk.show, sent.entity, caller)
        return ConsentList(tuple(map(_state, found)))

    @property
    def routes(self) -> dict[str, tuple[Callable[[Request, str], Awaitable[msgspec.Struct]], int]]:
        """Handler and status of success by path, all of them POST: a key is never part of an address."""
        return {
            "/v1/consents": (self.grant, 201),
            "/v1/consents/withdrawals": (self.withdraw, 200),
            "/v1/consents/queries": (self.show, 200),
        }


def _state(consent: Consent) -> ConsentState:
    return ConsentState(**msgspec.structs.asdict(consent), status=consent.status_at(datetime.now(UTC)))
