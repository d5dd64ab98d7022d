"""Erasing one enterprise or person everywhere, with a proof of it; a killed erasure is run again and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from credit301 import console
from credit301.applications import erasure as applications
from credit301.files import write_atomically
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.erasure import files, online, postgres_warehouse
from credit301.governance.erasure.suppression import suppress
from credit301.governance.erasure.target import Counts, Target
from credit301.governance.masking import scrub
from credit301.identity.entity_key import normalise
from credit301.identity.keyed_hash import KeyedHash
from credit301.sources.batches import Store

if TYPE_CHECKING:
    from credit301.governance.audit.writer import AuditWriter
    from credit301.workspace import Workspace

ENTITY_COLUMN = "entity"


def erase_enterprise(workspace: Workspace, entity: str, audit: AuditWriter, *, by: str, reason: str) -> Counts:
    """Erase every record of the enterprise ``entity``, keep it out from now on, and withdraw its consents.

    Raises:
        Refusal: ``entity`` is no key of this workspace.
        WarehouseError: the warehouse is open elsewhere. FeatureStoreError: the online store does not answer.
        ApplicationsNotErased: the database of applications does not answer. Whatever was done by then stays done; the
            same call goes on from there.
        ErasureIncomplete: a file of a kind that cannot be rewritten still mentions it.
    """
    key = workspace.entity.key
    physical = {
        column.physical_name for source in workspace.sources.values() for column in source.columns if column.name == key
    }
    hashed = KeyedHash.from_settings(workspace.settings)
    target = Target.of(normalise(workspace.entity, entity), hashed, frozenset({key, ENTITY_COLUMN} | physical))
    job = _Job(workspace, target, by=by, reason=reason)
    suppress(workspace, target.named)
    ConsentDesk.of(workspace, audit).withdraw_all(target.named, by=by, reason=reason)
    job.count(Counts(online=online.erase(workspace, target)))
    job.count(postgres_warehouse.erase(workspace, target))
    job.count(Counts(rows=applications.erase(workspace, target.named)))
    return job.finish(audit)


def erase_person(workspace: Workspace, value: str, audit: AuditWriter, *, by: str, reason: str) -> Counts:
    """Take a person, named by ``value`` (an identity number or its hash, a telephone number), out of every record.

    The rows stay: they are about the enterprise. Raises as :func:`erase_enterprise`.
    """
    target = Target.of(value.strip(), KeyedHash.from_settings(workspace.settings))
    job = _Job(workspace, target, by=by, reason=reason)
    job.count(Counts(online=online.erase(workspace, target)))
    job.count(postgres_warehouse.erase(workspace, target))
    job.count(Counts(rows=applications.erase(workspace, target.named)))
    return job.finish(audit)


def unfinished(workspace: Workspace) -> list[dict[str, Any]]:
    """Erasures that were begun and not finished: their keyed hashes, and since when."""
    states = [msgspec.json.decode(path.read_bytes()) for path in sorted(_folder(workspace).glob("*.json"))]
    return [state for state in states if state["finished"] is None]


def _folder(workspace: Workspace) -> Path:
    return workspace.paths.state / "erasures"


class _Job:
    """What has been done so far, kept so that the proof counts all of it, however often the erasure had to be run."""

    def __init__(self, workspace: Workspace, target: Target, *, by: str, reason: str) -> None:
        self._workspace = workspace
        self._target = target
        self._path = _folder(workspace) / f"{target.named}.json"
        before = msgspec.json.decode(self._path.read_bytes()) if self._path.exists() else None
        going_on = before is not None and before["finished"] is None
        self._state: dict[str, Any] = {
            "entity": target.named,
            "begun": datetime.now(UTC).isoformat(),
            "finished": None,
            "by": by,
            "reason": scrub(reason),
            "counts": asdict(Counts()),
        }
        if before is not None and going_on:
            self._state = before
        self._counts = Counts(**self._state["counts"])
        if going_on:
            console.say(f"继续未完成的删除 · going on with the erasure begun at {self._state['begun']}")
        self.count(Counts())

    def count(self, counts: Counts) -> None:
        """Add what was done."""
        self._counts.add(counts)
        self._state["counts"] = asdict(self._counts)
        write_atomically(self._path, self._state)

    def finish(self, audit: AuditWriter) -> Counts:
        """Rewrite every file, look for what was left, and put the proof into the audit trail."""
        with ExitStack() as locks:
            # Nobody pulls, lands or replays meanwhile.
            stores = [Store(self._workspace, source) for source in self._workspace.sources]
            for store in stores:
                locks.enter_context(store.locked())
                self._open_again(store)
            for path in self._files():
                self.count(files.erase(path, self._target))
            left = [path for path in self._files() if files.mentions(path, self._target)]
        if left:
            named = ", ".join(str(path.relative_to(self._workspace.paths.root)) for path in left[:5])
            raise files.ErasureIncomplete(
                f"{len(left)} files still mention whom was to be erased: {named}.",
                hint="They are of a kind that is not rewritten: remove them, then run the same erasure again.",
            )
        self._state["finished"] = datetime.now(UTC).isoformat()
        self.count(Counts())
        audit.append(
            Entry(
                event=Event.ERASED,
                who=self._state["by"],
                entity=self._target.named,
                detail={**asdict(self._counts), "reason": self._state["reason"], "begun": self._state["begun"]},
            )
        )
        return self._counts

    def _open_again(self, store: Store) -> None:
        """Forget the verdict on a batch that waits: its rows are numbered anew when some are taken out."""
        waiting = store.pending()
        if waiting is not None:
            store.forget(waiting.pull_id)

    def _files(self) -> Iterator[Path]:
        return (path for path in files.every_file(self._workspace) if path.parent != self._path.parent)
