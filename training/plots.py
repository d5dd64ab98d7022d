"""Plots of a model's life as SVG, to stand inside a page: their words are text, which a browser writes in its fonts."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from training.figures import cjk_font
from training.metrics import reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

A, B, GOOD, BAD, GREY = "#1f5f99", "#c77700", "#3a8f5c", "#b5413b", "0.6"
MOST_POINTS = 1_500
Series = Mapping[str, Sequence[float]]


def _svg(draw: Callable[[Axes], None], title: str, size: tuple[float, float] = (6.0, 3.6)) -> Markup:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The words stay words, and the same plot has the same bytes. The font only measures how long they are.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10, "font.family": "sans-serif"}
    fonts = [name for name in (cjk_font(), "DejaVu Sans") if name]
    with mpl.rc_context({**style, "font.sans-serif": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(title, fontsize=11)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704 - matplotlib escapes the words it is given


def calibration(labels: np.ndarray, probability: np.ndarray) -> Markup:
    """Share of defaults against the prediction, in ten groups, with two standard errors."""

    def draw(axes: Axes) -> None:
        predicted, observed, rows = reliability(labels, probability)
        error = 2 * np.sqrt(np.maximum(predicted * (1 - predicted), 1e-9) / rows)
        most = float(max(predicted.max(), observed.max(), 1e-6)) * 1.1
        axes.plot([0, most], [0, most], color=GREY, linewidth=1)
        axes.errorbar(predicted, observed, yerr=error, fmt="o", color=A, capsize=3, markersize=4)
        axes.set(xlim=(0, most), ylim=(0, None), xlabel="预测违约概率 predicted", ylabel="实际违约率 observed")

    return _svg(draw, "校准 reliability")


def roc(labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> Markup:
    """ROC curves by name."""
    from sklearn.metrics import roc_auc_score, roc_curve

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for (name, p), colour in zip(probabilities.items(), (A, B), strict=False):
            false, true, _ = roc_curve(labels, p)
            axes.plot(false, true, color=colour, label=f"{name} AUC {roc_auc_score(labels, p):.3f}")
        axes.legend(frameon=False, loc="lower right")
        axes.set(xlabel="误报率 false positives", ylabel="命中率 true positives", xlim=(0, 1), ylim=(0, 1))

    return _svg(draw, "ROC")


def separation(labels: np.ndarray, probability: np.ndarray) -> Markup:
    """The shares of good and bad up to each probability; their largest distance is the KS."""

    def draw(axes: Axes) -> None:
        for value, colour, name in ((0, GOOD, "正常 paid"), (1, BAD, "违约 defaulted")):
            chosen = np.sort(probability[labels == value])
            axes.plot(chosen, np.arange(1, len(chosen) + 1) / len(chosen), color=colour, label=name)
        grid = np.sort(probability)
        by = [np.sort(probability[labels == value]) for value in (0, 1)]
        good, bad = (np.searchsorted(chosen, grid, "right") / len(chosen) for chosen in by)
        at = int(np.argmax(good - bad))
        axes.vlines(grid[at], bad[at], good[at], color=GREY, linestyle="--")
        middle = (grid[at], (good[at] + bad[at]) / 2)
        axes.annotate(f"KS {good[at] - bad[at]:.3f}", middle, xytext=(6, 0), textcoords="offset points")
        axes.legend(frameon=False, loc="lower right")
        axes.set(xlabel="预测违约概率 predicted", ylabel="累计占比 share up to it", ylim=(0, 1), xlim=(0, None))

    return _svg(draw, "KS")


def scores(points: np.ndarray, labels: np.ndarray) -> Markup:
    """Distribution of the points by outcome."""

    def draw(axes: Axes) -> None:
        bins = np.linspace(points.min(), points.max() + 1e-9, 31).tolist()
        for value, colour, name in ((0, GOOD, "正常 paid"), (1, BAD, "违约 defaulted")):
            axes.hist(points[labels == value], bins=bins, density=True, alpha=0.55, color=colour, label=name)
        axes.legend(frameon=False)
        axes.set(xlabel="评分 points", ylabel="密度 density")

    return _svg(draw, "评分分布 score distribution")


def bars(names: Sequence[str], values: Sequence[float], title: str, label: str) -> Markup:
    """Horizontal bars, the first on top."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, color=A)
        axes.set_yticks(places, names, fontsize=8)
        axes.set_xlabel(label, loc="right")

    # Names of features are long: the bars get what they leave.
    return _svg(draw, title, (9.5, 0.6 + 0.24 * max(len(names), 4)))


def beside(names: Sequence[str], series: Series, title: str, label: str) -> Markup:
    """Dots by name, one row a name, the first on top; NaN is left out."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(names))[::-1]
        for (name, values), colour, shape in zip(series.items(), (A, B, GOOD), "osD", strict=False):
            axes.plot(np.asarray(values, dtype=float), places, shape, color=colour, label=name, markersize=6)
        axes.set_yticks(places, names, fontsize=9)
        axes.grid(axis="y", color="0.9")
        axes.set_xlabel(label, loc="right")
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.06), ncols=1)

    return _svg(draw, title, (9.5, 1.6 + 0.3 * max(len(names), 4)))


def by_month(months: Sequence[str], series: Series, title: str, **options: Any) -> Markup:
    """Lines over months; NaN leaves a gap.

    Args:
        months: ``YYYY-MM``, in order.
        series: by name.
        title: of the plot.
        options: ``limit`` a dashed line, ``seen`` how many of the first months were learnt from, ``errors`` half the
            width of a band by name of series.
    """

    def draw(axes: Axes) -> None:
        places = np.arange(len(months))
        if options.get("seen"):
            axes.axvspan(-0.5, options["seen"] - 0.5, color="0.5", alpha=0.12, linewidth=0)
        for (name, values), colour in zip(series.items(), (A, B, GOOD, BAD), strict=False):
            line = np.asarray(values, dtype=float)
            axes.plot(places, line, marker="o", markersize=3, color=colour, label=name)
            if name in options.get("errors", {}):
                half = np.asarray(options["errors"][name], dtype=float)
                axes.fill_between(places, line - half, line + half, color=colour, alpha=0.15, linewidth=0)
        if options.get("limit") is not None:
            axes.axhline(options["limit"], color=BAD, linestyle="--", linewidth=1)
        step = max(1, len(months) // 8)
        axes.set_xticks(places[::step], list(months)[::step], rotation=30, fontsize=8)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=8)

    return _svg(draw, title)


def agreement(labels: np.ndarray, p: np.ndarray) -> Markup:
    """Probabilities by two versions, one point a row; ``p`` has shape (rows, 2)."""

    def draw(axes: Axes) -> None:
        most = float(p.max()) * 1.05
        axes.plot([0, most], [0, most], color=GREY, linewidth=1)
        for value, colour, name in ((0, GOOD, "正常 paid"), (1, BAD, "违约 defaulted")):
            chosen = p[labels == value][:MOST_POINTS]
            axes.scatter(chosen[:, 0], chosen[:, 1], s=6, alpha=0.5, color=colour, label=name, linewidths=0)
        axes.legend(frameon=False)
        axes.set(xlabel="A", ylabel="B", xlim=(0, most), ylim=(0, most))

    return _svg(draw, "两版本的概率 probabilities by both")
