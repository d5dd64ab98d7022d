"""What the codes that every strategy has mean, in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from credit301.domain.money import CENT, yuan
from credit301.domain.text import Text
from credit301.domain.verdict import BELOW_MINIMUM, BY_LOT, VALUE_UNKNOWN, Cause

AMOUNT = "{amount}"
KNOWN: dict[str, Text] = {
    "band_maximum": Text(
        zh="额度以该风险等级的额度上限 {amount} 元为限。",
        en="The limit is bounded by the band's maximum, {amount} yuan.",
    ),
    "sales_share": Text(
        zh="额度以近12个月销售额对应的额度 {amount} 元为限。",
        en="The limit is bounded by the share of 12 months' sales, {amount} yuan.",
    ),
    "sales_unknown": Text(
        zh="无销售数据时，额度以 {amount} 元为限。", en="Without known sales the limit is {amount} yuan at most."
    ),
    "cash_flow": Text(
        zh="额度以账户流入对应的额度 {amount} 元为限。",
        en="The limit is bounded by what flows into the accounts, {amount} yuan.",
    ),
    "existing_debt": Text(
        zh="扣除现有负债后，额度以 {amount} 元为限。", en="After existing debt, the limit is {amount} yuan at most."
    ),
    "no_sales": Text(
        zh="无近12个月销售数据，无法核定额度。", en="12 months' sales are not known, so no limit can be set."
    ),
    "unprofitable": Text(
        zh="在可用利率下预期收益不足以覆盖风险与资金成本。",
        en="No available rate covers the risk and the cost of funds.",
    ),
}


def worded(own: Mapping[str, Text], code: str, amount: Decimal | None = None) -> Text:
    """What ``code`` means: in a strategy's ``own`` words, else in those that all have."""
    text = own.get(code) or KNOWN[code]
    if amount is None:
        return text
    money = yuan(amount.quantize(CENT))
    return Text(zh=text.zh.replace(AMOUNT, money), en=text.en.replace(AMOUNT, money))


def above(code: str, probability: float, most: float) -> Cause:
    """The probability is above the cut-off."""
    estimated, bound = f"{probability:.2%}", f"{most:.2%}"
    zh = f"预计违约概率 {estimated}，高于准入上限 {bound}。"
    en = f"The estimated probability of default is {estimated}, above the cut-off of {bound}."
    return Cause(code, Text(zh=zh, en=en))


def unknown(field: str, label: Text) -> Cause:
    """A value is not known that would have decided."""
    zh = f"缺少作出决定所需的数据：{label.zh}。"
    en = f"A value that is needed to decide is not known: {label.en}."
    return Cause(f"{VALUE_UNKNOWN}.{field}", Text(zh=zh, en=en))


def below_minimum(limit: Decimal, least: Decimal) -> Cause:
    """The limit is too small to be lent."""
    zh = f"可核定额度 {yuan(limit)} 元，低于产品起点 {yuan(least)} 元。"
    en = f"The limit of {yuan(limit)} yuan is below the product's minimum of {yuan(least)} yuan."
    return Cause(BELOW_MINIMUM, Text(zh=zh, en=en))


def by_lot(limit: Decimal) -> Cause:
    """Declined for the score, drawn by lot, and lent a little."""
    zh = f"评分未达准入线；经随机抽取，按 {yuan(limit)} 元以内准入。"
    en = f"The score is beyond the cut-off; drawn by lot, it is lent up to {yuan(limit)} yuan."
    return Cause(BY_LOT, Text(zh=zh, en=en))
