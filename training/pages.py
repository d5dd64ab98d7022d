"""Writes the pages of the models below the site: cards, monitoring, comparisons, and the list of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from credit301.files import replacing
from credit301.model import promotions, stewardship
from training import plots
from training.monitoring import FEATURES, WHOLE

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from credit301.workspace import Workspace
    from training.compare import Comparison
    from training.monitoring import Watched

FOLDER = "models"
MOVED = 12
_SHARES = frozenset({"approval_rate", "bad_rate", "expected_bad_rate", "mean_rate"})
TRAINING, REJECTS = "training", "reject-inference"
LIVE = {
    "decisions": "决策 decisions",
    "same_outcome": "结论一致 same outcome",
    "mean_difference": "概率平均差 mean difference in probability",
    "outcomes": "已有结果 outcomes known",
    "auc_weighted_a": "A 加权 AUC weighted",
    "auc_weighted_b": "B 加权 AUC weighted",
    "brier_weighted_a": "A 加权 Brier weighted",
    "brier_weighted_b": "B 加权 Brier weighted",
}


def render(template: str, workspace: Workspace, **context: Any) -> str:
    """A page's HTML."""
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(workspace=workspace, built=datetime.now(UTC), **context)


def write(workspace: Workspace, name: str, html: str) -> Path:
    """Put a page into the site, and the list of pages anew."""
    folder = workspace.paths.site / FOLDER
    path = folder / f"{name}.html"
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    there = sorted(file.stem for file in folder.glob("*.html"))
    index = render(
        "index.html.j2",
        workspace,
        records=promotions.read(workspace)[::-1],
        monitor="monitor" in there,
        training=TRAINING in there,
        rejects=REJECTS in there,
        cards=[page for page in there if page.startswith("version-")],
        comparisons=[page for page in there if page.startswith("compare-")],
        backtests=[page for page in there if page.startswith("backtest-")],
    )
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(index, encoding="utf-8")
    return path


def monitor(workspace: Workspace, watched: Watched) -> Path:
    """The page of monitoring."""
    rules = stewardship.load(workspace)
    months, seen = months_of(watched.table)
    rows = watched.table[(watched.table["month"] == watched.month)]
    segments = []
    for segment in rules.segments:
        chosen = rows[rows["segment"] == segment.feature]
        values = chosen.drop_duplicates("value")[["value", "rows", "defaults"]].to_numpy().tolist()
        # Of a few defaults a ranking says nothing.
        names = [("auc", rules.monitoring.minimum_defaults), ("expected", 0), ("observed", 0), ("approved", 0)]
        lines = [
            [value, rows_of, defaults]
            + [
                watched.of(watched.month, name, segment.feature, value) if defaults >= least else None
                for name, least in names
            ]
            for value, rows_of, defaults in values
        ]
        segments.append((segment.title, lines))
    moved = rows[(rows["segment"] == FEATURES) & (rows["metric"] == "psi_excess")]
    moved = moved.sort_values("number", ascending=False).head(MOVED)
    html = render(
        "monitor.html.j2",
        workspace,
        watched=watched,
        plots=month_plots(watched.table, rules.monitoring.maximum_score_psi),
        months=[
            [month, *_size(watched.table, month)]
            + [watched.of(month, name) for name in ("auc", "ks", "brier", "ece", "expected", "observed", "score_psi")]
            + ["是 yes" if number < seen else ""]
            for number, month in enumerate(months)
        ],
        segments=segments,
        moved=[
            [name, watched.of(watched.month, "psi", FEATURES, name), excess]
            for name, excess in moved[["value", "number"]].to_numpy().tolist()
        ],
        decisions=watched.decisions.to_numpy(dtype=object).tolist(),
        correction=watched.correction,
    )
    return write(workspace, "monitor", html)


def compare(workspace: Workspace, found: Comparison) -> Path:
    """The page of a comparison."""
    one, other = found.measured
    names = {"auc": "AUC", "auc_spread": "AUC ±", "ks": "KS", "brier": "Brier", "ece": "ECE"}
    html = render(
        "compare.html.j2",
        workspace,
        found=found,
        measures=[[title, x := getattr(one, name), y := getattr(other, name), y - x] for name, title in names.items()],
        plots=[
            plots.roc(found.labels, {f"A {found.a.number}": found.p[:, 0], f"B {found.b.number}": found.p[:, 1]}),
            plots.agreement(found.labels, found.p),
        ],
        swaps=[[f"{swap.zh} {swap.en}", swap.rows, swap.defaults, swap.rate] for swap in found.swaps],
        live=[[title, found.live[name]] for name, title in LIVE.items() if name in found.live],
    )
    return write(workspace, f"compare-{found.a.number}-{found.b.number}", html)


def months_of(table: pd.DataFrame) -> tuple[list[str], int]:
    """The months in order, and how many of the first were learnt from."""
    whole = table[table["segment"] == WHOLE].groupby("month")["seen"].any().sort_index()
    return list(whole.index), int(whole.to_numpy().sum())


def month_plots(table: pd.DataFrame, psi_limit: float) -> list[Any]:
    """Ranking, calibration and stability over the months."""
    months, seen = months_of(table)
    whole = table[table["segment"] == WHOLE].pivot_table(index="month", columns="metric", values="number", sort=True)
    whole = whole.reindex(months)

    def line(name: str) -> list[float]:
        return whole[name].tolist() if name in whole else [np.nan] * len(months)

    twice = [2 * error for error in line("auc_spread")]
    return [
        plots.by_month(
            months, {"AUC": line("auc"), "KS": line("ks")}, "排序能力 ranking", seen=seen, errors={"AUC": twice}
        ),
        plots.by_month(
            months,
            {"预测 expected": line("expected"), "实际 observed": line("observed")},
            "违约率 default rate",
            seen=seen,
        ),
        plots.by_month(months, {"PSI": line("score_psi")}, "评分 PSI score", seen=seen, limit=psi_limit),
        plots.by_month(
            months,
            {"ECE": line("ece"), "随机水平 by chance": line("ece_by_chance")},
            "校准误差 calibration error",
            seen=seen,
        ),
    ]


def _size(table: pd.DataFrame, month: str) -> list[int]:
    chosen = table[(table["month"] == month) & (table["segment"] == WHOLE)]
    return [int(chosen["rows"].iloc[0]), int(chosen["defaults"].iloc[0])]


def written(name: str, value: float | None) -> str | None:
    """A figure of strategies as their pages write it: shares in percent, counts and money in whole numbers."""
    if value is None:
        return None
    return f"{value:.2%}" if name in _SHARES else f"{value:,.0f}"
