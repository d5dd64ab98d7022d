"""The back-test of a strategy as a page of the site."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from training import pages, plots
from training.backtest_sums import SWAPS, WHOLE, Sum

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace
    from training.backtest import Backtest

MOST_VALUES = 12
FIGURES = (
    ("申请 applications", "applications"),
    ("批准 approved", "approved"),
    ("批准率 approval rate", "approval_rate"),
    ("转人工 referred", "referred"),
    ("违约 defaults", "defaults"),
    ("违约率 bad rate", "bad_rate"),
    ("预期违约率 expected bad rate", "expected_bad_rate"),
    ("额度合计（元） limits, yuan", "limits"),
    ("平均额度（元） mean limit, yuan", "mean_limit"),
    ("平均利率 mean rate", "mean_rate"),
    ("利润（元） profit, yuan", "profit"),
    ("预期利润（元） expected profit, yuan", "expected_profit"),
)
Cell = str | int | None


def write(workspace: Workspace, found: Backtest) -> Path:
    """Write the page."""
    html = pages.render(
        "backtest.html.j2",
        workspace,
        found=found,
        whole=found.sums[WHOLE, WHOLE],
        figures=figures(found),
        plots=_plots(found),
        swaps=swaps(found),
        causes=causes(found),
        segments=_segments(found),
    )
    return pages.write(workspace, f"backtest-{found.candidate.name}-{found.candidate.sha256[:8]}", html)


def figures(found: Backtest) -> list[list[Cell]]:
    """Title, candidate, current, difference."""
    new, old = found.sums[WHOLE, WHOLE]
    rows: list[list[Cell]] = []
    for title, name in FIGURES:
        one, other = getattr(new, name), getattr(old, name)
        apart = None if one is None or other is None else one - other
        rows.append([title, *(pages.written(name, value) for value in (one, other, apart))])
    return rows


def swaps(found: Backtest) -> list[list[Cell]]:
    """Parts of the swap set."""
    return [
        [
            f"{zh} {en}",
            (part := found.swaps[name]).applications,
            pages.written("bad_rate", part.bad_rate),
            pages.written("bad_rate", part.expected_bad_rate),
            pages.written("limits", part.limits),
            pages.written("profit", part.profit),
        ]
        for name, zh, en in SWAPS
    ]


def causes(found: Backtest) -> list[list[Cell]]:
    """Why applications were not approved, the most frequent first."""
    new, old = found.causes
    codes = sorted(new.keys() | old.keys(), key=lambda code: -max(new.get(code, 0), old.get(code, 0)))
    return [[code, new.get(code, 0), old.get(code, 0)] for code in codes]


def _plots(found: Backtest) -> list[Any]:
    def series(name: str) -> dict[str, list[float]]:
        pairs = [[_or_nan(getattr(one, name)) for one in pair] for pair in found.by_month.values()]
        return {"新策略 candidate": [new for new, _ in pairs], "现行 current": [old for _, old in pairs]}

    return [
        plots.by_month(list(found.by_month), series("approval_rate"), "批准率 approval rate"),
        plots.by_month(list(found.by_month), series("bad_rate"), "违约率 bad rate"),
    ]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _segments(found: Backtest) -> list[tuple[str, list[list[Cell]]]]:
    titles = dict.fromkeys(title for title, _ in found.sums if title != WHOLE)
    return [
        (
            title,
            [_line(value, *pair) for (of, value), pair in found.sums.items() if of == title][:MOST_VALUES],
        )
        for title in titles
    ]


def _line(value: str, new: Sum, old: Sum) -> list[Cell]:
    pairs = [(name, getattr(new, name), getattr(old, name)) for name in ("approval_rate", "bad_rate", "profit")]
    return [value, new.applications, *(pages.written(name, one) for name, *both in pairs for one in both)]
