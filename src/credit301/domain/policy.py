"""The policy: from a probability of default and a few facts to yes or no, how much, and at what rate.

A workspace says it in ``strategies/policy.yaml``; promotion copies it into the bundle, so that a model is always used
with the policy it was promoted with. Everything here is a pure function of the policy and what was read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, ValidationError, model_validator

from credit301.contracts.model import Name, Strict
from credit301.contracts.model import Text as StrictText
from credit301.domain.money import RATE, ceil_to, exact, floor_to, yuan
from credit301.domain.text import Refusal, Text
from credit301.errors import ModelError

Scalar = float | int | str | bool | None
FeatureKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$")]
Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
Rate = Annotated[Decimal, Field(ge=0, lt=1, max_digits=9, decimal_places=6)]
Share = Annotated[Decimal, Field(ge=0, le=1)]
Months = Annotated[int, Field(ge=1, le=360)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Product(Strict):
    """What may be asked for. ``amount_step``: limits are rounded down to it."""

    name: StrictText
    minimum_amount: Money
    maximum_amount: Money
    amount_step: Money = Decimal(1000)
    minimum_term_months: Months = 1
    maximum_term_months: Months

    @model_validator(mode="after")
    def _ordered(self) -> Product:
        if self.minimum_amount > self.maximum_amount or self.minimum_term_months > self.maximum_term_months:
            raise ValueError("a minimum is above its maximum")
        return self


class Rule(Strict):
    """A hard rule: declines where ``feature`` compares with ``value`` as told, or is not known and that declines."""

    id: Name
    feature: FeatureKey
    operator: Literal["in", "not_in", "gt", "ge", "lt", "le"]
    value: float | list[str] | list[float]
    on_missing: Literal["pass", "decline"]
    text: StrictText

    @model_validator(mode="after")
    def _comparable(self) -> Rule:
        if (self.operator in ("in", "not_in")) != isinstance(self.value, list):
            raise ValueError("in and not_in need a list, the other operators a number")
        return self

    def hits(self, value: Scalar) -> bool:
        """Whether ``value`` (``None``: not known) declines."""
        if value is None:
            return self.on_missing == "decline"
        if isinstance(self.value, list):
            return (value in self.value) == (self.operator == "in")
        if isinstance(value, str):
            raise ModelError(f"The rule {self.id} compares {self.feature} with a number; the store has {value[:20]!r}.")
        match self.operator:
            case "gt":
                return value > self.value
            case "ge":
                return value >= self.value
            case "lt":
                return value < self.value
        return value <= self.value


class Band(Strict):
    """A risk band: probabilities up to ``maximum_probability``, and what may be lent in it."""

    name: str
    maximum_probability: Probability
    maximum_amount: Money | None = None
    sales_share: Share | None = None


class Sales(Strict):
    """Where 12 months' sales (yuan) are read, for limits as a share of them; and what happens where they are not known.

    ``maximum_amount_without``: the most that is lent without known sales; ``None`` declines.
    """

    feature: FeatureKey
    maximum_amount_without: Money | None


class RiskBased(Strict):
    """``cost_of_funds + pd * lgd / (1 - pd) + margin``: what makes the surviving loans pay for the lost ones."""

    kind: Literal["risk_based"]
    cost_of_funds: Rate
    loss_given_default: Share
    margin: Rate
    step: Annotated[Decimal, Field(gt=0)] = Decimal("0.0005")
    floor: Rate
    cap: Rate

    @model_validator(mode="after")
    def _ordered(self) -> RiskBased:
        if self.floor > self.cap:
            raise ValueError("floor is above cap")
        return self


class RateTable(Strict):
    """The rate of a published table that earns most per yuan offered, given the customers each rate drives away."""

    kind: Literal["rate_table"]
    cost_of_funds: Rate
    loss_given_default: Share
    table: Name


class LossAtRate(Strict):
    """One row of a table: at ``annual_rate``, the share of customers lost, by band."""

    annual_rate: Rate
    loss: dict[str, Share]


class Policy(Strict):
    """A whole policy. Bands are in order of probability, and the last one reaches the cut-off."""

    version: str
    product: Product
    maximum_probability: Probability
    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    rules: tuple[Rule, ...] = ()
    sales: Sales | None = None
    pricing: Annotated[RiskBased | RateTable, Field(discriminator="kind")]
    tables: dict[Name, tuple[LossAtRate, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        if any(low.maximum_probability >= high.maximum_probability for low, high in pairwise(self.bands)):
            raise ValueError("bands must be in order of maximum_probability")
        if self.bands[-1].maximum_probability < self.maximum_probability:
            raise ValueError("the last band must reach maximum_probability")
        if len({rule.id for rule in self.rules}) != len(self.rules):
            raise ValueError("two rules have the same id")
        if self.sales is None and any(band.sales_share is not None for band in self.bands):
            raise ValueError("a band has sales_share, but `sales` does not say where sales are read")
        if isinstance(self.pricing, RateTable):
            rows = self.tables.get(self.pricing.table, ())
            names = {band.name for band in self.bands}
            if not rows or any(not names <= set(row.loss) for row in rows):
                raise ValueError(f"table {self.pricing.table} is missing, or lacks one of the bands")
        return self

    def features(self) -> tuple[str, ...]:
        """Keys (``<view>:<feature>``) of the features that the policy reads."""
        keys = [rule.feature for rule in self.rules]
        return tuple(dict.fromkeys([*keys, self.sales.feature] if self.sales else keys))

    def check_features(self, known: Collection[str]) -> None:
        """Check that every feature read is among ``known``.

        Raises:
            ModelError: naming those that are not; a rule on a feature that nobody computes would never hit.
        """
        unknown = [key for key in self.features() if key not in known]
        if unknown:
            raise ModelError(
                f"The policy reads features that there are not: {', '.join(unknown)}.",
                hint="Name features of the workspace's contracts in strategies/policy.yaml.",
            )

    def check_request(self, amount: Decimal, term_months: int) -> None:
        """Check what is asked for against the product.

        Raises:
            Refusal: naming the field and its bounds.
        """
        product = self.product
        if not amount.is_finite() or not product.minimum_amount <= amount <= product.maximum_amount:
            low, high = yuan(product.minimum_amount), yuan(product.maximum_amount)
            raise Refusal(
                "amount_out_of_range",
                Text(zh=f"申请金额须在 {low} 元至 {high} 元之间。", en=f"amount must be from {low} to {high} yuan."),
                field="amount",
                hint=Text(zh="请在产品额度范围内申请。", en="Ask for an amount within the product's limits."),
            )
        if amount != amount.quantize(Decimal("0.01")):
            raise Refusal(
                "amount_precision",
                Text(zh="申请金额最多两位小数。", en="amount has at most two decimals."),
                field="amount",
                hint=Text(zh="以元为单位，精确到分。", en="Give yuan, to the cent."),
            )
        if not product.minimum_term_months <= term_months <= product.maximum_term_months:
            low, high = str(product.minimum_term_months), str(product.maximum_term_months)
            raise Refusal(
                "term_out_of_range",
                Text(zh=f"期限须在 {low} 至 {high} 个月之间。", en=f"term_months must be from {low} to {high}."),
                field="term_months",
                hint=Text(zh="请选择产品允许的期限。", en="Ask for a term that the product allows."),
            )


ABOVE_CUT_OFF, BY_LOT = "probability_above_cut_off", "accept_lane"


class Outcome(StrEnum):
    """What is decided."""

    APPROVE = "approve"
    DECLINE = "decline"


class RuleResult(msgspec.Struct, frozen=True):
    """What a rule read and said; ``value`` is ``None`` where the feature is not known."""

    id: str
    feature: str
    value: Scalar
    hit: bool
    text: Text


class Cause(msgspec.Struct, frozen=True):
    """Why the policy declined, or lends less than was asked for."""

    code: str
    text: Text


class Verdict(msgspec.Struct, frozen=True):
    """The policy's answer. ``limit`` (yuan) and ``annual_rate`` are ``None`` on a decline."""

    outcome: Outcome
    band: str | None
    limit: Decimal | None
    annual_rate: Decimal | None
    causes: tuple[Cause, ...]
    rules: tuple[RuleResult, ...]


