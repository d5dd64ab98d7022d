"""What a training found, in plain words: whether the ensemble wins, by how much, and what it keeps without a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training import metrics

if TYPE_CHECKING:
    from training.evaluation import Evaluation, Model

BEYOND_CHANCE = 2.0
"""Standard errors beyond which a difference is called one."""

NEAR = 0.01
"""Distance to the best possible AUC that is asked for (B7)."""

ONLY_ONE = 1


def against(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The ensemble beside each peer on the same rows: ``peer``, ``auc``, ``difference`` and its standard ``error``.

    Where rows were tested in several repeats, the differences are means over them, and so are the errors.
    """
    found = []
    for model in evaluation.models:
        if model.level != "baseline":
            continue
        pairs = zip(evaluation.ensemble.probability, model.probability, strict=True)
        differences = [metrics.auc_difference(evaluation.labels, mine, theirs) for mine, theirs in pairs]
        found.append(
            {
                "peer": model.name,
                "auc": round(model.metrics.auc, 6),
                "difference": round(sum(d for d, _ in differences) / len(differences), 6),
                "error": round(sum(e for _, e in differences) / len(differences), 6),
            }
        )
    return found


def reduced(evaluation: Evaluation) -> list[dict[str, Any]]:
    """AUC of the ensemble for each subset that was measured, beside the peer trained without the lost source."""
    names = [source.model.spec.name for source in evaluation.fitted.sources]
    return [
        {
            "kept": list(item.kept),
            "lost": [name for name in names if name not in item.kept],
            "auc": round(item.auc, 6),
            "peer": None if item.peer is None else round(item.peer, 6),
        }
        for item in evaluation.reduced
    ]


def whole(evaluation: Evaluation) -> dict[str, Any]:
    """AUC of the ensemble with all its sources on the rows of :func:`reduced`, and how many these are."""
    return {"auc": round(evaluation.whole.auc, 6), "rows": evaluation.whole.rows}


def calibration(evaluation: Evaluation) -> dict[str, float]:
    """Expected calibration error of the ensemble, what chance makes of a right model, and both mean probabilities."""
    model: Model = evaluation.ensemble
    return {
        "ece": round(model.metrics.ece, 6),
        "ece_by_chance": round(model.metrics.ece_by_chance, 6),
        "predicted": round(float(model.probability.mean()), 6),
        "observed": round(float(evaluation.labels.mean()), 6),
    }


def words(results: dict[str, Any]) -> dict[str, str]:
    """One paragraph in each language, from what is in ``results`` (as the report keeps it)."""
    auc = next(model["auc"] for model in results["models"] if model["level"] == "ensemble")
    zh, en = [], []
    for peer in results["against"]:
        title = _title(results, peer["peer"])
        by, error = peer["difference"], peer["error"]
        zh.append(f"{_verb_zh(by, error)}{title['zh']}（AUC {peer['auc']:.4f}，差 {by:+.4f} ± {error:.4f}）")
        en.append(f"{_verb_en(by, error)} {title['en']} ({peer['auc']:.4f}, by {by:+.4f} +- {error:.4f})")
    said_zh, said_en = (
        f"集成模型 AUC {auc:.4f}：" + "；".join(zh) + "。",
        f"The ensemble (AUC {auc:.4f}) " + "; ".join(en) + ".",
    )
    if any(peer["difference"] <= 0 for peer in results["against"]):
        why_zh, why_en = _why(results)
        said_zh, said_en = said_zh + why_zh, f"{said_en} {why_en}"
    for more_zh, more_en in (_lost(results), _limit(results, auc)):
        said_zh, said_en = said_zh + more_zh, f"{said_en} {more_en}".rstrip()
    return {"zh": said_zh, "en": said_en}


def _lost(results: dict[str, Any]) -> tuple[str, str]:
    lost = [item for item in results["reduced"] if item["peer"] is not None]
    if not lost:
        return "", ""
    won = sum(item["auc"] > item["peer"] for item in lost)
    worst = min(lost, key=lambda item: float(item["auc"]))
    name, auc = worst["lost"][0], worst["auc"]
    zh = f"缺任一来源且不重训时，{won}/{len(lost)} 优于为此重训的单一模型；代价最大的是 {name}（{auc:.4f}）。"
    en = (
        f"With one source lost and nothing trained again it is above the one LightGBM trained without it for {won} of "
        f"{len(lost)} sources; {name} costs most ({auc:.4f})."
    )
    return zh, en


def _limit(results: dict[str, Any], auc: float) -> tuple[str, str]:
    limit = results.get("limit")
    if not limit:
        return "", ""
    gap = limit["auc"] - auc
    zh = f"距模拟真值上限 {limit['auc']:.4f} 尚差 {gap:.4f}"
    en = f"It is {gap:.4f} below the simulator's own probabilities ({limit['auc']:.4f})"
    if gap <= NEAR:
        return f"{zh}，在 {NEAR} 以内。", f"{en}, within {NEAR}."
    return (
        f"{zh}，超过 {NEAR}：特征只部分反映真实驱动因素，其余因违约样本不足。",
        f"{en}, more than {NEAR}: features see the true drivers in part, and the rest is for want of defaults.",
    )


def _title(results: dict[str, Any], name: str) -> dict[str, str]:
    title: dict[str, str] = next(model["title"] for model in results["models"] if model["name"] == name)
    return title


def _verb_zh(difference: float, error: float) -> str:
    if difference > 0:
        return "优于" if difference > BEYOND_CHANCE * error else "略优于（未超出随机误差）"
    return "劣于" if -difference > BEYOND_CHANCE * error else "不优于（差异在随机误差内）"


def _verb_en(difference: float, error: float) -> str:
    if difference > 0:
        return "beats" if difference > BEYOND_CHANCE * error else "is above, though not beyond chance,"
    return "is beaten by" if -difference > BEYOND_CHANCE * error else "does not beat, within chance,"


def _why(results: dict[str, Any]) -> tuple[str, str]:
    """Why the ensemble does not win, as far as the numbers tell."""
    sources = [model for model in results["models"] if model["level"] == "source"]
    defaults = results["calibration"]["observed"] * results["test_rows"]
    if len(sources) == ONLY_ONE:
        return (
            "只有一个来源有子模型，集成无可合成。",
            "Only one source has a sub-model, so there is nothing to combine.",
        )
    return (
        f"检验集约 {defaults:.0f} 笔违约，差异小于其所能分辨；集成的价值在于逐源评分、可解释与缺源可用。",
        (
            f"The test's {defaults:.0f} defaults tell no smaller differences apart; what the ensemble gives here is a "
            "score for each source, exact reasons, and sources that may be missing."
        ),
    )
