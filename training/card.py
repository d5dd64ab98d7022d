"""The model card and governance pack of one version: what somebody who answers for it wants to see, on one page."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from credit301.contracts.model import Classification
from credit301.model import promotions, stewardship
from credit301.model.scorer import Scorer
from training import gate, metrics, pages, plots, registry, stability, tracking, versions
from training.dataset import LABEL
from training.frames import matrix
from training.groups import groups
from training.report import LEVELS, lost_sources

if TYPE_CHECKING:
    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace
    from training.versions import Version

ARTIFACT = "governance"
IMPORTANT = 20
EXPLAINED_ROWS = 400
PROBABILITY = tracking.PROBABILITY


@dataclass(frozen=True)
class Tested:
    """The tested rows: features, outcomes, and probabilities from models that had not seen them."""

    rows: pd.DataFrame
    labels: np.ndarray
    probability: np.ndarray


def write(workspace: Workspace, which: str | None = None) -> dict[str, Any]:
    """Write the page of a version (number or alias; default: the newest) into the site and to MLflow; where it is.

    Raises:
        NotFound: there is no such version.
    """
    version = versions.find(workspace, which)
    html = pages.render("card.html.j2", workspace, **_content(workspace, version))
    path = pages.write(workspace, f"version-{version.number}", html)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model-card-{version.number}.html"
        copy.write_text(html, encoding="utf-8")
        version.client.log_artifact(version.run_id, str(copy), ARTIFACT)
    return {"version": version.number, "page": str(path), "artifact": f"{ARTIFACT}/model-card-{version.number}.html"}


def _content(workspace: Workspace, version: Version) -> dict[str, Any]:
    tested = _tested(version)
    bundle = version.bundle
    rules = stewardship.load(workspace)
    records = promotions.read(workspace)
    models = json.loads(version.artifact("models.json") or "{}")
    digest = version.tags.get(registry.TAG_SHA256, "")
    return {
        "version": version,
        "manifest": bundle.manifest,
        "rules": rules,
        "digest": digest,
        "approval": promotions.approval(records, version.number, digest),
        "records": [record for record in records if record.version == version.number],
        "aliases": [
            stewardship.TITLES[alias]
            for alias in stewardship.ALIASES
            if (held := promotions.holder(records, alias)) and held.version == version.number
        ],
        "gate": _gate(version),
        "verdict": version.tags.get(registry.TAG_GATE, ""),
        "measured": metrics.measure(tested.labels, tested.probability),
        "tested": tested,
        "models": [
            [
                _name(model),
                f"{LEVELS[model['level']]} {model['level']}",
                *(model[name] for name in ("auc", "auc_spread", "ks", "brier")),
            ]
            for model in models.get("models", [])
        ],
        "plots": _plots(version, tested),
        "importance": _importance(bundle, tested),
        "lost": _lost(bundle, tested, models),
        "moved": _moved(version, tested),
        "segments": _segments(rules, bundle, tested),
        "sources": _sources(workspace, bundle),
        "monitored": _monitored(workspace, rules, bundle),
    }


def _tested(version: Version) -> Tested:
    rows = version.test_rows()
    known = rows[PROBABILITY].notna()
    rows = rows[known].reset_index(drop=True)
    return Tested(rows, rows[LABEL].to_numpy(dtype=int), rows[PROBABILITY].to_numpy(dtype=float))


def _plots(version: Version, tested: Tested) -> list[Any]:
    # Of what models that had not seen them said of the rows: the one that ships may have learnt from them.
    points = versions.points_of(version.bundle, tested.probability)
    return [
        plots.roc(tested.labels, {"": tested.probability}),
        plots.separation(tested.labels, tested.probability),
        plots.calibration(tested.labels, tested.probability),
        plots.scores(points, tested.labels),
    ]


def _importance(bundle: Bundle, tested: Tested) -> dict[str, Any]:
    """Mean size of each feature's contribution, in log-odds, and how exactly the contributions add up to the score."""
    scorer = Scorer(bundle)
    vectors = matrix(scorer, tested.rows.head(EXPLAINED_ROWS))
    vectors = vectors[~np.isnan(vectors).all(axis=1)]
    total: dict[str, float] = {}
    gap = 0.0
    for vector in vectors:
        score = scorer.score(vector)
        for key, value in score.contributions.items():
            total[key] = total.get(key, 0.0) + abs(value) / len(vectors)
        gap = max(gap, abs(score.baseline + sum(s.contribution for s in score.sources) - score.log_odds))
    labels = {
        f"{view.name}:{f.name}": f.label.zh if f.label else "" for view in bundle.manifest.views for f in view.features
    }
    strongest = sorted(total.items(), key=lambda item: -item[1])[:IMPORTANT]
    names = [f"{labels.get(key, '')} {key}" for key, _ in strongest]
    plot = plots.bars(
        names, [value for _, value in strongest], "全局重要性 global importance", "平均贡献 mean contribution, log-odds"
    )
    return {"plot": plot, "rows": len(vectors), "gap": gap}


