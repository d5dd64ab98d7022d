"""Checking the audit trail, and looking records up in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from credit301.errors import AuditError
from credit301.governance.audit import attached
from credit301.governance.audit.chain import CHAIN, HEAD, SEALS, START, Hasher, Head, Seal, lines
from credit301.governance.audit.entry import Event, Record

DESTROYED_BEFORE = "destroyed_before"
"""In the detail of an ``expired`` record: attachments of records before this time (ISO) were destroyed."""


class _Linked(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def previous(self) -> str: ...


Link = TypeVar("Link", bound=_Linked)


@dataclass
class Findings:
    """What a check found: how much there is, the head of the common chain, and what is wrong with it.

    ``attached`` are the attachments that are there, ``destroyed`` those whose time was over.
    """

    writers: int = 0
    records: int = 0
    attached: int = 0
    destroyed: int = 0
    anchor: str = ""
    problems: list[str] = field(default_factory=list)


def verify(folder: Path, hasher: Hasher, anchor: str = "") -> Findings:
    """Check every chain against its own hashes, its head, and the seals; a changed, removed or reordered record shows.

    A line that was being written when its process was killed is no record, and no problem either.

    Args:
        folder: the trail.
        hasher: with the key that it was written with.
        anchor: ``<number>:<hash>`` of the common chain at an earlier time, kept elsewhere: finds out even somebody who
            put back older copies of all the files.
    """
    findings = Findings()
    if not folder.is_dir():
        if anchor:
            findings.problems.append("the whole trail is missing")
        return findings
    seals = _seals(folder, hasher, findings, anchor)
    names = {path.stem for path in folder.glob(f"*{CHAIN}")} - {SEALS}
    sealed = {seal.writer for seal in seals}
    findings.problems += [f"{name}: the whole chain is missing" for name in sorted(sealed - names)]
    findings.problems += [f"{name}: nobody has announced this chain" for name in sorted(names - sealed)]
    gone: list[tuple[str, Record]] = []
    until = ""
    for name in sorted(names & sealed):
        for record in _check_writer(folder, hasher, name, [seal for seal in seals if seal.writer == name], findings):
            if record.entry.event is Event.EXPIRED:
                until = max(until, str(record.entry.detail.get(DESTROYED_BEFORE, "")))
            if record.entry.attached is not None:
                gone += _check_attached(folder, name, record, findings)
    for name, record in gone:
        if record.at < until:
            findings.destroyed += 1
        else:
            findings.problems.append(f"{name}: record {record.number}: its attachment was destroyed before its time")
    return findings


def _check_attached(folder: Path, name: str, record: Record, findings: Findings) -> list[tuple[str, Record]]:
    """Count the record's attachment if it is what was written; give it back if it was destroyed."""
    if record.entry.attached is None:
        return []
    try:
        attached.read(folder, name, record.entry.attached)
    except attached.Destroyed:
        return [(name, record)]
    except AuditError:
        findings.problems.append(f"{name}: record {record.number}: its attachment is not what was written")
    else:
        findings.attached += 1
    return []


def _seals(folder: Path, hasher: Hasher, findings: Findings, anchor: str) -> list[Seal]:
    path = folder / f"{SEALS}{CHAIN}"
    if not path.exists():
        if any(folder.iterdir()):
            findings.problems.append("the seals are missing")
        return []
    seals, hashes, problems = check_chain(folder, hasher, SEALS, Seal)
    findings.problems += problems
    findings.anchor = f"{len(hashes) - 1}:{hashes[-1]}"
    number, _, wanted = anchor.partition(":")
    if anchor and not (number.isdecimal() and int(number) < len(hashes) and hashes[int(number)] == wanted):
        findings.problems.append("the seals do not reach the given anchor: the trail was put back to an earlier state")
    return seals


def check_chain(folder: Path, hasher: Hasher, chain: str, kind: type[Link]) -> tuple[list[Link], list[str], list[str]]:
    """A chain's links up to the first that is not what was written, the hashes from ``START`` on, and what is wrong."""
    found: list[Link] = []
    problems: list[str] = []
    hashes = [START]
    for body, digest in lines(folder / f"{chain}{CHAIN}")[0]:
        problem, made = _link(hasher, body, digest, hashes[-1], len(hashes), kind)
        if made is None:
            problems.append(f"{chain}: record {len(hashes)}: {problem}")
            break
        found.append(made)
        hashes.append(digest)
    problems += _head_problems(folder, hasher, chain, hashes)
    return found, hashes, problems


def _check_writer(folder: Path, hasher: Hasher, name: str, seals: list[Seal], findings: Findings) -> Iterator[Record]:
    """Each record that is what was written, in order."""
    findings.writers += 1
    hashes = [START]
    for body, digest in lines(folder / f"{name}{CHAIN}")[0]:
        problem, record = _link(hasher, body, digest, hashes[-1], len(hashes), Record)
        if record is None or record.writer != name:
            findings.problems.append(f"{name}: record {len(hashes)}: {problem or 'belongs to another chain'}")
            break
        hashes.append(digest)
        yield record
    findings.records += len(hashes) - 1
    findings.problems += _head_problems(folder, hasher, name, hashes)
    for seal in seals:
        if seal.count >= len(hashes) or hashes[seal.count] != seal.head:
            findings.problems.append(
                f"{name}: sealed with {seal.count} records at {seal.at}, but they are no longer there"
            )
            break


def _head_problems(folder: Path, hasher: Hasher, name: str, hashes: list[str]) -> list[str]:
    path = folder / f"{name}{HEAD}"
    head: Head | None = hasher.read_head(name, path.read_bytes()) if path.exists() else None
    if head is None:
        return [f"{name}: the head is missing or was not written by the platform"]
    if head.number >= len(hashes) or hashes[head.number] != head.hash:
        return [f"{name}: had {head.number} records, has {len(hashes) - 1}: some were cut off"]
    return []


def _link(
    hasher: Hasher, body: bytes, digest: str, previous: str, number: int, kind: type[Link]
) -> tuple[str, Link | None]:
    if hasher(body) != digest:
        return "was changed", None
    try:
        made = msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        return "is no record", None
    if made.number != number or made.previous != previous:
        return "does not follow the one before it: records were removed or reordered", None
    return "", made


def records(folder: Path) -> Iterator[Record]:
    """Every whole record, by writer and in order; :func:`verify` says whether they are what was written."""
    for path in sorted(folder.glob(f"*{CHAIN}")):
        if path.stem == SEALS:
            continue
        for body, _ in lines(path)[0]:
            try:
                yield msgspec.json.decode(body, type=Record)
            except msgspec.MsgspecError as error:
                raise AuditError(f"{path.name} has a line that is no record.", hint="credit301 audit verify") from error
