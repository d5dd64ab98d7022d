"""The verbs `keys new`, `keys show` and `keys tls`."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit301.errors import ConfigError
from credit301.settings import Profile
from credit301.signing import verbs
from credit301.signing.errors import KeyUnusable
from credit301.signing.keys import Algorithm, PrivateKey, PublicKey
from credit301.signing.tls import TlsFiles, server_context
from credit301.workspace import Workspace
from tests.conftest import TinyWorkspace


@pytest.fixture
def workspace(tiny: TinyWorkspace) -> Workspace:
    return tiny.load()


@pytest.mark.parametrize("choice", verbs.Choice)
def test_a_new_pair(workspace: Workspace, choice: verbs.Choice, capsys: pytest.CaptureFixture[str]) -> None:
    """The public half is printed and may be written where banks' keys lie; the private one is nobody else's to read."""
    folder = workspace.directory / "banks" / "icbc" / "keys"
    made = verbs.new(workspace, "icbc", choice, folder)
    private = Path(made["private_key"])
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.is_relative_to(workspace.settings.home / "secrets")
    key = PrivateKey.load(private.read_text(), made["key_id"])
    public = PublicKey.read(folder / f"{made['key_id']}.pem", "icbc")
    printed = capsys.readouterr().out
    assert key.public_pem() == public.pem() == printed
    assert "PRIVATE" not in printed
    assert key.algorithm is Algorithm[choice.name]
    assert made["key_id"] == f"icbc-{key.thumbprint}"


def test_a_bank_without_a_plain_name_gets_no_key(workspace: Workspace) -> None:
    with pytest.raises(KeyUnusable, match="key id"):
        verbs.new(workspace, "../icbc")


def test_certificates_for_development(workspace: Workspace) -> None:
    made = verbs.tls(workspace, ["icbc"], ["host.example"])
    files = TlsFiles(Path(made["certificate"]), Path(made["key"]), Path(made["ca"]))
    assert server_context(files)
    assert Path(made["client icbc"]).is_file()


def test_certificates_of_production_come_from_elsewhere(workspace: Workspace) -> None:
    workspace.settings.profile = Profile.PRODUCTION
    with pytest.raises(ConfigError, match="embedded"):
        verbs.tls(workspace)


def test_what_is_shown_is_public(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first = verbs.show(workspace)
    shown = capsys.readouterr().out
    assert first["keys"][0]["owner"] == workspace.name
    assert first["keys"][0]["public_key"] in shown
    assert "PRIVATE" not in shown
    assert verbs.show(workspace) == first


def test_the_key_that_a_bank_seals_to_is_shown_to_be_given_to_it(
    wuhan: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = verbs.show(wuhan)
    first, second = (key for key in shown["keys"] if key["owner"] == wuhan.name)
    assert (first["algorithm"], first["sealed_to_by"]) == ("ed25519", [])
    assert (second["algorithm"], second["sealed_to_by"]) == ("x25519", ["demo_standard"])
    printed = capsys.readouterr().out
    assert printed.endswith(first["public_key"] + second["public_key"])
