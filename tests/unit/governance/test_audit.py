"""The audit trail: a record that was changed, removed, reordered or cut off is found, wherever it stood."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit301.errors import AuditError
from credit301.governance.audit import attached, verbs
from credit301.governance.audit.chain import Hasher
from credit301.governance.audit.entry import Attachment, Entry, Event
from credit301.governance.audit.verify import DESTROYED_BEFORE, Findings, records, verify
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.definition import AuditPolicy
from tests.conftest import TinyWorkspace
from tests.support.consenting import consent
from tests.support.scoring import valid_uscc

KEY = Hasher("the key")
COUNT = 6


def entry(number: int = 0) -> Entry:
    return Entry(event=Event.READ, who="bank", entity="e", application=f"a{number}", sources=("tax",))


def write(folder: Path, count: int = COUNT) -> Path:
    """A trail of one writer; gives its chain's file."""
    with AuditWriter(folder, KEY) as writer:
        for number in range(count):
            writer.append(entry(number))
    return folder / f"{writer.name}.jsonl"


def check(folder: Path, anchor: str = "") -> Findings:
    return verify(folder, KEY, anchor)


def test_an_untouched_trail_is_what_was_written(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path)
    found = check(tmp_path)
    assert (found.writers, found.records, found.problems) == (2, 2 * COUNT, [])
    assert [record.entry.application for record in records(tmp_path)] == [f"a{n}" for n in range(COUNT)] * 2


def test_a_writer_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    with AuditWriter(tmp_path / "audit", KEY):
        pass
    assert not (tmp_path / "audit").exists()
    assert check(tmp_path / "audit").problems == []


