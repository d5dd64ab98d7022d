"""The decision: what is answered, and everything needed to explain and replay it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from credit301.domain.text import Text
from credit301.domain.verdict import Cause, FallbackTaken, Outcome, RuleResult, Scalar


class Reason(msgspec.Struct, frozen=True):
    """Why the decision is what it is, strongest first.

    ``kind``: the strategy's ``policy`` declined or bounded it, a ``feature`` moved the probability, or a
    ``missing_source`` had no data, which is said as such. ``contribution`` is in log-odds of default: positive raises
    the probability.
    """

    kind: Literal["policy", "feature", "missing_source"]
    code: str
    direction: Literal["adverse", "favourable", "neutral"]
    text: Text
    source: str | None = None
    label: Text | None = None
    value: Scalar = None
    unit: str = ""
    contribution: float | None = None


class DimensionResult(msgspec.Struct, frozen=True):
    """A dimension's sub-score: what the model would say if only this dimension departed from the average.

    Without data ``probability`` and ``score`` are ``None``.
    """

    dimension: str
    title: Text
    has_data: bool
    probability: float | None
    score: int | None
    contribution: float


class SourceResult(msgspec.Struct, frozen=True):
    """A source's own model: its probability of default and points, ``None`` without data."""

    source: str
    title: Text
    dimension: str
    has_data: bool
    probability: float | None
    score: int | None
    contribution: float


BATCH = "batch"
"""In the place of a model's alias: nobody applied, a whole file was decided on with a bundle that was chosen for it."""


class Versions(msgspec.Struct, frozen=True):
    """Versions that the decision was made with.

    ``alias``: whether the champion or a challenger decided, or :data:`BATCH`; ``registered``: the model's number in
    the registry, empty where it is not from there. ``strategy_role``: where it was not a champion whose strategy
    decided.
    """

    model: str
    features: str
    strategy: str
    alias: str = "champion"
    registered: str = ""
    strategy_role: Literal["challenger"] | UnsetType = UNSET


class LaneGrant(msgspec.Struct, frozen=True):
    """随机准入 / approved by lot: the score alone would have declined; ``probability`` is that of being drawn."""

    probability: float


class Timings(msgspec.Struct, frozen=True):
    """Microseconds spent on each stage."""

    features: int
    scoring: int
    policy: int
    reasons: int
    total: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """授信决策 / one decision. Money in yuan, rates as a share of one, both as exact decimal text."""

    decision_id: Annotated[str, Meta(description="决策编号 / identifies this decision")]
    workspace: Annotated[str, Meta(description="城市或银行 / the city or bank")]
    entity: Annotated[str, Meta(description="企业标识 / the enterprise's key")]
    outcome: Annotated[Outcome, Meta(description="结果：批准、拒绝或转人工 / approve, decline or refer to a person")]
    probability: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="校准后的12个月违约概率，无评分为空 / probability of default; null without a score"),
    ]
    score: Annotated[int | None, Meta(description="评分，越高风险越低，无评分为空 / points; more means less risk")]
    band: Annotated[str | None, Meta(description="风险等级，超出准入为空 / risk band; null beyond the last one")]
    limit: Annotated[Decimal | None, Meta(description="批准额度（元），拒绝为空 / limit in yuan; null on a decline")]
    annual_rate: Annotated[Decimal | None, Meta(description="年利率，拒绝为空 / annual rate; null on a decline")]
    requested_amount: Annotated[Decimal, Meta(description="申请金额（元） / amount asked for, in yuan")]
    term_months: Annotated[int, Meta(description="期限（月） / term in months")]
    reasons: Annotated[tuple[Reason, ...], Meta(description="原因，按重要性排序 / reasons, most important first")]
    causes: Annotated[
        tuple[Cause, ...], Meta(description="策略所作的限制 / what the strategy declined or bounded, and why")
    ]
    dimensions: Annotated[tuple[DimensionResult, ...], Meta(description="各维度得分 / sub-scores by dimension")]
    sources: Annotated[tuple[SourceResult, ...], Meta(description="各来源子模型 / each source's own model")]
    rules: Annotated[
        tuple[RuleResult, ...], Meta(description="策略规则及其读取的值 / rules of the strategy and what they read")
    ]
    missing_sources: Annotated[tuple[str, ...], Meta(description="没有数据的来源 / sources without data")]
    versions: Annotated[Versions, Meta(description="版本 / versions used")]
    features_as_of: Annotated[
        dict[str, datetime | None],
        Meta(description="各来源数据的时点，无数据为空 / by source, the time of the data read; null without data"),
    ]
    consents: Annotated[tuple[str, ...], Meta(description="所依据的授权编号 / consents that it was read by")]
    withheld_sources: Annotated[
        tuple[str, ...], Meta(description="未获授权、按无数据处理的来源 / sources without consent, as without data")
    ]
    expired_sources: Annotated[
        tuple[str, ...],
        Meta(description="数据超过有效期、按无数据处理的来源 / sources whose data are too old, as without data"),
    ] = ()
    windows: Annotated[
        dict[str, int | None],
        Meta(description="近期行为窗口计数，未知为空 / counts of recent events; null where the subject was not told"),
    ] = {}
    accept_lane: Annotated[
        LaneGrant | None, Meta(description="随机准入，未抽中为空 / approved by lot against the score; else null")
    ] = None
    fallbacks: Annotated[
        tuple[FallbackTaken, ...] | UnsetType,
        Meta(description="缺失数据时策略的应对，无缺失则不出现 / what the strategy did for want of something"),
    ] = UNSET
    timings_us: Annotated[Timings, Meta(description="各阶段耗时（微秒） / microseconds by stage")]
    decided_at: Annotated[datetime, Meta(description="决策时间 / when it was decided")]
