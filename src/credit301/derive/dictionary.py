"""The data dictionary: what a column, a check and a feature of a contract are, in words of both languages."""

from __future__ import annotations

from typing import Any

from credit301.contracts.model import Aggregation, Check, CheckKind, Comparison, Contract, Feature, Text, WindowCount

AGGREGATIONS = {
    Aggregation.COUNT: Text(zh="记录数", en="number of records"),
    Aggregation.SUM: Text(zh="{column}之和", en="sum of {column}"),
    Aggregation.MEAN: Text(zh="{column}的平均值", en="mean of {column}"),
    Aggregation.MIN: Text(zh="{column}的最小值", en="least {column}"),
    Aggregation.MAX: Text(zh="{column}的最大值", en="greatest {column}"),
    Aggregation.STD: Text(zh="{column}的标准差", en="standard deviation of {column}"),
    Aggregation.LAST: Text(zh="最近一次{column}", en="last {column}"),
    Aggregation.DISTINCT: Text(zh="{column}的不同取值数", en="number of distinct values of {column}"),
    Aggregation.ACTIVE_MONTHS: Text(zh="有记录的月份数", en="number of months with a record"),
    Aggregation.CONCENTRATION: Text(zh="{column}最大一类的占比", en="share of the largest {column}"),
    Aggregation.TREND: Text(
        zh="{column}的月趋势（除以平均绝对值）", en="slope of {column} a month, over its mean size"
    ),
    Aggregation.SHARE: Text(zh="{column}中满足条件的占比", en="share of {column} that satisfies the condition"),
    Aggregation.RECENCY_DAYS: Text(zh="距最近一条记录的天数", en="days since the last record"),
    Aggregation.AGE_DAYS: Text(zh="距{column}的天数", en="days since {column}"),
    Aggregation.RATIO: Text(zh="{left} ÷ {right}", en="{left} / {right}"),
    Aggregation.DIFFERENCE: Text(zh="{left} − {right}", en="{left} - {right}"),
    Aggregation.DEGREE: Text(zh="关联方数量", en="number of distinct neighbours"),
    Aggregation.NEIGHBOUR_MEAN: Text(zh="关联方{neighbour}的平均值", en="mean of {neighbour} over neighbours"),
    Aggregation.NEIGHBOUR_SUM: Text(zh="关联方{neighbour}之和", en="sum of {neighbour} over neighbours"),
    Aggregation.NEIGHBOUR_MIN: Text(zh="关联方{neighbour}的最小值", en="least {neighbour} of neighbours"),
    Aggregation.NEIGHBOUR_MAX: Text(zh="关联方{neighbour}的最大值", en="greatest {neighbour} of neighbours"),
    Aggregation.NEIGHBOUR_SHARE: Text(
        zh="关联方中{neighbour}满足条件的占比", en="share of neighbours whose {neighbour} satisfies the condition"
    ),
}
CHECKS = {
    CheckKind.NOT_NULL: Text(zh="不能为空", en="is never empty"),
    CheckKind.CASTABLE: Text(zh="类型正确", en="has its type"),
    CheckKind.PATTERN: Text(zh="符合格式", en="matches a pattern"),
    CheckKind.IN_SET: Text(zh="在取值范围内", en="is one of the known values"),
    CheckKind.BETWEEN: Text(zh="在数值范围内", en="is within bounds"),
    CheckKind.USCC: Text(
        zh="统一社会信用代码及校验码正确", en="is a unified social credit code, check character included"
    ),
    CheckKind.UNIQUE_KEY: Text(zh="主键唯一", en="the key is unique"),
    CheckKind.ROW_RULE: Text(zh="行规则成立", en="the rule of the row holds"),
    CheckKind.ROW_COUNT: Text(zh="行数足够", en="enough rows"),
}
RISK = {
    "increasing": Text(zh="越大风险越高", en="more means more risk"),
    "decreasing": Text(zh="越大风险越低", en="more means less risk"),
    "free": Text(zh="不限方向", en="any direction"),
}
_SIGNS = {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤", "ne": "≠"}


def definition(contract: Contract, feature: Feature) -> Text:
    """How a feature is computed, as a sentence."""
    words = AGGREGATIONS[feature.aggregation]
    return Text(
        zh=words.zh.format_map(_named(contract, feature, "zh")) + _window(feature).zh + _where(contract, feature, "zh"),
        en=words.en.format_map(_named(contract, feature, "en")) + _window(feature).en + _where(contract, feature, "en"),
    )


def window_definition(contract: Contract, count: WindowCount) -> Text:
    """What is counted in each of the source's sliding windows, as a sentence."""
    by = contract.column(count.by).label
    return Text(
        zh=f"同一{by.zh}的事件数" + _where(contract, count, "zh"),
        en=f"number of events with the same {by.en}" + _where(contract, count, "en"),
    )


def check_text(check: Check) -> Text:
    """What a check demands; :func:`check_arguments` says by which bounds."""
    return CHECKS[check.kind]


def check_arguments(check: Check) -> str:
    """Bounds, pattern or rule of a check, the same in both languages."""
    return ", ".join(_value(value) for value in check.arguments.values() if value not in ("", None))


def _named(contract: Contract, feature: Feature, language: str) -> dict[str, str]:
    left, right = (getattr(contract.feature(name).label, language) for name in feature.of) if feature.of else ("", "")
    column = getattr(contract.column(feature.column).label, language) if feature.column else ""
    counted = {"zh": "记录数", "en": "the records"}[language]
    neighbour = f"{feature.neighbour.source}.{feature.neighbour.feature}" if feature.neighbour else ""
    return {"column": column or counted, "left": left, "right": right, "neighbour": neighbour}


def _window(feature: Feature) -> Text:
    if feature.window_months:
        return Text(zh=f"，近 {feature.window_months} 个月", en=f", over the last {feature.window_months} months")
    if feature.window_days:
        return Text(zh=f"，近 {feature.window_days} 天", en=f", over the last {feature.window_days} days")
    return Text(zh="", en="")


def _where(contract: Contract, feature: Feature | WindowCount, language: str) -> str:
    parts = [
        f"{getattr(contract.column(name).label, language)} {_condition(value)}" for name, value in feature.where.items()
    ]
    if not parts:
        return ""
    opening, joined = {"zh": ("，条件：", "，"), "en": (", where ", " and ")}[language]
    return opening + joined.join(parts)


def _condition(value: Any) -> str:
    if isinstance(value, Comparison):
        return " ".join(f"{_SIGNS[operator]} {_value(item)}" for operator, item in value.given().items())
    return f"= {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " | ".join(_value(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
