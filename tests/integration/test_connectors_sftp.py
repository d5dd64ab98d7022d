"""The SFTP connector against a real server: whole files once each, and only from the server that is meant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from credit301 import verbs
from credit301.errors import ConfigError, SourceError
from credit301.sources.connectors import sftp
from credit301.sources.connectors.sftp import Sftp
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace
from tests.integration.test_ingest import landed
from tests.support.sftp import LOGIN, PASSWORD, Server, serving
from tests.unit.sources.conftest import PULL
from tests.unit.sources.exchange import enterprise
from tests.unit.sources.test_file_drop import csv_text

pytestmark = pytest.mark.server


@pytest.fixture
def bureau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with a folder ``out``, and a connection that names it."""
    (tmp_path / "served" / "out").mkdir(parents=True)
    monkeypatch.setattr(sftp, "SETTLE_SECONDS", 0.05)
    with serving(tmp_path / "served") as server:
        monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", server.uri())
        yield server


def put(bureau: Server, name: str, content: bytes | str) -> Path:
    path = bureau.root / "out" / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def workspace_for(tiny: TinyWorkspace, options: str = "path: 'sales*'") -> Workspace:
    own = f"{{connection: tax_bureau, folder: /out, {options}, attempts: 4, first_wait_seconds: 0.02}}"
    tiny.replace("connector: http_exchange, " + PULL, f"connector: sftp, options: {own}")
    return tiny.load()


def ingest(workspace: Workspace) -> tuple[int, int]:
    summary = verbs.call("ingest", workspace, source="sales")["sales"]
    return summary["rows"], summary["landed"]


def spooled(workspace: Workspace) -> list[str]:
    return [path.name for path in (workspace.settings.home / "spool").rglob("*") if path.is_file()]


def test_new_files_are_fetched_once_and_nothing_stays_in_the_spool(bureau: Server, tiny: TinyWorkspace) -> None:
    put(bureau, "sales_1.csv", csv_text(2))
    put(bureau, "sales_2.csv", csv_text(5))
    put(bureau, "other.csv", csv_text(9))
    workspace = workspace_for(tiny)
    assert ingest(workspace) == (7, 5)
    fetched = len(bureau.read)
    assert ingest(workspace) == (0, 0)
    assert (len(bureau.read), spooled(workspace)) == (fetched, [])
    put(bureau, "sales_3.csv", csv_text(6))
    assert ingest(workspace) == (6, 1)
    assert landed(workspace) == sorted((enterprise(number),) for number in range(6))


def test_a_file_that_was_corrected_in_place_comes_again(bureau: Server, tiny: TinyWorkspace) -> None:
    put(bureau, "sales.csv", csv_text(2))
    workspace = workspace_for(tiny)
    ingest(workspace)
    put(bureau, "sales.csv", csv_text(3))
    assert ingest(workspace) == (3, 1)


def test_a_connection_that_breaks_off_in_mid_file_goes_on_where_it_stopped(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sftp, "CHUNK_BYTES", 64 << 10)
    content = random.Random(3).randbytes(1 << 20)
    path = put(bureau, "sales.bin", content)
    bureau.cuts, bureau.cut_after = 2, 300_000
    source = Sftp(workspace_for(tiny).source("sales"), tiny.settings)
    (file,) = source._persistently(source._list({}))
    source._persistently(source._fetch(file, source._spooled(file)))
    assert source._spooled(file).read_bytes() == path.read_bytes()
    assert sum(size for _, _, size in bureau.read) < 2 * len(content)
    assert "goes on at" in capsys.readouterr().err


