"""Looks every locked package up among known vulnerabilities: ``make audit``.

The locks are read as they are (nothing is resolved or installed). An advisory that does not concern the project is
accepted for a time in ``locks/accepted-advisories.yaml``, with the reason. Exit code 0: nothing is known; 1: something
is; 2: the database could not be asked, so nothing is known either way; 3: an acceptance has run out or is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("locks/dev.txt", "locks/spark.txt")
"""Between them every package of every lock."""
ACCEPTED = ROOT / "locks" / "accepted-advisories.yaml"
CLEAN, VULNERABLE, UNKNOWN, WRONG = range(4)
Run = subprocess.CompletedProcess[str]


def main() -> int:
    """Audit the locks; the exit code."""
    try:
        accepted = acceptances(ACCEPTED.read_text(encoding="utf-8"), datetime.now(UTC).date())
    except ValueError as error:
        say(f"{ACCEPTED.relative_to(ROOT)}: {error}")
        return WRONG
    return verdict({lock: _run(lock, accepted) for lock in LOCKS})


def acceptances(text: str, today: date) -> list[str]:
    """Advisories that are accepted today.

    Raises:
        ValueError: an entry lacks its reason or its last day, or that day is over.
    """
    found: list[str] = []
    for entry in yaml.safe_load(text).get("accepted") or []:
        if not isinstance(entry, dict) or set(entry) != {"id", "reason", "until"} or not str(entry["reason"]).strip():
            raise ValueError(f"an entry has `id`, `reason` and `until`, each once: {entry}")
        until = entry["until"]
        if not isinstance(until, date):
            raise ValueError(f"{entry['id']}: `until` is a day, such as 2030-12-31")  # noqa: TRY004
        if until < today:
            raise ValueError(f"{entry['id']} was accepted until {until}: decide again")
        found.append(str(entry["id"]))
    return found


def verdict(runs: Mapping[str, Run]) -> int:
    """Say what was found; the exit code."""
    worst = CLEAN
    for lock, run in runs.items():
        report = _report(run)
        if report is None:
            reason = (run.stderr.strip().splitlines() or ["no answer"])[-1]
            say(
                f"{lock}: NOT AUDITED. 漏洞库无法访问，未作检查。 The database of advisories did not answer, so nothing"
                f" was checked.\n  {reason[:300]}"
            )
            worst = max(worst, UNKNOWN)
            continue
        packages: Sequence[dict[str, Any]] = report["dependencies"]
        vulnerable = [package for package in packages if package.get("vulns")]
        say(f"{lock}: {len(packages)} packages, {len(vulnerable)} with known vulnerabilities 已知漏洞")
        for package in vulnerable:
            for found in package["vulns"]:
                fixed = ", ".join(found["fix_versions"]) or "-"
                say(f"  {package['name']} {package['version']}: {found['id']}, mended in 修复版本 {fixed}")
        if vulnerable:
            worst = VULNERABLE if worst == CLEAN else worst
    return worst


def say(text: str) -> None:
    """Print a line."""
    print(text)


def _report(run: Run) -> dict[str, Any] | None:
    try:
        found = json.loads(run.stdout)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and "dependencies" in found else None


def _run(lock: str, accepted: Sequence[str]) -> Run:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / lock), "--disable-pip", "--strict"]
    command += ["--vulnerability-service", "osv", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    for name in accepted:
        command += ["--ignore-vuln", name]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
