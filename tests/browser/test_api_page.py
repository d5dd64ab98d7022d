"""The API's page in a real browser: it renders offline, and a decision can be tried from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from credit301.model import bundle
from credit301.settings import Settings
from credit301.workspace import Workspace
from serving.app import EXAMPLE_USCC, Service
from tests.support.consenting import consent
from tests.support.endpoint import city_in
from tests.support.redis_server import redis_server
from tests.support.scoring import GOOD, put, trained
from tests.support.servers import running

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and key of an endpoint that knows the example's enterprise."""
    with redis_server() as store:
        put(redis.Redis(port=store.port), EXAMPLE_USCC, GOOD)
        settings = Settings(home=tmp_path, redis_url=f"redis://127.0.0.1:{store.port}/0")
        workspace = Workspace.load(city_in(tmp_path / "city"), settings)
        model = trained()
        bundle.write(tmp_path / "bundle", model.manifest, model.files)
        consent(workspace, EXAMPLE_USCC)
        with running(Service(workspace, bundle=tmp_path / "bundle").app()) as address:
            yield address, settings.secret("api_key")


def test_a_decision_can_be_tried_from_the_page_without_the_internet(served: tuple[str, str], tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    address, key = served
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}/")
        expect(page.get_by_role("heading", name="Credit301")).to_be_visible()
        expect(page.get_by_text("对一笔授信申请作出决策 / Decide on one request for credit")).to_be_visible()
        page.screenshot(path=tmp_path / "page.png", full_page=True)

        page.get_by_role("button", name="Authorize").first.click()
        by_key = page.locator(".auth-container").filter(has=page.get_by_text("apiKey", exact=False)).first
        by_key.locator("input").first.fill(key)
        by_key.locator("button[type=submit]").click()
        page.get_by_role("button", name="Close").first.click()
        page.locator("#operations-decisions-decide").get_by_role("button").first.click()
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table")
        expect(answer.get_by_text("200", exact=True).first).to_be_visible()
        expect(answer).to_contain_text('"outcome": "approve"')
        expect(answer).to_contain_text(EXAMPLE_USCC)
        page.screenshot(path=tmp_path / "answer.png", full_page=True)
        browser.close()
    assert complaints == []
    assert {url for url in asked if not url.startswith((address, "data:"))} == set()
