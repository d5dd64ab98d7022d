"""A decision printed for a person, in both languages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from credit301 import console
from credit301.domain.money import percent, yuan

_OUTCOME = {"approve": "批准 approved", "decline": "拒绝 declined", "refer": "转人工 referred to a person"}
_KIND = {"policy": "策略 strategy", "missing_source": "无数据 no data"}
_DIRECTION = {"adverse": "不利 against", "favourable": "有利 for"}

_LARGE = 1000


def show(decision: dict[str, Any]) -> None:
    """Print ``decision``, as the endpoint's JSON says it."""
    approved = decision["outcome"] == "approve"
    rows = [
        ("结果 outcome", _OUTCOME[decision["outcome"]]),
        ("企业 enterprise", decision["entity"]),
        (
            "申请 requested",
            f"{yuan(Decimal(decision['requested_amount']))} 元 yuan, {decision['term_months']} 月 months",
        ),
    ]
    if approved:
        rows += [
            ("额度 limit", f"{yuan(Decimal(decision['limit']))} 元 yuan"),
            ("年利率 annual rate", percent(Decimal(decision["annual_rate"]))),
        ]
    if decision["accept_lane"] is not None:
        rows.append(("随机准入 accept lane", f"{decision['accept_lane']['probability']:.1%}"))
    rows += [
        ("违约概率 probability of default", f"{decision['probability']:.2%}"),
        ("评分 score", str(decision["score"])),
        ("风险等级 band", decision["band"]),
        ("版本 versions", ", ".join(f"{name} {value}" for name, value in decision["versions"].items() if value)),
        ("编号 decision", decision["decision_id"]),
    ]
    console.show_table("授信决策 credit decision", ("", ""), rows)
    console.show_table(
        "原因 reasons",
        ("", "原因 reason", "数据 value"),
        [
            (
                _KIND.get(reason["kind"]) or _DIRECTION[reason["direction"]],
                f"{reason['text']['zh']}\n{reason['text']['en']}",
                _value(reason),
            )
            for reason in decision["reasons"]
        ],
    )
    console.show_table(
        "维度得分 sub-scores by dimension",
        ("维度 dimension", "评分 score", "违约概率 probability"),
        [
            (
                f"{item['title']['zh']} {item['title']['en']}",
                item["score"],
                f"{item['probability']:.2%}" if item["has_data"] else "无数据 no data",
            )
            for item in decision["dimensions"]
        ],
    )
    timings = ", ".join(f"{name} {value}" for name, value in decision["timings_us"].items())
    console.say(f"耗时（微秒）microseconds: {timings}")


def _value(reason: dict[str, Any]) -> str:
    value = reason["value"]
    if value is None:
        return "-"
    # Ratios and counts to four digits, sums of money without cents.
    shown = (f"{value:,.0f}" if abs(value) >= _LARGE else f"{value:.4g}") if isinstance(value, float) else value
    return f"{shown} {reason['unit']}".strip()