Lines = list[bytes]
TAMPERINGS: dict[str, Callable[[Lines], Lines]] = {
    "a changed word": lambda lines: [
        line.replace(b'"bank"', b'"tank"') if n == 2 else line for n, line in enumerate(lines)
    ],
    "a removed record": lambda lines: lines[:2] + lines[3:],
    "a removed first record": lambda lines: lines[1:],
    "two reordered records": lambda lines: [lines[1], lines[0], *lines[2:]],
    "a repeated record": lambda lines: [lines[0], *lines],
    "the last one cut off": lambda lines: lines[:-1],
    "all cut off": lambda lines: lines[:0],
    "half of the last line cut off": lambda lines: [*lines[:-1], lines[-1][:50]],
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_every_tampering_is_found(tmp_path: Path, tampering: str) -> None:
    path = write(tmp_path)
    path.write_bytes(b"".join(TAMPERINGS[tampering](path.read_bytes().splitlines(keepends=True))))
    assert check(tmp_path).problems


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_not_a_single_bit_can_be_changed(tmp_path: Path, where: float, bit: int) -> None:
    path = next(tmp_path.glob("2*.jsonl"), None) or write(tmp_path)
    whole = path.read_bytes()
    data = bytearray(whole)
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        assert check(tmp_path).problems
    finally:
        path.write_bytes(whole)


def test_a_cut_is_found_before_it_was_ever_sealed(tmp_path: Path) -> None:
    writer = AuditWriter(tmp_path, KEY)
    for number in range(COUNT):
        writer.append(entry(number))
    path = tmp_path / f"{writer.name}.jsonl"
    assert check(tmp_path).problems == []
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert any("cut off" in problem for problem in check(tmp_path).problems)
    writer.close()


@pytest.mark.parametrize("kind", ["chain", "head", "seals", "seals' head"])
def test_a_removed_file_is_found(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path)
    files = {"chain": path, "head": path.with_suffix(".head")}
    files |= {"seals": tmp_path / "seals.jsonl", "seals' head": tmp_path / "seals.head"}
    files[kind].unlink()
    assert check(tmp_path).problems


def test_a_chain_removed_with_its_head_and_its_seals_is_found(tmp_path: Path) -> None:
    path = write(tmp_path)
    write(tmp_path)
    path.unlink()
    path.with_suffix(".head").unlink()
    seals = tmp_path / "seals.jsonl"
    seals.write_bytes(b"".join(line for line in seals.read_bytes().splitlines(True) if path.stem.encode() not in line))
    assert check(tmp_path).problems


def test_who_has_not_got_the_key_cannot_forge_a_trail(tmp_path: Path) -> None:
    with AuditWriter(tmp_path, Hasher("another key")) as writer:
        writer.append(entry())
    assert check(tmp_path).problems


def test_old_copies_of_everything_put_back_are_found_with_an_anchor_kept_elsewhere(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    write(tmp_path)
    anchor = check(tmp_path).anchor
    assert check(tmp_path, anchor).problems == []
    for path in list(tmp_path.iterdir()):
        path.unlink()
    for path, data in before.items():
        path.write_bytes(data)
    assert check(tmp_path).problems == []
    assert any("earlier state" in problem for problem in check(tmp_path, anchor).problems)


def test_a_killed_process_loses_nothing_that_it_has_appended_and_is_no_problem(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from credit301.governance.audit.chain import Hasher\n"
        "from credit301.governance.audit.entry import Entry, Event\n"
        "from credit301.governance.audit.writer import AuditWriter\n"
        "writer = AuditWriter(Path(sys.argv[1]), Hasher('the key'))\n"
        "for number in range(50): writer.append(Entry(event=Event.READ, who='bank'))\n"
        'os.write(writer._file, b\'{"writer":"ha\'); os._exit(9)'
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 9
    found = check(tmp_path)
    assert (found.records, found.problems) == (50, [])


def test_threads_share_a_writer(tmp_path: Path) -> None:
    with AuditWriter(tmp_path, KEY) as writer:
        threads = [threading.Thread(target=lambda: [writer.append(entry()) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = check(tmp_path)
    assert (found.records, found.problems) == (200, [])


def test_before_an_answer_waits_for_the_disk_and_many_share_one_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = 0
    real = os.fdatasync

    def counting(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counting)

    async def answer(writer: AuditWriter, number: int) -> None:
        place = writer.append(entry(number))
        await writer.durable(place)
        assert writer._synced >= place

    async def everybody(writer: AuditWriter) -> None:
        await asyncio.gather(*(answer(writer, number) for number in range(100)))

    with AuditWriter(tmp_path, KEY, AuditPolicy(durability="before_answer")) as writer:
        asyncio.run(everybody(writer))
    assert 0 < syncs < 50
    assert check(tmp_path).problems == []


def test_a_disk_that_is_full_stops_the_answer_and_leaves_the_trail_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = AuditWriter(tmp_path, KEY)
    writer.append(entry())
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:20]))
    with pytest.raises(AuditError, match="could not be recorded"):
        writer.append(entry(1))
    monkeypatch.setattr(os, "write", real)
    writer.append(entry(2))
    writer.close()
    assert check(tmp_path).problems == []
    assert [record.entry.application for record in records(tmp_path)] == ["a0", "a2"]


def test_several_records_at_once_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write

    def half(descriptor: int, data: bytes) -> int:
        return whole(descriptor, data[: len(data) // 2])

    with AuditWriter(tmp_path, KEY) as writer:
        assert writer.append_all([(entry(0), None), (entry(1), b"evidence")]) == 2
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(AuditError, match="could not be recorded"):
            writer.append_all([(entry(2), None), (entry(3), None)])
        monkeypatch.undo()
        assert writer.append_all([(entry(4), None), (entry(5), None)]) == 4
    assert check(tmp_path).problems == []
    assert [record.entry.application for record in records(tmp_path)] == ["a0", "a1", "a4", "a5"]


def test_a_disk_that_fails_to_sync_stops_every_further_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    async def answer(writer: AuditWriter) -> None:
        await writer.durable(writer.append(entry()))

    writer = AuditWriter(tmp_path, KEY, AuditPolicy(durability="before_answer"))
    monkeypatch.setattr(os, "fdatasync", failing)
    for _ in range(2):
        with pytest.raises(AuditError, match="could not be recorded"):
            asyncio.run(answer(writer))
    monkeypatch.undo()
    writer.close()


def test_a_person_verifies_and_looks_up(tiny: TinyWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    city, entity = tiny.load(), valid_uscc()
    (given_,) = consent(city, entity)
    with AuditWriter.of(city) as writer:
        writer.append(entry(7))
    assert verbs.verify(city)["records"] == 2
    found = verbs.show(city, application="a7")
    assert (found["count"], found["records"][0]["sources"]) == (1, ["tax"])
    of_entity = verbs.show(city, entity=entity)
    assert [record["consents"] for record in of_entity["records"]] == [[given_.consent_id]]
    assert entity not in capsys.readouterr().out
    path = next(city.paths.audit.glob("2*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":2'))
    with pytest.raises(AuditError, match=r"审计记录已被改动.*record 1"):
        verbs.verify(city)


def write_attached(folder: Path) -> tuple[Path, list[Attachment]]:
    """A trail whose records have attachments; gives the attachments' file and places."""
    with AuditWriter(folder, KEY) as writer:
        for number in range(COUNT):
            writer.append(entry(number), f"evidence {number}".encode() * 10)
    places = [record.entry.attached for record in records(folder)]
    return folder / f"{writer.name}.attached", [place for place in places if place is not None]


def test_attachments_are_vouched_for_by_the_chain(tmp_path: Path) -> None:
    path, places = write_attached(tmp_path)
    assert (check(tmp_path).attached, check(tmp_path).problems) == (COUNT, [])
    assert attached.read(tmp_path, path.stem, places[2]) == b"evidence 2" * 10
    data = bytearray(path.read_bytes())
    data[places[3].offset] ^= 1
    path.write_bytes(data)
    assert check(tmp_path).problems == [f"{path.stem}: record 4: its attachment is not what was written"]
    with pytest.raises(AuditError, match="not what was written"):
        attached.read(tmp_path, path.stem, places[3])
    path.unlink()
    assert len(check(tmp_path).problems) == COUNT


def test_an_attachment_that_is_destroyed_without_right_is_found(tmp_path: Path) -> None:
    path, places = write_attached(tmp_path)
    assert attached.destroy(tmp_path, path.stem, places[0])
    assert not attached.destroy(tmp_path, path.stem, places[0])
    with pytest.raises(attached.Destroyed):
        attached.read(tmp_path, path.stem, places[0])
    assert check(tmp_path).problems == [f"{path.stem}: record 1: its attachment was destroyed before its time"]
    with AuditWriter(tmp_path, KEY) as writer:
        writer.append(Entry(event=Event.EXPIRED, who="officer", detail={DESTROYED_BEFORE: "9999"}))
    found = check(tmp_path)
    assert (found.destroyed, found.attached, found.problems) == (1, COUNT - 1, [])


def test_a_disk_that_is_full_leaves_no_half_of_an_attachment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[:5] if data.startswith(b"full") else data)

    with AuditWriter(tmp_path, KEY) as writer:
        writer.append(entry(), b"first")
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(AuditError):
            writer.append(entry(), b"full of things")
        writer.append(entry(), b"last")
    found = check(tmp_path)
    assert (found.records, found.attached, found.problems) == (2, 2, [])
    assert (tmp_path / f"{writer.name}.attached").read_bytes() == b"firstlast"
