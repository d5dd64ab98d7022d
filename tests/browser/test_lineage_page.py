"""The lineage page in a real browser: a column is found and picked, its whole path is drawn."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from credit301.governance.lineage import page as lineage_page
from credit301.governance.lineage.from_contracts import contract_lineage

if TYPE_CHECKING:
    from credit301.workspace import Workspace

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def test_a_source_column_is_found_and_its_path_to_the_reasons_is_drawn(wuhan: Workspace) -> None:
    from playwright.sync_api import expect, sync_playwright

    address = lineage_page.write(wuhan, contract_lineage(wuhan)).as_uri()
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.get_by_role("searchbox").fill("申报销售额 declared_sales")
        page.locator("#list button", has_text="源列").first.click()
        expect(page.locator("#picked")).to_have_text("tax_declaration.declared_sales")
        boxes = page.locator("#graph .node")
        expect(boxes.filter(has_text="stg_tax_declaration")).to_have_count(1)
        expect(page.locator("#reasons")).to_contain_text("近12个月申报销售额较低")
        expect(page.locator("#reasons")).to_contain_text("Declared sales in 12 months are low")

        boxes.filter(has_text="sales_volatility").nth(1).hover()
        expect(page.locator("#graph .node.hot").filter(has_text="stg_tax_declaration")).to_have_count(1)
        expect(page.locator("#graph .node.dim").filter(has_text="sales_momentum").first).to_be_visible()
        boxes.filter(has_text="sales_volatility").nth(1).click()
        expect(page.locator("#picked")).to_have_text("tax_declaration.sales_volatility")

        # The address leads another person to the same place.
        page.reload()
        expect(page.locator("#picked")).to_have_text("tax_declaration.sales_volatility")
        browser.close()
    assert complaints == []
    assert {url.split("#")[0] for url in asked if not url.startswith("data:")} == {address}
