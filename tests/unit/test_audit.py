"""The audit of dependencies tells apart: nothing known, something known, and nothing asked."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from datetime import date
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

TODAY = date(2030, 6, 1)
FOUND: dict[str, object] = {"name": "alpha", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", REPOSITORY / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*packages: dict[str, object]) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 1 if packages else 0, json.dumps({"dependencies": packages}), "")


BROKEN = subprocess.CompletedProcess[str]([], 1, "", "Traceback\nConnectionError: no route to the database")


def test_what_was_found_what_was_not_and_what_could_not_be_asked_differ(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = run({"name": "beta", "version": "2", "vulns": []})
    assert audit.verdict({"a": clean, "b": clean}) == 0
    assert audit.verdict({"a": run(FOUND), "b": clean}) == 1
    assert "alpha 1.0: PYSEC-1, mended in 修复版本 1.1" in capsys.readouterr().out
    assert audit.verdict({"a": BROKEN, "b": clean}) == 2
    assert audit.verdict({"a": BROKEN, "b": run(FOUND)}) == 2
    told = capsys.readouterr().out
    assert "NOT AUDITED" in told
    assert "no route to the database" in told


def test_an_acceptance_has_a_reason_and_an_end(audit: ModuleType) -> None:
    entry = "accepted:\n  - {id: X-1, reason: not called, until: 2030-12-31}"
    assert audit.acceptances(entry, TODAY) == ["X-1"]
    assert audit.acceptances("accepted: []", TODAY) == []
    for wrong, says in (
        (entry.replace("2030-12-31", "2030-05-31"), "decide again"),
        (entry.replace("not called", "' '"), "reason"),
        (entry.replace(", until: 2030-12-31", ""), "until"),
        (entry.replace("2030-12-31", "soon"), "a day"),
    ):
        with pytest.raises(ValueError, match=says):
            audit.acceptances(wrong, TODAY)


def test_the_accepted_advisories_of_the_project_are_in_order(audit: ModuleType) -> None:
    audit.acceptances(audit.ACCEPTED.read_text(encoding="utf-8"), TODAY)