def _lost(bundle: Bundle, tested: Tested, recorded: dict[str, Any]) -> dict[str, Any]:
    """AUC with each source lost, by models that have not seen the rows: tested by folds, as training ``recorded`` it.

    ``whole`` is the AUC with all sources, and on how many rows; empty where a training by folds has not recorded it.
    """
    nested = bool(bundle.manifest.metrics.get("nested"))
    if nested:
        whole = recorded.get("whole", {})
        titles = {view.name: view.title.zh if view.title else "" for view in bundle.manifest.views}
        rows = [
            [f"{titles.get(name, '')} {name}", item["auc"], item["auc"] - whole["auc"], whole["rows"]]
            for item in lost_sources(recorded if whole else {})
            for name in item["lost"]
        ]
    else:
        said = versions.probabilities(bundle, tested.rows)
        known = ~np.isnan(said)
        whole = {"auc": metrics.measure(tested.labels[known], said[known]).auc, "rows": int(known.sum())}
        rows = _without(bundle, tested, said)
    return {"whole": whole, "rows": sorted(rows, key=lambda row: float(row[2])), "nested": nested}


def _without(bundle: Bundle, tested: Tested, whole: np.ndarray) -> list[list[Any]]:
    """AUC of the shipped model on the test with each source lost, and on how many rows another one has data.

    ``whole`` is what it says of each row with all sources.
    """
    rows = []
    for view in bundle.manifest.views:
        columns = [f"{view.name}__{feature.name}" for feature in view.features]
        lost = tested.rows.copy()
        lost[[name for name in columns if name in lost]] = None
        p = versions.probabilities(bundle, lost)
        known = ~np.isnan(p) & ~np.isnan(whole)
        labels = tested.labels[known]
        if 0 < labels.sum() < len(labels):
            auc = metrics.measure(labels, p[known]).auc
            change = auc - metrics.measure(labels, whole[known]).auc
            rows.append([f"{view.title.zh if view.title else ''} {view.name}", auc, change, int(known.sum())])
    return rows


def _moved(version: Version, tested: Tested) -> list[list[Any]]:
    """The features that moved most between the rows learnt from and the test."""
    with tempfile.TemporaryDirectory() as folder:
        reference = tracking.read_reference_rows(version.client, version.run_id, Path(folder))
    if reference is None:
        return []
    names = [str(name) for name in reference if name != LABEL]
    found = stability.of_features(reference, tested.rows, names)
    strongest = sorted(found.items(), key=lambda item: -item[1].excess)[: IMPORTANT // 2]
    score = stability.psi(
        versions.probabilities(version.bundle, reference), versions.probabilities(version.bundle, tested.rows)
    )
    return [["评分 score", score.value, score.excess], *([name, psi.value, psi.excess] for name, psi in strongest)]


def _segments(rules: stewardship.Stewardship, bundle: Bundle, tested: Tested) -> list[tuple[Any, list[list[Any]]]]:
    found = groups(rules.segments, tested.rows, tested.labels, tested.probability, versions.cut_off(bundle))
    least = rules.monitoring.minimum_defaults
    return [
        (
            segment.title,
            [
                [
                    g.value,
                    g.rows,
                    g.defaults,
                    g.approved,
                    g.good_approved,
                    g.auc if g.defaults >= least else None,
                    g.expected,
                    g.observed,
                ]
                for g in found
                if g.segment == segment.feature
            ],
        )
        for segment in rules.segments
    ]


def _sources(workspace: Workspace, bundle: Bundle) -> list[dict[str, Any]]:
    """The contracts that the model stands on, with what of each it reads."""
    views = {view.name: view for view in bundle.manifest.views}
    found = []
    for contract in workspace.featured():
        if contract.name not in views:
            continue
        used = {feature.name for feature in views[contract.name].features}
        read = sorted({column for f in contract.features if f.name in used for column in f.reads})
        personal = [c.name for c in contract.columns if c.classification is Classification.PERSONAL]
        found.append({"contract": contract, "features": len(used), "read": read, "personal": personal})
    return found


def _gate(version: Version) -> list[list[str]]:
    report = json.loads(version.tags.get(registry.TAG_REPORT, "{}"))
    return [
        [" ".join(gate.TITLES.get(name, (name, ""))), "通过 passed" if passed else "未通过 refused", value, limit]
        for name, passed, value, limit in report.get("checks", [])
    ]


def _monitored(workspace: Workspace, rules: stewardship.Stewardship, bundle: Bundle) -> list[Any]:
    path = workspace.paths.monitoring / f"{bundle.version}.parquet"
    if not path.is_file():
        return []
    return pages.month_plots(pd.read_parquet(path), rules.monitoring.maximum_score_psi)


def _name(model: dict[str, Any]) -> str:
    return " ".join(dict.fromkeys((model["title"]["zh"], model["title"]["en"])))