def parse(data: Mapping[str, Any]) -> Policy:
    """The policy in a bundle's manifest.

    Raises:
        ModelError: it is not a policy of this version.
    """
    try:
        return Policy.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ModelError(
            f"The bundle's policy is not valid: {where}: {first['msg']}.", hint="Train or promote with a valid policy."
        ) from error


def decide(
    policy: Policy, *, probability: float, values: Mapping[str, Scalar], amount: Decimal, term_months: int
) -> Verdict:
    """Decide on one request.

    Args:
        policy: the policy in force.
        probability: calibrated probability of default, 0 to 1.
        values: what was read, by ``<view>:<feature>``; ``None`` where not known.
        amount: yuan asked for.
        term_months: months asked for.

    Raises:
        Refusal: the amount or term is outside the product.
    """
    policy.check_request(amount, term_months)
    rules = tuple(
        RuleResult(
            rule.id, rule.feature, values.get(rule.feature), rule.hits(values.get(rule.feature)), _text(rule.text)
        )
        for rule in policy.rules
    )
    causes = [Cause(f"rule.{rule.id}", _because(rule)) for rule in rules if rule.hit]
    band = next((band for band in policy.bands if probability <= band.maximum_probability), None)
    if probability > policy.maximum_probability:
        causes.append(Cause(ABOVE_CUT_OFF, _above(probability, policy.maximum_probability)))
    if causes or band is None:
        return Verdict(Outcome.DECLINE, band.name if band else None, None, None, tuple(causes), rules)
    limit, causes = _limit(policy, band, values, amount)
    rate, unprofitable = _rate(policy, band, probability)
    causes += unprofitable
    if limit is None or rate is None:
        return Verdict(Outcome.DECLINE, band.name, None, None, tuple(causes), rules)
    return Verdict(Outcome.APPROVE, band.name, limit, rate, tuple(causes), rules)


