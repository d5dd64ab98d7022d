"""Files appear whole or not at all, and what a killed process left does not stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from credit301.files import replacing, write_atomically


def test_a_block_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "a.json"
    write_atomically(target, {"a": 1})
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text(str(1 // temporary.write_text("")))
    assert target.read_text() == '{\n "a": 1\n}\n'
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_process_of_the_same_number_has_left_is_not_taken_for_this_one(tmp_path: Path) -> None:
    # In a container numbers of processes come back with each start.
    (tmp_path / f".a.{os.getpid()}.tmp").write_text("half")
    with replacing(tmp_path / "a") as temporary:
        assert not temporary.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o440])
def test_the_mode_of_the_new_file_is_the_one_that_the_block_gave_it(tmp_path: Path, mode: int) -> None:
    with replacing(tmp_path / "a") as temporary:
        temporary.touch()
        temporary.chmod(mode)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode
