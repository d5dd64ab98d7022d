"""Checking the audit trail, and looking records up in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from credit301.errors import AuditError
from credit301.governance.audit.chain import CHAIN, HEAD, SEALS, START, Hasher, Head, Seal, lines
from credit301.governance.audit.entry import Record

Link = TypeVar("Link", Record, Seal)


@dataclass
class Findings:
    """What a check found: how much there is, the head of the common chain, and what is wrong with it."""

    writers: int = 0
    records: int = 0
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
    for name in sorted(names & sealed):
        _check_writer(folder, hasher, name, [seal for seal in seals if seal.writer == name], findings)
    return findings


def _seals(folder: Path, hasher: Hasher, findings: Findings, anchor: str) -> list[Seal]:
    path = folder / f"{SEALS}{CHAIN}"
    if not path.exists():
        if any(folder.iterdir()):
            findings.problems.append("the seals are missing")
        return []
    seals: list[Seal] = []
    hashes = [START]
    for body, digest in lines(path)[0]:
        problem, seal = _link(hasher, body, digest, hashes[-1], len(hashes), Seal)
        if seal is None:
            findings.problems.append(f"seal {len(hashes)}: {problem}")
            break
        seals.append(seal)
        hashes.append(digest)
    _check_head(folder, hasher, SEALS, hashes, findings)
    findings.anchor = f"{len(hashes) - 1}:{hashes[-1]}"
    number, _, wanted = anchor.partition(":")
    if anchor and not (number.isdecimal() and int(number) < len(hashes) and hashes[int(number)] == wanted):
        findings.problems.append("the seals do not reach the given anchor: the trail was put back to an earlier state")
    return seals


def _check_writer(folder: Path, hasher: Hasher, name: str, seals: list[Seal], findings: Findings) -> None:
    findings.writers += 1
    hashes = [START]
    for body, digest in lines(folder / f"{name}{CHAIN}")[0]:
        problem, record = _link(hasher, body, digest, hashes[-1], len(hashes), Record)
        if record is None or record.writer != name:
            findings.problems.append(f"{name}: record {len(hashes)}: {problem or 'belongs to another chain'}")
            break
        hashes.append(digest)
    findings.records += len(hashes) - 1
    _check_head(folder, hasher, name, hashes, findings)
    for seal in seals:
        if seal.count >= len(hashes) or hashes[seal.count] != seal.head:
            findings.problems.append(
                f"{name}: sealed with {seal.count} records at {seal.at}, but they are no longer there"
            )
            break


def _check_head(folder: Path, hasher: Hasher, name: str, hashes: list[str], findings: Findings) -> None:
    path = folder / f"{name}{HEAD}"
    head: Head | None = hasher.read_head(name, path.read_bytes()) if path.exists() else None
    if head is None:
        findings.problems.append(f"{name}: the head is missing or was not written by the platform")
    elif head.number >= len(hashes) or hashes[head.number] != head.hash:
        findings.problems.append(f"{name}: had {head.number} records, has {len(hashes) - 1}: some were cut off")


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