def admit_by_lot(
    policy: Policy,
    declined: Verdict,
    *,
    most: Decimal,
    probability: float,
    values: Mapping[str, Scalar],
    amount: Decimal,
) -> Verdict | None:
    """``declined`` turned into a small loan in the last band, if the score alone declined it; else ``None``.

    Args:
        policy: the policy in force.
        declined: what :func:`decide` said.
        most: yuan that such a loan may have.
        probability: as for :func:`decide`, like the rest.
        values: what was read.
        amount: yuan asked for.
    """
    if declined.outcome is not Outcome.DECLINE or {cause.code for cause in declined.causes} != {ABOVE_CUT_OFF}:
        return None
    band = policy.bands[-1]
    limit, _ = _limit(policy, band, values, min(amount, most))
    rate, _ = _rate(policy, band, probability)
    if limit is None or rate is None:
        return None
    by_lot = Text(
        zh=f"评分未达准入线；经随机抽取，按 {yuan(limit)} 元以内准入。",
        en=f"The score is beyond the cut-off; drawn by lot, it is lent up to {yuan(limit)} yuan.",
    )
    return Verdict(Outcome.APPROVE, None, limit, rate, (*declined.causes, Cause(BY_LOT, by_lot)), declined.rules)


def _limit(
    policy: Policy, band: Band, values: Mapping[str, Scalar], amount: Decimal
) -> tuple[Decimal | None, list[Cause]]:
    """The limit in yuan (``None``: too small to lend) and what lowered it below the amount asked for."""
    bounds: list[tuple[Decimal, Cause]] = []
    if band.maximum_amount is not None:
        bounds.append(
            (
                band.maximum_amount,
                _bound("band_maximum", band.maximum_amount, "该风险等级的额度上限", "the band's maximum"),
            )
        )
    if policy.sales is not None and band.sales_share is not None:
        sales = values.get(policy.sales.feature)
        if isinstance(sales, int | float):
            most = max(Decimal(0), exact(float(sales)) * band.sales_share)
            bounds.append(
                (most, _bound("sales_share", most, "近12个月销售额对应的额度", "the share of 12 months' sales"))
            )
        elif policy.sales.maximum_amount_without is not None:
            most = policy.sales.maximum_amount_without
            bounds.append(
                (most, _bound("sales_unknown", most, "无销售数据时的额度上限", "the maximum without known sales"))
            )
        else:
            unknown = Text(
                zh="无近12个月销售数据，无法核定额度。", en="12 months' sales are not known, so no limit can be set."
            )
            return None, [Cause("sales_unknown", unknown)]
    lowest = min(bounds, key=lambda bound: bound[0], default=None)
    causes = [lowest[1]] if lowest and lowest[0] < amount else []
    limit = floor_to(min(amount, lowest[0]) if lowest else amount, policy.product.amount_step)
    if limit < policy.product.minimum_amount:
        least = yuan(policy.product.minimum_amount)
        text = Text(
            zh=f"可核定额度 {yuan(limit)} 元，低于产品起点 {least} 元。",
            en=f"The limit of {yuan(limit)} yuan is below the product's minimum of {least} yuan.",
        )
        return None, [*causes, Cause("limit_below_minimum", text)]
    return limit, causes


def _rate(policy: Policy, band: Band, probability: float) -> tuple[Decimal | None, list[Cause]]:
    pricing = policy.pricing
    pd = exact(probability)
    if isinstance(pricing, RiskBased):
        needed = pricing.cost_of_funds + pd * pricing.loss_given_default / (1 - pd) + pricing.margin
        return min(max(ceil_to(needed, pricing.step), pricing.floor), pricing.cap).quantize(RATE), []
    best = max(
        (
            (1 - row.loss[band.name])
            * ((1 - pd) * row.annual_rate - pd * pricing.loss_given_default - pricing.cost_of_funds),
            # Of two rates that earn the same, the lower one.
            -row.annual_rate,
        )
        for row in policy.tables[pricing.table]
    )
    if best[0] <= 0:
        text = Text(
            zh="在可用利率下预期收益不足以覆盖风险与资金成本。",
            en="No available rate covers the risk and the cost of funds.",
        )
        return None, [Cause("unprofitable", text)]
    return (-best[1]).quantize(RATE), []


def _text(text: StrictText) -> Text:
    return Text(zh=text.zh, en=text.en)


def _because(rule: RuleResult) -> Text:
    if rule.value is None:
        return Text(
            zh=f"{rule.text.zh}（无数据，按规则不予通过）", en=f"{rule.text.en} (not known, which this rule declines)"
        )
    return rule.text


def _above(probability: float, most: float) -> Text:
    return Text(
        zh=f"预计违约概率 {probability:.2%}，高于准入上限 {most:.2%}。",
        en=f"The estimated probability of default is {probability:.2%}, above the cut-off of {most:.2%}.",
    )


def _bound(code: str, most: Decimal, zh: str, en: str) -> Cause:
    amount = yuan(most.quantize(Decimal("0.01")))
    return Cause(code, Text(zh=f"额度以{zh} {amount} 元为限。", en=f"The limit is bounded by {en}, {amount} yuan."))
