"""Mutual TLS over a real server on loopback: who shows the right certificate passes, by name; nobody else does."""

from __future__ import annotations

import pickle
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from credit301.errors import ConfigError
from credit301.signing.development import DevelopmentCa
from credit301.signing.tls import TlsFiles, bank_of, client_context, followed_context
from credit301.workspace import Workspace
from serving.peer import certified_bank
from serving.server import PROTOCOL, tls
from tests.conftest import TinyWorkspace
from tests.support.servers import until

pytestmark = pytest.mark.server


async def _who(request: Request) -> JSONResponse:
    return JSONResponse({"bank": certified_bank(request), "scheme": request.url.scheme})


@contextmanager
def serving(context: Any) -> Iterator[str]:
    """The endpoint's protocol over TLS on a free port; gives its address."""
    config = uvicorn.Config(
        Starlette(routes=[Route("/", _who)]),
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http=PROTOCOL,
        log_level="critical",
        ssl_context_factory=context,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, "the server to start")
        yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCa:
    return DevelopmentCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> DevelopmentCa:
    """Another authority, which calls itself the same."""
    return DevelopmentCa(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def files(ca: DevelopmentCa) -> TlsFiles:
    certificate, key = ca.server()
    return TlsFiles(certificate, key, ca.certificate_file)


@pytest.fixture(scope="module")
def address(files: TlsFiles) -> Iterator[str]:
    with serving(lambda *_: followed_context(files)) as url:
        yield url


def ask(address: str, ca: DevelopmentCa, *certificate: Path) -> Any:
    """The endpoint's answer to who shows ``certificate`` (with its key)."""
    return httpx.get(address, verify=client_context(ca.certificate_file, *certificate), trust_env=False).json()


def test_a_bank_passes_and_is_known_by_name(address: str, ca: DevelopmentCa) -> None:
    assert ask(address, ca, *ca.client("icbc")) == {"bank": "icbc", "scheme": "https"}
    assert ask(address, ca, *ca.client("ccb")) == {"bank": "ccb", "scheme": "https"}


def test_each_request_of_a_kept_connection_is_its_banks(address: str, ca: DevelopmentCa) -> None:
    with httpx.Client(verify=client_context(ca.certificate_file, *ca.client("icbc")), trust_env=False) as client:
        assert {client.get(address).json()["bank"] for _ in range(3)} == {"icbc"}


def test_who_shows_no_certificate_is_refused(address: str, ca: DevelopmentCa) -> None:
    with pytest.raises(httpx.TransportError):
        ask(address, ca)


def test_a_certificate_of_another_authority_is_refused(
    address: str, ca: DevelopmentCa, stranger: DevelopmentCa
) -> None:
    with pytest.raises(httpx.TransportError):
        ask(address, ca, *stranger.client("icbc"))


def test_a_certificate_that_has_expired_or_is_not_yet_valid_is_refused(address: str, ca: DevelopmentCa) -> None:
    now = datetime.now(UTC)
    for begin in (now - timedelta(days=9), now + timedelta(days=1)):
        with pytest.raises(httpx.TransportError):
            ask(address, ca, *ca.client("late", begin=begin, days=7))


def test_a_servers_certificate_does_not_make_a_bank(address: str, ca: DevelopmentCa) -> None:
    with pytest.raises(httpx.TransportError):
        ask(address, ca, *ca.server("icbc"))


def test_a_server_of_another_authority_or_name_is_not_spoken_to(
    address: str, ca: DevelopmentCa, stranger: DevelopmentCa
) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        ask(address, stranger, *ca.client("icbc"))
    elsewhere = TlsFiles(*ca.server("other", ["bank.example"]))
    with serving(lambda *_: followed_context(elsewhere)) as other, pytest.raises(httpx.ConnectError, match="mismatch"):
        ask(other, ca)


def test_an_old_tls_is_refused(address: str, ca: DevelopmentCa) -> None:
    context = client_context(ca.certificate_file, *ca.client("icbc"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, verify=context, trust_env=False)


def test_replaced_files_hold_for_the_next_connection(
    ca: DevelopmentCa, stranger: DevelopmentCa, files: TlsFiles, tmp_path: Path
) -> None:
    """Certificate and authorities are changed while the server runs; half of a pair changes nothing."""
    followed = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "clients.pem")
    assert files.client_ca is not None
    places = (followed.certificate, followed.key, tmp_path / "clients.pem")
    for old, place in zip((files.certificate, files.key, files.client_ca), places, strict=True):
        shutil.copy(old, place)
    clock = [0.0]
    with serving(lambda *_: followed_context(followed, lambda: clock[0])) as url:
        assert ask(url, ca, *ca.client("icbc"))["bank"] == "icbc"
        certificate, key = stranger.server()
        shutil.copy(certificate, followed.certificate)
        clock[0] += 2
        assert ask(url, ca, *ca.client("icbc"))["bank"] == "icbc"
        shutil.copy(key, followed.key)
        shutil.copy(stranger.certificate_file, places[2])
        clock[0] += 2
        assert ask(url, stranger, *stranger.client("ccb"))["bank"] == "ccb"
        with pytest.raises(httpx.TransportError):
            ask(url, stranger, *ca.client("icbc"))


def test_the_settings_of_the_endpoint(tiny: TinyWorkspace, files: TlsFiles) -> None:
    workspace = tiny.load()
    assert tls(workspace) is None

    def with_files(**paths: Path | None) -> Workspace:
        return Workspace(
            workspace.directory,
            workspace.definition,
            workspace.sources,
            workspace.settings.model_copy(update=paths),
        )

    made = tls(with_files(tls_certificate=files.certificate, tls_key=files.key, tls_client_ca=files.client_ca))
    # Workers are processes of their own: what makes their context travels to them.
    context = pickle.loads(pickle.dumps(made))(None, None)  # noqa: S301 - what was dumped here
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    open_to_all = tls(with_files(tls_certificate=files.certificate, tls_key=files.key))
    assert open_to_all is not None
    assert open_to_all().verify_mode is ssl.CERT_NONE
    for half in ({"tls_certificate": files.certificate}, {"tls_client_ca": files.client_ca}, {"tls_key": files.key}):
        with pytest.raises(ConfigError, match="half"):
            tls(with_files(**half))
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        tls(with_files(tls_certificate=Path("missing.pem"), tls_key=files.key))
    with pytest.raises(ConfigError):
        tls(with_files(tls_certificate=files.certificate, tls_key=files.certificate))


def test_the_bank_of_a_certificate() -> None:
    subject = ((("organizationName", "ICBC"),), (("commonName", "icbc"),))
    uri = ("URI", "urn:credit301:bank:ccb")
    assert bank_of({"subject": subject}) == "icbc"
    assert bank_of({"subject": subject, "subjectAltName": (("DNS", "x"), uri)}) == "ccb"
    assert bank_of({"subject": subject, "subjectAltName": (uri, ("URI", "urn:credit301:bank:boc"))}) is None
    assert bank_of({"subject": subject, "subjectAltName": (("URI", "urn:credit301:bank:"),)}) is None
    assert bank_of({"subject": (*subject, (("commonName", "boc"),))}) is None
    assert bank_of({}) is None
    assert bank_of(None) is None


def test_the_authority_is_kept(ca: DevelopmentCa, address: str) -> None:
    """Certificates of another day are of the same authority, whose key only its owner reads."""
    again = DevelopmentCa(ca.folder)
    assert ask(address, ca, *again.client("boc"))["bank"] == "boc"
    assert (ca.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (ca.folder / "client-boc.key").stat().st_mode & 0o777 == 0o600
