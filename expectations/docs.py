"""Data docs: the pages of Great Expectations made to work without a network, and the page of the quarantine."""

from __future__ import annotations

import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from credit301.coverage import overlap_said, period
from credit301.sources.batches import Store
from credit301.sources.coverage import coverage_of
from credit301.sources.quarantine import MASK, quarantined_rows, reasons
from credit301.sources.repairs import LABELS
from credit301.workspace import Workspace

QUARANTINE_PAGE = "quarantine.html"
COVERAGE_PAGE = "coverage.html"
STYLE = "offline.css"
_REMOTE = re.compile(
    r"""<link\b[^>]*\bhref=["']https?://[^>]*>|<script\b[^>]*\bsrc=["']https?://[^>]*>\s*</script>""",
    re.IGNORECASE | re.DOTALL,
)

# The logo comes with GX; its pages ask a server for it, and tell it who asks.
_LOGO = re.compile(r"""https?://[^"']*/(logo-long\.png)\?[^"']*""")


def build(workspace: Workspace) -> Path:
    """Build all pages anew; return their directory, whose ``index.html`` is the start."""
    from expectations.context import docs_directory, keep_suite, open_context
    from expectations.suites import build_suite

    directory = docs_directory(workspace)
    shutil.rmtree(directory, ignore_errors=True)
    context = open_context(workspace)
    for contract in workspace.sources.values():
        keep_suite(context, build_suite(contract, workspace.definition.ingest.tolerance))
    # GX's own start page is replaced below.
    context.build_data_docs(build_index=False)
    _take_offline(directory)
    write_quarantine_page(workspace, directory / QUARANTINE_PAGE)
    write_coverage_page(workspace, directory / COVERAGE_PAGE)
    write_index(workspace, directory)
    return directory


def write_quarantine_page(workspace: Workspace, path: Path) -> None:
    """Write the page that says, in both languages, how many rows of which source wait for which reason."""
    stores = [Store(workspace, name) for name in workspace.sources]
    page = _template("quarantine.html.j2").render(
        title=workspace.title,
        sources=[_source(store) for store in stores],
        reasons=reasons(workspace, stores),
        mask=MASK,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def write_coverage_page(workspace: Workspace, path: Path) -> None:
    """Write the page of what was read, refused, repaired and landed of each source, and whom it tells about."""
    found = coverage_of(workspace)
    page = _template("coverage.html.j2").render(
        title=workspace.title,
        label=workspace.entity.label,
        found=found,
        holders=[source for source in found.sources if source.entities],
        said=overlap_said(found).splitlines(),
        contracts=workspace.sources,
        period=period,
        repairs_named=LABELS,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def write_index(workspace: Workspace, directory: Path) -> None:
    """Write the start page over that of GX, whose tables need scripts from the network: newest results by source."""
    sources = [_newest(Store(workspace, name), directory) for name in workspace.sources]
    page = _template("index.html.j2").render(
        title=workspace.title, quarantine=QUARANTINE_PAGE, coverage=COVERAGE_PAGE, sources=sources
    )
    (directory / "index.html").write_text(page, encoding="utf-8")


def _template(name: str) -> Template:
    environment = Environment(loader=PackageLoader("expectations"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)


def _newest(store: Store, directory: Path) -> dict[str, Any]:
    """The newest batch that was judged: its verdict, and its pages relative to ``directory``."""
    results = sorted((directory / "validations" / store.source).glob("*/*/*.html"), key=lambda page: page.parent.name)
    verdict = store.verdict(results[-1].parents[1].name) if results else None
    return {
        "name": store.source,
        "title": store.contract.title,
        "owner": store.contract.owner,
        "suite": f"expectations/{store.source}.html",
        "result": results[-1].relative_to(directory).as_posix() if results else None,
        "judged": results[-1].parent.name if results else "",
        "verdict": verdict,
        "failed": sum(not check.success for check in verdict.checks.values()) if verdict else 0,
    }


def _source(store: Store) -> dict[str, Any]:
    batch = store.pending()
    verdict = store.verdict(batch.pull_id) if batch else None
    refused = verdict if verdict and not verdict.accepted else None
    return {
        "title": store.contract.title,
        "name": store.source,
        "rows": quarantined_rows(store),
        "suite": f"expectations/{store.source}.html",
        "refused": refused,
        "failed": refused.failed() if refused else [],
    }


def _take_offline(directory: Path) -> None:
    """Replace what the pages would load from the network by one style sheet beside them."""
    style = files("expectations").joinpath("templates", STYLE).read_text(encoding="utf-8")
    (directory / STYLE).write_text(style, encoding="utf-8")
    for page in directory.rglob("*.html"):
        up = "../" * (len(page.relative_to(directory).parts) - 1)
        text = _REMOTE.sub("", _LOGO.sub(rf"{up}static/images/\1", page.read_text(encoding="utf-8")))
        page.write_text(
            text.replace("</head>", f'<link rel="stylesheet" href="{up}{STYLE}">\n</head>', 1), encoding="utf-8"
        )
