"""docker-compose.yml, as a compose tool reads it; no container engine runs here."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from credit301.stack.services import Service, table
from credit301.workspace import Workspace
from tests.conftest import REPOSITORY

COMPOSE = REPOSITORY / "docker-compose.yml"
SECRET = "only-for-this-test"
REQUIRED = sorted(set(re.findall(r"\$\{(CREDIT301_[A-Z_]+):\?", COMPOSE.read_text(encoding="utf-8"))))
ONE_SHOT = "migrate"
RELAY = "relay"
ON_ONE_MACHINE = ("exchange", "identity", "site", "bank-")
"""What containers have no part of: the simulation, and the pages that are written for one machine."""


def config(directory: Path, variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """``podman-compose config`` with exactly these variables; the engine it insists on is a name with a version."""
    engine = directory / "podman"
    engine.write_text("#!/bin/sh\necho podman version 5.0.0\n")
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    environment = directory / "environment"
    environment.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    tool = Path(sys.prefix) / "bin" / "podman-compose"
    command = [str(tool), "--podman-path", str(engine), "--env-file", str(environment), "-f", str(COMPOSE)]
    command += [*options, "config"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=directory, env={"PATH": "/usr/bin:/bin"}
    )


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file with every variable set, where banks have joined."""
    return read(tmp_path_factory.mktemp("compose"), "--profile", "banks")


def read(directory: Path, *options: str) -> dict[str, Any]:
    """The file with every variable set."""
    done = config(directory, dict.fromkeys(REQUIRED, SECRET), *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = YAML(typ="safe").load(done.stdout)
    return found


@pytest.fixture
def stack(wuhan: Workspace) -> dict[str, Service]:
    """The services of the stack that containers have, too."""
    found = {service.name: service for service in table(wuhan, everywhere=True)}
    return {name: service for name, service in found.items() if not name.startswith(ON_ONE_MACHINE)}


def test_it_has_the_services_of_the_stack(resolved: dict[str, Any], stack: dict[str, Service]) -> None:
    assert set(resolved["services"]) == {ONE_SHOT, *stack}
    assert {"postgres", "airflow-worker", "serving", RELAY} <= set(stack)


def test_each_is_started_as_the_stack_starts_it(resolved: dict[str, Any], stack: dict[str, Service]) -> None:
    for name, service in resolved["services"].items():
        if name not in {ONE_SHOT, "postgres", "redis"}:
            as_the_table_has_it = ["credit301", "run-service", name]
            itself = [Path(stack[name].command[0]).name, *stack[name].command[1:]]
            assert service["command"] in (as_the_table_has_it, itself), name


def test_each_listens_where_the_stack_has_it_and_is_asked_there_for_its_health(
    resolved: dict[str, Any], stack: dict[str, Service]
) -> None:
    for name, service in stack.items():
        if service.port is not None:
            (port,) = resolved["services"][name]["ports"]
            assert port.startswith(f"127.0.0.1:{service.port}:"), name
            if name not in {"postgres", "redis"}:
                assert f"http://127.0.0.1:{service.port}/" in resolved["services"][name]["healthcheck"]["test"][-1]


def test_each_has_as_long_to_stop_as_the_stack_gives_it(resolved: dict[str, Any], stack: dict[str, Service]) -> None:
    for name, service in stack.items():
        if name not in {"postgres", "redis"}:
            assert resolved["services"][name]["stop_grace_period"] == f"{service.stop_seconds}s", name


def test_the_relay_runs_where_banks_have_joined_with_what_serving_knows_of_them(
    resolved: dict[str, Any], tmp_path: Path
) -> None:
    assert RELAY not in read(tmp_path)["services"]
    for name in (RELAY, "serving"):
        assert resolved["services"][name]["env_file"] == [{"path": "banks.env", "required": False}], name
    for ignored in (".gitignore", ".dockerignore"):
        assert "banks.env" in (REPOSITORY / ignored).read_text(encoding="utf-8"), ignored


def test_every_lasting_service_has_a_health_check(resolved: dict[str, Any]) -> None:
    for name, service in resolved["services"].items():
        if name != ONE_SHOT:
            assert service["healthcheck"]["test"], name


def test_what_needs_the_databases_waits_for_the_migration(resolved: dict[str, Any]) -> None:
    for name, service in resolved["services"].items():
        if name.startswith("airflow-") or name in {"mlflow", RELAY}:
            assert service["depends_on"][ONE_SHOT]["condition"] == "service_completed_successfully", name


def test_ports_are_bound_to_loopback(resolved: dict[str, Any]) -> None:
    ports = [port for service in resolved["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_data_are_on_named_volumes(resolved: dict[str, Any]) -> None:
    mounts = [mount for service in resolved["services"].values() for mount in service.get("volumes", [])]
    assert {mount.split(":")[0] for mount in mounts} == set(resolved["volumes"])


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_variable_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    done = config(tmp_path, {other: SECRET for other in REQUIRED if other != name})
    assert done.returncode != 0
    assert name in done.stderr


def test_every_password_and_key_comes_from_the_environment(resolved: dict[str, Any]) -> None:
    for name, service in resolved["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET|KEY|AUTH", key):
                assert value == SECRET, f"{name}: {key}"


def test_no_address_carries_a_password_of_its_own(resolved: dict[str, Any]) -> None:
    for name, service in resolved["services"].items():
        for key, value in service.get("environment", {}).items():
            for password in re.findall(r"://[^/@\s]*:([^/@\s]+)@", str(value)):
                assert password == SECRET, f"{name}: {key}"


def test_the_example_file_names_every_variable() -> None:
    example = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    assert [name for name in REQUIRED if f"\n{name}=" not in example] == []


def test_the_executor_that_it_names_is_in_the_lock(resolved: dict[str, Any]) -> None:
    assert resolved["services"]["airflow-worker"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert "\napache-airflow-providers-celery==" in (REPOSITORY / "locks" / "platform.txt").read_text(encoding="utf-8")


def test_the_images_run_as_an_ordinary_user_and_install_from_hashed_locks_only() -> None:
    text = (REPOSITORY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    final = {stage.split()[0]: stage for stage in re.split(r"^FROM base AS ", text, flags=re.MULTILINE)[1:]}
    for name in ("platform", "serving"):
        assert "\nUSER credit301\n" in final[name]
    for line in text.replace("\\\n", " ").splitlines():
        if " install " in line and "pip" in line and "--no-deps" not in line:
            assert "--require-hashes" in line, line
