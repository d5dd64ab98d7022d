"""The plots of a training run, as PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from training.metrics import reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "SimHei")


def figures(labels: np.ndarray, probability: np.ndarray) -> dict[str, bytes]:
    """PNG by file name: reliability and score distribution of ``probability``, shape (rows,), against ``labels``."""
    return {
        "reliability.png": _png(_reliability(labels, probability)),
        "score_distribution.png": _png(_distribution(labels, probability)),
    }


def cjk_font() -> str | None:
    """A font on this machine that can write Chinese, if there is one."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CJK_FONTS if name in installed), None)


def _label(en: str, zh: str) -> str:
    return f"{en}  {zh}" if cjk_font() else en


def _figure() -> Figure:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    if font := cjk_font():
        mpl.rcParams["font.sans-serif"] = [font, "DejaVu Sans"]
    return Figure(figsize=(6.0, 4.5), layout="constrained")


def _reliability(labels: np.ndarray, probability: np.ndarray) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    predicted, observed, rows = reliability(labels, probability)
    # Two standard errors of a share: what chance alone would move a point by.
    error = 2 * np.sqrt(np.maximum(predicted * (1 - predicted), 1e-9) / rows)
    most = float(max(predicted.max(), observed.max(), 1e-6)) * 1.1
    axes.plot([0, most], [0, most], color="0.6", linewidth=1)
    axes.errorbar(predicted, observed, yerr=error, fmt="o", color="#1f5f99", capsize=3, markersize=4)
    axes.set(xlim=(0, most), ylim=(0, None))
    axes.set_xlabel(_label("predicted probability of default", "预测违约概率"))
    axes.set_ylabel(_label("observed share of defaults", "实际违约比例"))
    axes.set_title(_label("Calibration on the test", "测试集校准"))
    return figure


def _distribution(labels: np.ndarray, probability: np.ndarray) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    bins = np.linspace(0, float(probability.max()) or 1.0, 31).tolist()
    for value, color, name in ((0, "#3a8f5c", _label("paid", "正常")), (1, "#b5413b", _label("defaulted", "违约"))):
        axes.hist(probability[labels == value], bins=bins, density=True, alpha=0.6, color=color, label=name)
    axes.set_xlabel(_label("predicted probability of default", "预测违约概率"))
    axes.set_ylabel(_label("density", "密度"))
    axes.set_title(_label("Distribution on the test", "测试集得分分布"))
    axes.legend()
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
