from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from credit301.sources.batches import Store
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.unit.expectations.test_validation import changed, judge
from tests.unit.sources.exchange import Exchange, sales


class _Loaded(HTMLParser):
    """Addresses that a browser would load without being asked."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(values.get("src") or "")
        if tag == "link":
            self.addresses.append(values.get("href") or "")


@pytest.fixture
def site(tiny: TinyWorkspace, exchange: Exchange) -> Path:
    """Data docs of a batch with one row in quarantine, whose bad value is personal."""
    from expectations.docs import build

    tiny.replace("{value: services}], classification: internal", "{value: services}], classification: personal")
    judge(tiny, exchange, [changed(0, kind="secret-kind"), changed(1, month="<b>March</b>"), *sales(98, start=2)])
    return build(tiny.load())


def test_pages_load_nothing_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 4
    for page in pages:
        parser = _Loaded()
        parser.feed(page.read_text(encoding="utf-8"))
        assert [address for address in parser.addresses if re.match(r"(https?:)?//", address)] == []
        for address in parser.addresses:
            if address.endswith("offline.css"):
                assert (page.parent / address).resolve().is_file()


def test_suite_and_results_of_the_source_have_pages(site: Path) -> None:
    assert (site / "expectations" / "sales.html").is_file()
    assert list((site / "validations" / "sales").rglob("*.html"))


def test_the_start_page_says_in_both_languages_how_each_source_fared_and_links_to_its_pages(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    for word in ("数据质量", "Data docs", "接受", "accepted", "销售"):
        assert word in text
    links = re.findall(r'href="([^"]+\.html)"', text)
    assert {"quarantine.html", "expectations/sales.html"} < set(links)
    assert all((site / link).is_file() for link in links)


def test_no_value_of_a_row_is_in_the_data_docs(site: Path) -> None:
    assert not [page for page in site.rglob("*.html") if "secret-kind" in page.read_text(encoding="utf-8")]


def test_the_quarantine_page_speaks_both_languages_and_escapes_what_was_sent(site: Path) -> None:
    page = (site / "quarantine.html").read_text(encoding="utf-8")
    assert "隔离区" in page
    assert "Rows in quarantine" in page
    assert "kind_in_set" in page
    assert "&lt;b&gt;March&lt;/b&gt;" in page
    assert "<b>March</b>" not in page


def test_the_quarantine_page_names_a_refused_batch(tiny: TinyWorkspace, exchange: Exchange, tmp_path: Path) -> None:
    from expectations.docs import write_quarantine_page

    _, verdict = judge(tiny, exchange, [changed(number, kind="x") for number in range(10)])
    write_quarantine_page(tiny.load(), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"{verdict.pull_id}</code>: kind_in_set" in page


def test_an_empty_quarantine_is_said_to_be_empty(tiny_workspace: Workspace, store: Store, tmp_path: Path) -> None:
    from expectations.docs import write_quarantine_page

    write_quarantine_page(tiny_workspace, tmp_path / "page.html")
    assert "The quarantine is empty." in (tmp_path / "page.html").read_text(encoding="utf-8")
