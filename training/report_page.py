"""The training report as a page: verdict, models, calibration, and what is left without each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training import plots, reject_page
from training.pages import render
from training.report import LEVELS, TITLES, lost_sources

if TYPE_CHECKING:
    import numpy as np

    from credit301.workspace import Workspace

PAGE = "training.html"


def page(workspace: Workspace, results: dict[str, Any], labels: np.ndarray, probability: np.ndarray) -> str:
    """The page's HTML.

    Args:
        workspace: its titles.
        results: of the training, as the report keeps them.
        labels: of the tested rows, shape (rows,).
        probability: of the ensemble on them, shape (rows,).
    """
    limit = results["limit"]
    lost = lost_sources(results)
    others = [item for item in results["reduced"] if item not in lost]
    whole = results["whole"]["auc"]
    study, study_plot = reject_page.read(workspace)
    return render(
        "training.html.j2",
        workspace,
        results=results,
        defaults=int(labels.sum()),
        against=[(_named(i["peer"]), i["auc"], f"{i['difference']:+.4f}", i["error"]) for i in results["against"]],
        models=[
            (
                " ".join(dict.fromkeys((model["title"]["zh"], model["title"]["en"]))),
                f"{LEVELS[model['level']]} {model['level']}",
                *(model[name] for name in ("auc", "auc_spread", "ks", "brier")),
            )
            for model in [*results["models"], *([limit] if limit else [])]
        ],
        tuned=_tuned(workspace, results["tuned"] or []),
        lost=[(i["lost"][0], i["auc"], f"{i['auc'] - whole:+.4f}", i["peer"], _above(i)) for i in lost],
        subsets=[(", ".join(item["kept"]), item["auc"]) for item in others],
        subsets_title=_title_of(others),
        sources=[(s["name"], s["rows"], f"{s['share']:.1%}", s["model"].replace("_", " ")) for s in results["sources"]],
        study=study,
        study_plot=study_plot,
        plots=[plots.calibration(labels, probability), plots.roc(labels, {_curve(results): probability})],
    )


def _above(item: dict[str, Any]) -> str | None:
    """By how much the ensemble is above the peer, where there is one."""
    return None if item["peer"] is None else f"{item['auc'] - item['peer']:+.4f}"


def _tuned(workspace: Workspace, found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """A row for each sub-model whose parameters a search changed."""
    numbers = ("num_leaves", "learning_rate", "lambda_l2", "min_data_in_leaf", "feature_fraction", "bagging_fraction")
    return [
        (
            f"{workspace.source(one['name']).title.zh} {one['name']}",
            *(one["parameters"][number] for number in numbers),
            "是 yes" if one["parameters"]["extra_trees"] else "否 no",
        )
        for one in found
    ]


def _curve(results: dict[str, Any]) -> str:
    """What the curve is of: with repeats, of each row's mean probability, whose AUC is not the mean of the AUCs."""
    repeated = results["split"].get("repeats", 1) > 1
    return "集成（重复均值）mean of repeats" if repeated else "集成 ensemble"


def _named(peer: str) -> str:
    return f"{TITLES[peer]['zh']} {TITLES[peer]['en']}"


def _title_of(others: list[dict[str, Any]]) -> dict[str, str]:
    alone = all(len(item["kept"]) == 1 for item in others)
    return {"zh": "单一来源", "en": "each source alone"} if alone else {"zh": "其余各组合", "en": "all other subsets"}
