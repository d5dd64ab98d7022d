"""Promotion: an alias goes to versions that the gate let pass and, where the policy wants it, a named role approved."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx

from credit301.console import say
from credit301.errors import Credit301Error, GateRefused, NotFound
from credit301.governance.people import acting
from credit301.model import promotions, stewardship
from credit301.model.promotions import Act, Promotion, Signature
from credit301.model.stewardship import ALIASES, CHAMPION, Alias
from training import registry
from training.dataset import require_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

    from credit301.model.stewardship import Stewardship
    from credit301.workspace import Workspace
    from training.gate import Verdict

INTERVAL_SECONDS = 2.0
BY_HAND = "MLflow UI"
UNAPPROVED = (
    "未经批准：请先由有权角色批准（credit301 approve） | "
    "not approved: a role of strategies/models.yaml must approve it first (credit301 approve)"
)


def promote(
    workspace: Workspace, version: str | None = None, alias: Alias = CHAMPION, signed: Signature | None = None
) -> dict[str, Any]:
    """Examine ``version`` (default: the newest) and give it ``alias`` if it passes; who signs approves it by that.

    Raises:
        ConfigError: the policy wants an approval, and ``signed`` is none.
        GateRefused: it does not pass; the alias stays where it is, and the reasons are on the version in MLflow.
        NotFound: no such version is registered.
    """
    signed = _checked(stewardship.load(workspace), alias, signed)
    verdict = _examined(workspace, version, alias, signed)
    client = _client(workspace)
    with promotions.exclusive(workspace):
        _approve(workspace, client, verdict.version, verdict.bundle_sha256, signed)
        _move(workspace, client, alias, verdict.version, verdict.bundle_sha256, Act.PROMOTED, signed)
    return {"model": registry.ensemble_name(workspace), "version": verdict.version, "alias": alias}


def approve(workspace: Workspace, version: str | None, signed: Signature) -> dict[str, Any]:
    """Record that ``signed`` approves ``version``, which passes the gate; moving the alias is left to others.

    Raises:
        ConfigError: the role may not approve.
        GateRefused: the version does not pass.
        NotFound: no such version is registered.
    """
    stewardship.load(workspace).approval.check(signed.by, signed.role)
    verdict = _examined(workspace, version, CHAMPION, signed)
    with promotions.exclusive(workspace):
        _approve(workspace, _client(workspace), verdict.version, verdict.bundle_sha256, signed)
    return {"model": registry.ensemble_name(workspace), "version": verdict.version, "approved_by": signed.by}


def rollback(workspace: Workspace, signed: Signature | None = None) -> dict[str, Any]:
    """Give the alias back to the champion before this one: it has been champion, so it is not examined again.

    Raises:
        ConfigError: the policy wants an approval, and ``signed`` is none.
        NotFound: there is no earlier champion.
        GateRefused: what is registered under its number is another bundle than was champion then.
    """
    require_labels(workspace)
    signed = _checked(stewardship.load(workspace), CHAMPION, signed)
    client = _client(workspace)
    name = registry.ensemble_name(workspace)
    with promotions.exclusive(workspace):
        now = _aliases(client, workspace).get(CHAMPION)
        target = promotions.before(promotions.read(workspace), now or "")
        if target is None:
            raise NotFound(f"{name} has no earlier champion.", hint="Promote another version instead.")
        if client.get_model_version(name, target.version).tags.get(registry.TAG_SHA256) != target.digest:
            raise GateRefused(
                f"Version {target.version} of {name} is no longer the bundle that was champion.",
                hint="Promote another version.",
            )
        _approve(workspace, client, target.version, target.digest, signed)
        _move(workspace, client, CHAMPION, target.version, target.digest, Act.ROLLED_BACK, signed)
    return {"model": name, "version": target.version, "alias": CHAMPION, "rolled_back_from": now}


def nominate(workspace: Workspace, version: str | None = None) -> dict[str, Any]:
    """Examine ``version`` (default: the newest) and let it shadow, or challenge, the champion; it becomes none itself.

    Only where there is no champion yet and the policy wants no approval, it becomes the first one.

    Raises:
        GateRefused: it does not pass the gate.
        NotFound: no version is registered.
    """
    rules = stewardship.load(workspace)
    client = _client(workspace)
    from training import gate

    newest = str(gate.get_version(client, workspace, version).version)
    held = sorted(alias for alias, number in _aliases(client, workspace).items() if number == newest)
    if held:
        return {"skipped": True, "reason": f"version {newest} has the alias {', '.join(held)} already"}
    first = promotions.holder(promotions.read(workspace)) is None and not rules.approval.required
    alias = CHAMPION if first else rules.retraining.alias
    if rules.needs_approval(alias):
        verdict = _examined(workspace, newest, alias, Signature())
        reason = f"version {verdict.version} passed, and waits for approval: credit301 promote --alias {alias}"
        return {"version": verdict.version, "alias": None, "reason": reason}
    return promote(workspace, newest, alias, Signature(by=acting(), reason="retraining 重新训练"))


def watch(workspace: Workspace, stop: threading.Event, interval: float = INTERVAL_SECONDS) -> None:
    """Look after the aliases until ``stop`` is set, every ``interval`` seconds.

    An alias that was moved by hand to a version without a verdict has it examined; one on a version that was refused,
    or lacks an approval, goes back to the last good one, or away where there is none. A registry that does not answer
    is waited for.
    """
    view = registry.RestRegistry(workspace.settings.mlflow_address(), registry.ensemble_name(workspace))
    problem = ""
    try:
        while not stop.is_set():
            try:
                with promotions.exclusive(workspace):
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
    """One look at the aliases, and what follows from it; the caller holds the promotion lock."""
    now = view.aliases()
    records = promotions.read(workspace)
    for alias in ALIASES:
        holder = promotions.holder(records, alias)
        if now.get(alias) != (holder.version if holder else None):
            _moved_by_hand(workspace, view, alias, now.get(alias), holder)


def _moved_by_hand(
    workspace: Workspace, view: registry.RestRegistry, alias: Alias, now: str | None, holder: Promotion | None
) -> None:
    good = holder.version if holder else None
    if now is None:
        promotions.record(workspace, Act.REMOVED, version=good or "", alias=alias, signed=Signature(BY_HAND))
        say(f"promotions: the alias {alias} was taken from version {good}; no version has it now.")
        return
    found = _verdict(workspace, view, now)
    verdict, reason = found["verdict"], found["reason"]
    if verdict == registry.PASSED and stewardship.load(workspace).needs_approval(alias):
        approved = promotions.approval(promotions.read(workspace), now, found["digest"])
        if approved is None:
            verdict, reason = registry.REFUSED, UNAPPROVED
            view.set_tag(now, registry.TAG_PROMOTION, f"{alias}: {UNAPPROVED}")
    act = Act.PROMOTED if verdict == registry.PASSED else Act.REFUSED
    # Somebody may have moved it on while the gate was at work; that is the next look's matter.
    if act is Act.REFUSED and view.aliases().get(alias) == now:
        view.set_alias(alias, good)
    mover = Signature(found["by"], reason=reason)
    promotions.record(workspace, act, version=now, alias=alias, digest=found["digest"], verdict=verdict, signed=mover)
    if act is Act.PROMOTED:
        say(f"promotions: version {now} is the {alias}.")
    else:
        say(f"promotions: version {now} was refused ({reason}); {alias} is back on {good or 'no version'}.")


def _verdict(workspace: Workspace, view: registry.RestRegistry, number: str) -> dict[str, str]:
    """Verdict, reason, digest and mover of a version; the gate is run where there is no verdict on this very bundle."""
    found = view.version(number)
    if found is None:
        raise NotFound(f"Version {number} is gone.", hint="The alias is looked at again.")
    version, tags = found
    by = f"{BY_HAND} ({version['user_id']})" if version.get("user_id") else BY_HAND
    digest = tags.get(registry.TAG_SHA256, "")
    if registry.has_verdict(tags):
        return {
            "verdict": tags[registry.TAG_GATE],
            "reason": tags.get(registry.TAG_REASON, ""),
            "by": by,
            "digest": digest,
        }
    say(f"promotions: version {number} has no verdict; the gate examines it.")
    from training import gate

    verdict = gate.run(workspace, number)
    said = registry.PASSED if verdict.passed else registry.REFUSED
    return {"verdict": said, "reason": verdict.reason, "by": by, "digest": verdict.bundle_sha256}


def _checked(rules: Stewardship, alias: Alias, signed: Signature | None) -> Signature:
    """``signed``, which may approve where an approval is needed; whoever runs this otherwise."""
    signed = signed or Signature()
    if rules.needs_approval(alias) or signed.role:
        rules.approval.check(signed.by, signed.role)
    return signed if signed.by else Signature(acting(), signed.role, signed.reason)


def _examined(workspace: Workspace, version: str | None, alias: Alias, signed: Signature) -> Verdict:
    from training import gate

    verdict = gate.run(workspace, version)
    if verdict.passed:
        return verdict
    with promotions.exclusive(workspace):
        promotions.record(
            workspace,
            Act.REFUSED,
            version=verdict.version,
            alias=alias,
            digest=verdict.bundle_sha256,
            verdict=registry.REFUSED,
            signed=Signature(signed.by or acting(), signed.role, verdict.reason),
        )
    raise GateRefused(
        f"Version {verdict.version} of {registry.ensemble_name(workspace)} was refused: {verdict.reason}.",
        hint="The whole report is on the version in MLflow.",
    )


def _approve(workspace: Workspace, client: MlflowClient, version: str, digest: str, signed: Signature) -> None:
    """Record the approval of a signature with a role, and say so on the version."""
    if not signed.role:
        return
    made = promotions.record(
        workspace,
        Act.APPROVED,
        version=version,
        digest=digest,
        verdict=registry.PASSED,
        signed=signed,
    )
    text = f"{made.at} {signed.by} ({signed.role}): {signed.reason}"
    client.set_model_version_tag(registry.ensemble_name(workspace), version, registry.TAG_APPROVAL, text)


def _move(
    workspace: Workspace,
    client: MlflowClient,
    alias: Alias,
    version: str,
    digest: str,
    act: Act,
    signed: Signature,
) -> None:
    name = registry.ensemble_name(workspace)
    client.set_registered_model_alias(name, alias, version)
    promotions.record(
        workspace,
        act,
        version=version,
        alias=alias,
        digest=digest,
        verdict=registry.PASSED,
        signed=signed,
    )
    # A version that becomes champion tries no longer.
    others: Sequence[Alias] = [other for other in ALIASES if other != alias] if alias == CHAMPION else []
    held = _aliases(client, workspace)
    for other in others:
        if held.get(other) == version:
            client.delete_registered_model_alias(name, other)
            promotions.record(workspace, Act.REMOVED, version=version, alias=other, signed=signed)


def _client(workspace: Workspace) -> MlflowClient:
    return registry.connect(registry.target(workspace))


def _aliases(client: MlflowClient, workspace: Workspace) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(registry.ensemble_name(workspace)).aliases
    except MlflowException:
        return {}
    return {alias: str(version) for alias, version in aliases.items()}