def test_a_pull_that_was_cut_off_for_good_is_resumed_by_the_next(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp, "CHUNK_BYTES", 32 << 10)
    put(bureau, "sales.csv", csv_text(6_000))
    bureau.cuts, bureau.cut_after = 4, 50_000
    workspace = workspace_for(tiny)
    with pytest.raises(SourceError, match="did not deliver in 4 attempts"):
        ingest(workspace)
    assert spooled(workspace) == ["sales.csv.part"]
    bureau.cuts = 0
    bureau.read.clear()
    assert ingest(workspace) == (6_000, 6_000)
    assert min(offset for _, offset, _ in bureau.read) > 0


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_server_with_another_host_key_is_refused_before_the_password_is_sent(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    other = asyncssh.generate_private_key(kind).export_public_key().decode().strip()
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", bureau.uri(host_key=other))
    put(bureau, "sales.csv", csv_text(2))
    with pytest.raises(SourceError, match="another host key") as caught:
        ingest(workspace_for(tiny))
    assert "host_key" in caught.value.hint
    assert PASSWORD not in str(caught.value)
    assert bureau.connections == 0


def test_a_server_that_nobody_vouches_for_is_refused(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    uri = f"sftp://{LOGIN}:{PASSWORD}@127.0.0.1:{bureau.port}"
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", uri + "?no_host_key_check=true")
    with pytest.raises(SourceError, match="another host key"):
        ingest(workspace_for(tiny))


def test_a_known_hosts_file_vouches_for_the_server(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hosts = tmp_path / "known_hosts"
    hosts.write_text(f"[127.0.0.1]:{bureau.port} {bureau.public_key}\n")
    put(bureau, "sales.csv", csv_text(2))
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", bureau.uri(host_key="", known_hosts=str(hosts)))
    assert ingest(workspace_for(tiny)) == (2, 2)


def test_a_private_key_opens_the_door_without_a_password(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    bureau.client_key.write_private_key(str(key), passphrase="phrase")
    put(bureau, "sales.csv", csv_text(2))
    extra = {"key_file": str(key), "private_key_passphrase": "phrase"}
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", bureau.uri(**extra).replace(PASSWORD, ""))
    assert ingest(workspace_for(tiny)) == (2, 2)


def test_a_wrong_password_is_refused_once_and_not_told(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", bureau.uri().replace(PASSWORD, "hidden-word"))
    with pytest.raises(SourceError, match="refused the login") as caught:
        ingest(workspace_for(tiny))
    assert "hidden-word" not in str(caught.value) + capsys.readouterr().err


def test_a_key_that_cannot_be_read_is_said_so(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TAX_BUREAU", bureau.uri(key_file="/nowhere"))
    with pytest.raises(ConfigError, match="private key"):
        ingest(workspace_for(tiny))


def test_a_folder_that_is_not_there_names_the_option(bureau: Server, tiny: TinyWorkspace) -> None:
    workspace_for(tiny)
    with pytest.raises(SourceError, match="'/in'") as caught:
        ingest(tiny.replace("folder: /out", "folder: /in").load())
    assert "folder" in caught.value.hint


def test_a_file_that_is_being_written_waits_for_the_next_pull(
    bureau: Server, tiny: TinyWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bureau, "sales_1.csv", csv_text(1))
    put(bureau, "sales_2.csv.part", csv_text(2))
    growing = put(bureau, "sales_3.csv", csv_text(3))
    listing = Sftp._listing
    calls = 0

    async def grows(self: Sftp, client: asyncssh.SFTPClient) -> list[sftp.RemoteFile]:
        nonlocal calls
        calls += 1
        if calls == 2:
            growing.write_text(csv_text(4))
        return await listing(self, client)

    monkeypatch.setattr(Sftp, "_listing", grows)
    workspace = workspace_for(tiny)
    assert ingest(workspace) == (1, 1)
    (bureau.root / "out" / "sales_2.csv.part").rename(bureau.root / "out" / "sales_2.csv")
    assert ingest(workspace) == (6, 3)


def test_with_a_ready_suffix_only_files_that_are_marked_are_taken(bureau: Server, tiny: TinyWorkspace) -> None:
    put(bureau, "sales_1.csv", csv_text(1))
    put(bureau, "sales_2.csv", csv_text(2))
    put(bureau, "sales_2.csv.done", "")
    assert ingest(workspace_for(tiny, "path: 'sales*', ready_suffix: .done")) == (2, 2)
