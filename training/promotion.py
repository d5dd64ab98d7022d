"""Promotion: the ``champion`` alias goes to versions that the gate let pass, however somebody tries to move it."""

from __future__ import annotations

import getpass
import threading
from typing import TYPE_CHECKING, Any

import httpx

from credit301.console import say
from credit301.errors import Credit301Error, GateRefused, NotFound
from training import promotion_log as log
from training import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from credit301.workspace import Workspace
    from training.gate import Verdict

INTERVAL_SECONDS = 2.0
BY_HAND = "MLflow UI"


def promote(workspace: Workspace, version: str | None = None) -> dict[str, Any]:
    """Examine ``version`` (default: the newest) and make it champion if it passes.

    Raises:
        GateRefused: it does not pass; the alias stays where it is, and the reasons are on the version in MLflow.
        NotFound: no such version is registered.
    """
    from training import gate

    verdict = gate.run(workspace, version)
    if not verdict.passed:
        with log.exclusive(workspace):
            log.append(
                workspace,
                log.REFUSED,
                version=verdict.version,
                verdict=registry.REFUSED,
                by=_user(),
                reason=verdict.reason,
            )
        raise _refusal(workspace, verdict)
    _move(workspace, _client(workspace), verdict.version, log.PROMOTED, verdict.reason)
    return {"model": registry.ensemble_name(workspace), "version": verdict.version, "alias": registry.CHAMPION}


def rollback(workspace: Workspace) -> dict[str, Any]:
    """Give the alias back to the champion before this one. It is examined again only by the endpoint's digest.

    Raises:
        NotFound: there is no earlier champion.
    """
    client = _client(workspace)
    now = _champion(client, workspace)
    target = log.before(workspace, now or "")
    if target is None:
        raise NotFound(
            f"{registry.ensemble_name(workspace)} has no earlier champion.", hint="Promote another version instead."
        )
    _move(workspace, client, target, log.ROLLED_BACK, f"instead of version {now}" if now else "")
    return {
        "model": registry.ensemble_name(workspace),
        "version": target,
        "alias": registry.CHAMPION,
        "rolled_back_from": now,
    }


def watch(workspace: Workspace, stop: threading.Event, interval: float = INTERVAL_SECONDS) -> None:
    """Look after the alias until ``stop`` is set, every ``interval`` seconds.

    An alias that was moved by hand to a version without a verdict has it examined; one on a refused version goes back
    to the last good champion, or away where there is none. A registry that does not answer is waited for.
    """
    view = registry.RestRegistry(workspace.settings.mlflow_address(), registry.ensemble_name(workspace))
    problem = ""
    try:
        while not stop.is_set():
            try:
                with log.exclusive(workspace):
                    look(workspace, view)
                problem = ""
            except (httpx.HTTPError, Credit301Error) as error:
                # Said once, not every two seconds.
                if str(error) != problem:
                    say(f"promotions: {error}")
                problem = str(error)
            stop.wait(interval)
    finally:
        view.close()


def look(workspace: Workspace, view: registry.RestRegistry) -> None:
    """One look at the alias, and what follows from it; the caller holds the promotion lock."""
    now = view.champion()
    good = log.last_good(workspace)
    if now == good:
        return
    if now is None:
        log.append(workspace, log.REMOVED, version=good, verdict="", by=BY_HAND)
        say(f"promotions: the alias was taken from version {good}; there is no champion now.")
        return
    verdict, reason, by = _verdict(workspace, view, now)
    if verdict == registry.PASSED:
        log.append(workspace, log.PROMOTED, version=now, verdict=verdict, by=by, reason=reason)
        say(f"promotions: version {now} is the champion.")
        return
    # Somebody may have moved it on while the gate was at work; that is the next look's matter.
    if view.champion() == now:
        view.set_champion(good)
    log.append(workspace, log.REFUSED, version=now, verdict=verdict, by=by, reason=reason)
    say(f"promotions: version {now} was refused ({reason}); the alias is back on {good or 'no version'}.")


def _verdict(workspace: Workspace, view: registry.RestRegistry, number: str) -> tuple[str, str, str]:
    """Verdict, reason and promoter of a version; the gate is run where there is no verdict on this very bundle."""
    found = view.version(number)
    if found is None:
        raise NotFound(f"Version {number} is gone.", hint="The alias is looked at again.")
    version, tags = found
    by = f"{BY_HAND} ({version['user_id']})" if version.get("user_id") else BY_HAND
    if registry.has_verdict(tags):
        return tags[registry.TAG_GATE], tags.get(registry.TAG_REASON, ""), by
    say(f"promotions: version {number} has no verdict; the gate examines it.")
    from training import gate

    verdict = gate.run(workspace, number)
    return (registry.PASSED if verdict.passed else registry.REFUSED), verdict.reason, by


def _move(workspace: Workspace, client: MlflowClient, version: str, action: str, reason: str) -> None:
    with log.exclusive(workspace):
        client.set_registered_model_alias(registry.ensemble_name(workspace), registry.CHAMPION, version)
        log.append(workspace, action, version=version, verdict=registry.PASSED, by=_user(), reason=reason)


def _client(workspace: Workspace) -> MlflowClient:
    return registry.connect(registry.target(workspace))


def _champion(client: MlflowClient, workspace: Workspace) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(registry.ensemble_name(workspace)).aliases
    except MlflowException:
        return None
    return str(aliases[registry.CHAMPION]) if registry.CHAMPION in aliases else None


def _refusal(workspace: Workspace, verdict: Verdict) -> GateRefused:
    return GateRefused(
        f"Version {verdict.version} of {registry.ensemble_name(workspace)} was refused: {verdict.reason}.",
        hint="The whole report is on the version in MLflow.",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
