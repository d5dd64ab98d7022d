"""Two strategies in production as a page of the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credit301.model import stewardship
from training import pages, plots
from training.strategy_compare import SWAPS, Compared

if TYPE_CHECKING:
    from pathlib import Path

    from credit301.workspace import Workspace

FIGURES = (
    ("申请 applications", "applications"),
    ("其中由其决策 decided by it", "decided"),
    ("批准 approved", "approved"),
    ("批准率 approval rate", "approval_rate"),
    ("转人工 referred", "referred"),
    ("平均额度（元） mean limit, yuan", "mean_limit"),
    ("额度合计（元） limits, yuan", "limits"),
    ("平均年利率 mean annual rate", "mean_rate"),
    ("已有结果 outcomes known", "outcomes"),
    ("违约率 bad rate", "bad_rate"),
)
SWAP_HEADS = ("", "申请 applications", "额度合计 limits", "已有结果 outcomes known", "违约率 bad rate")
Cell = str | None


def write(workspace: Workspace, found: Compared) -> Path:
    """Write the page."""
    html = pages.render(
        "strategy_compare.html.j2",
        workspace,
        found=found,
        figures=figures(found),
        swap_heads=SWAP_HEADS,
        swaps=swaps(found),
        plots=[
            plots.by_month(
                found.months,
                {f"A {found.a.version}": found.approval[0], f"B {found.b.version}": found.approval[1]},
                "批准率 approval rate",
            ),
            plots.bars(
                [f"{zh} {en}" for _, zh, en in SWAPS],
                [float(found.swaps[name].applications) for name, _, _ in SWAPS],
                "互换集 swap set",
                "申请 applications",
            ),
        ],
        roles=[stewardship.TITLES[one.definition.role] for one in (found.a, found.b)],
    )
    return pages.write(workspace, f"compare-strategy-{found.a.name}-{found.b.name}", html)


def figures(found: Compared) -> list[list[Cell]]:
    """Title, A, B, difference."""
    one, other = found.sums
    rows = []
    for title, name in FIGURES:
        a, b = getattr(one, name), getattr(other, name)
        apart = None if a is None or b is None else b - a
        rows.append([title, *(pages.written(name, value) for value in (a, b, apart))])
    return rows


def swaps(found: Compared) -> list[list[Cell]]:
    """Parts of the swap set."""
    return [
        [
            f"{zh} {en}",
            pages.written("applications", (part := found.swaps[name]).applications),
            pages.written("limits", part.limits),
            pages.written("outcomes", part.outcomes),
            pages.written("bad_rate", part.bad_rate),
        ]
        for name, zh, en in SWAPS
    ]
