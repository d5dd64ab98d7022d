"""Explanations of decisions, and reviews by a person, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request

from credit301.applications.changes import Tenant
from credit301.applications.records import Application
from credit301.applications.review import Concluded, Conclusion, ReviewDesk, ReviewRight, right
from credit301.applications.states import WrongState
from credit301.applications.store import ApplicationStore
from credit301.domain.text import Text
from credit301.domain.verdict import Cause
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from serving.application_types import ApplicationState, Note
from serving.applications import ONE, number_of
from serving.endpoint import Endpoint
from serving.guard import PRINCIPAL
from serving.requests import Reader
from serving.strategies import StrategyBook

if TYPE_CHECKING:
    from credit301.workspace import Workspace

REVIEWS = "/v1/reviews"
MOST = 200
_TITLES = {
    "approve": Text(zh="批准", en="approved"),
    "decline": Text(zh="拒绝", en="declined"),
    "refer": Text(zh="转人工复核", en="referred to a person"),
}
_HINTS = {
    "conclusion": Text(zh="approve 或 decline。", en="approve or decline."),
    "limit": Text(zh='额度，以元为单位，例如 "150000.00"。', en='Yuan, such as "150000.00".'),
    "annual_rate": Text(zh='年利率，例如 "0.0480"。', en='A share of one, such as "0.0480".'),
    "note": Text(zh="复核理由。", en="Why."),
}


class ReviewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """申请人工复核 / ask for a review by a person"""

    reason: Annotated[Note, Meta(description="申请理由 / why", examples=["纳税记录已更正"])] = ""


class ReviewConclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """复核结论 / what the reviewer concludes"""

    conclusion: Annotated[Conclusion, Meta(description="结论 / conclusion", examples=["approve"])]
    note: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00-\x1f\x7f\ud800-\udfff]+$",
            description="理由，记入历史 / why; kept in the history",
            examples=["更正后的纳税记录已核对"],
        ),
    ]
    limit: Annotated[Decimal | None, Meta(description="额度（元） / limit in yuan", examples=["150000.00"])] = None
    annual_rate: Annotated[Decimal | None, Meta(description="年利率 / annual rate", examples=["0.0480"])] = None


class SourceUsed(msgspec.Struct, frozen=True, kw_only=True):
    """决策所用的一个数据源 / a source that the decision read"""

    source: Annotated[str, Meta(description="数据源 / source")]
    title: Annotated[Text, Meta(description="名称 / its name")]
    owner: Annotated[str, Meta(description="数据提供方，更正数据找它 / who keeps it: corrections are made there")]
    as_of: Annotated[datetime | None, Meta(description="数据时点，无数据为空 / as of when; null without data")]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """对一次决策的说明，供申请企业阅读 / a decision explained to the enterprise that applied"""

    application: Annotated[ApplicationState, Meta(description="申请的当前状态 / the application as it stands")]
    decided_at: Annotated[datetime, Meta(description="决策时间 / when it was decided")]
    automatic: Annotated[bool, Meta(description="是否由系统自动作出 / whether no person took part")]
    summary: Annotated[Text, Meta(description="一段话说明 / in one paragraph")]
    causes: Annotated[tuple[Cause, ...], Meta(description="决定性的原因 / what decided")]
    adverse: Annotated[tuple[Text, ...], Meta(description="不利因素，按重要性排序 / what spoke against it, in order")]
    favourable: Annotated[tuple[Text, ...], Meta(description="有利因素，按重要性排序 / what spoke for it, in order")]
    used: Annotated[tuple[SourceUsed, ...], Meta(description="所用的数据 / the data that were used")]
    withheld_sources: Annotated[tuple[str, ...], Meta(description="未获授权的来源 / sources without consent")]
    review: Annotated[ReviewRight, Meta(description="人工复核的权利 / the right to a review by a person")]


class ReviewQueue(msgspec.Struct, frozen=True, kw_only=True):
    """等待人工复核的申请，等待最久的在前 / applications that wait for a person, the longest first"""

    applications: Annotated[tuple[ApplicationState, ...], Meta(description="申请 / applications")]


class ReviewApi:
    """The routes of explanations and reviews.

    Args:
        workspace: its contracts say who keeps which data.
        store: gives the applications.
        strategies: whose product bounds an offer.
        audit: where each conclusion is recorded before it is written.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: Callable[[], ApplicationStore],
        strategies: StrategyBook,
        audit: AuditWriter,
    ) -> None:
        self._contracts = workspace.sources
        self._store = store
        self._strategies = strategies
        self._audit = audit
        key = workspace.entity.key
        self._readers = {kind: Reader(kind, key, _HINTS) for kind in (ReviewRequest, ReviewConclusion)}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every route."""
        return (
            Endpoint("GET", f"{ONE}/explanation", self.explain, None, Explanation),
            Endpoint("POST", f"{ONE}/review", self.ask, ReviewRequest, ApplicationState),
            Endpoint("GET", REVIEWS, self.waiting, None, ReviewQueue),
            Endpoint("POST", f"{REVIEWS}/{{application_id}}", self.conclude, ReviewConclusion, ApplicationState),
        )

    async def explain(self, request: Request, caller: str) -> Explanation:
        """Why it was decided so, from which data, and what may be done about it."""
        tenant, number = Tenant(caller), number_of(request)
        found = await self._store().find(tenant, number)
        if found.decision is None:
            raise WrongState(
                "not_decided",
                Text(zh="申请尚未作出决策，无可说明。", en="Nothing is decided yet, so nothing can be explained."),
            )
        history = await self._store().history(tenant, number)
        return self._explained(found, found.decision, right(found, history, datetime.now(UTC)))

    async def ask(self, request: Request, caller: str) -> ApplicationState:
        """Ask for a review of a declined application."""
        sent: Any = await self._readers[ReviewRequest].read(request)
        desk = ReviewDesk(self._store())
        return ApplicationState.of(await desk.ask(Tenant(caller), number_of(request), sent.reason))

    async def waiting(self, _: Request, caller: str) -> ReviewQueue:
        """What waits for a person."""
        found = await ReviewDesk(self._store()).waiting(Tenant(caller), MOST)
        return ReviewQueue(applications=tuple(map(ApplicationState.of, found)))

    async def conclude(self, request: Request, caller: str) -> ApplicationState:
        """Conclude a review; it is in the audit trail under the reviewer's name."""
        sent: Any = await self._readers[ReviewConclusion].read(request)
        concluded = Concluded(by=request.scope[PRINCIPAL].client, **msgspec.structs.asdict(sent))
        store = self._store()
        desk, found = ReviewDesk(store), await store.find(Tenant(caller), number_of(request))
        chosen = self._strategies.of(found.entity, caller, found.details.product, found.mode.value)
        desk.check(found, concluded, chosen.strategy.product)
        await self._audit.durable(self._audit.append(_entry(found, concluded)))
        return ApplicationState.of(await desk.conclude(found, concluded))

    def _explained(self, found: Application, decision: dict[str, Any], review: ReviewRight) -> Explanation:
        said: dict[str, list[Text]] = {"adverse": [], "favourable": []}
        for reason in decision["reasons"]:
            if reason["kind"] == "feature" and reason["direction"] in said:
                said[reason["direction"]].append(msgspec.convert(reason["text"], Text))
        causes = msgspec.convert(decision["causes"], tuple[Cause, ...])
        return Explanation(
            application=ApplicationState.of(found),
            decided_at=datetime.fromisoformat(decision["decided_at"]),
            automatic=review.concluded_at is None,
            summary=_summary(decision, causes),
            causes=causes,
            adverse=tuple(said["adverse"]),
            favourable=tuple(said["favourable"]),
            used=tuple(self._used(source, as_of) for source, as_of in decision["features_as_of"].items()),
            withheld_sources=tuple(decision["withheld_sources"]),
            review=review,
        )

    def _used(self, source: str, as_of: str | None) -> SourceUsed:
        contract = self._contracts.get(source)
        return SourceUsed(
            source=source,
            # A source that the workspace has given up since is known by its name alone.
            title=Text(zh=contract.title.zh, en=contract.title.en) if contract else Text(zh=source, en=source),
            owner=contract.owner if contract else "",
            as_of=datetime.fromisoformat(as_of) if as_of else None,
        )


def _summary(decision: dict[str, Any], causes: tuple[Cause, ...]) -> Text:
    title, day = _TITLES[decision["outcome"]], decision["decided_at"][:10]
    why = (
        "；".join(cause.text.zh.rstrip("。") for cause in causes),
        "; ".join(cause.text.en.rstrip(".") for cause in causes),
    )
    because = (f"：{why[0]}", f": {why[1]}") if causes else ("", "")
    return Text(
        zh=f"系统于 {day} 自动作出决定，结果为{title.zh}{because[0]}。数据有误可向数据提供方申请更正。",
        en=f"It was decided automatically on {day}: {title.en}{because[1]}. "
        "Wrong data are corrected by who keeps them.",
    )


def _entry(found: Application, concluded: Concluded) -> Entry:
    detail: dict[str, str | int | float] = {"conclusion": concluded.conclusion.value}
    if concluded.limit is not None and concluded.annual_rate is not None:
        detail |= {"limit": str(concluded.limit), "annual_rate": str(concluded.annual_rate)}
    return Entry(
        event=Event.REVIEWED,
        who=concluded.by,
        entity=found.named,
        application=str(found.id),
        decision=str(found.decision_id or ""),
        detail=detail,
    )
