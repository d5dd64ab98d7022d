"""What the study of reject inference found, printed, kept beside the reports, and as a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from credit301.console import say, show_table
from credit301.files import replacing
from training import leakage, pages, plots, reject_study
from training.dataset import check_columns
from training.specs import source_specs

if TYPE_CHECKING:
    from markupsafe import Markup

    from credit301.workspace import Workspace
    from training.dataset import TrainingSet

HEADINGS = ("method 方法", "AUC", "KS", "ECE", "predicted 预测", "observed 实际", "difference 差", "± ")


def show(workspace: Workspace, data: TrainingSet, *, declined: float, lane: float) -> dict[str, Any]:
    """Make the study, print it, keep it for the training report, and write its page.

    Raises:
        ModelError: the data or their split do not allow it, or a column knows what nobody can know.
    """
    specs = source_specs(workspace)
    check_columns(data, specs)
    leakage.check(data, specs)
    known = data.known([item.column for spec in specs for item in spec.inputs])
    found = reject_study.study(
        workspace, data if known.all() else data.where(known), specs, declined=declined, lane=lane
    )
    found["words"] = reject_study.words(found)
    path = workspace.paths.reports / reject_study.FILE
    with replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    for bank, title in reject_study.BANKS.items():
        names = ("auc", "ks", "ece", "predicted", "observed", "difference", "error")
        rows = [[row["title"]["zh"], *(row[name] for name in names)] for row in found["rows"] if row["bank"] == bank]
        show_table(f"{title['zh']} {title['en']}", HEADINGS, rows)
    for text in found["words"].values():
        say(text)
    html = pages.render("reject_inference.html.j2", workspace, study=_tables(found), plot=plot(found))
    return {**found, "page": str(pages.write(workspace, pages.REJECTS, html))}


def read(workspace: Workspace) -> tuple[dict[str, Any], Markup] | tuple[None, None]:
    """The last study for a page, with its plot; two times ``None`` where there was none."""
    path = workspace.paths.reports / reject_study.FILE
    if not path.is_file():
        return None, None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return _tables(found), plot(found)


def plot(found: dict[str, Any]) -> Markup:
    """AUC on all who applied, by method, of both banks."""
    methods = [row["method"] for row in found["rows"]]
    titles = {row["method"]: row["title"]["zh"] for row in found["rows"]}
    by_bank = {
        f"{title['zh']} {title['en']}": {row["method"]: row["auc"] for row in found["rows"] if row["bank"] == bank}
        for bank, title in reject_study.BANKS.items()
    }
    return plots.beside(
        [titles[name] for name in dict.fromkeys(methods)],
        {title: [of.get(name, float("nan")) for name in dict.fromkeys(methods)] for title, of in by_bank.items()},
        "对全部申请人的排序能力 ranking of all who applied",
        "AUC",
    )


def _tables(found: dict[str, Any]) -> dict[str, Any]:
    """``found`` with a table a bank."""
    tables = [
        (
            title,
            [
                (
                    f"{row['title']['zh']} {row['title']['en']}",
                    *(row[name] for name in ("auc", "ks", "brier", "ece")),
                    *(f"{row[name]:.2%}" for name in ("predicted", "observed")),
                    *_apart(row),
                )
                for row in found["rows"]
                if row["bank"] == bank
            ],
        )
        for bank, title in reject_study.BANKS.items()
    ]
    return {**found, "tables": tables}


def _apart(row: dict[str, Any]) -> tuple[str | None, float | None]:
    """A method's distance from the accepted-only model, and its error; nothing for that model itself."""
    if row["method"] == reject_study.ACCEPTED:
        return None, None
    return f"{row['difference']:+.4f}", row["error"]
