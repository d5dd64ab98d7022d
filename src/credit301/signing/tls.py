"""Mutual TLS: both sides show a certificate, and the client's says which bank it is."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from credit301.errors import ConfigError
from credit301.settings import Settings

# A certificate's SAN that names a bank; the common name is read where there is none.
BANK_URI = "urn:credit301:bank:"
# How often changed files are looked for, in seconds: at most once for so many handshakes.
_LOOK_EVERY = 1.0

_log = logging.getLogger("credit301.tls")


class TlsFiles(msgspec.Struct, frozen=True):
    """Where a server's certificate, its key and the authorities of its clients are, all PEM.

    Without ``client_ca`` clients show no certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> TlsFiles | None:
        """As ``CREDIT301_TLS_CERTIFICATE``, ``_KEY`` and ``_CLIENT_CA`` say; none where none is set.

        Raises:
            ConfigError: one is set without another that it needs.
        """
        certificate, key = settings.tls_certificate, settings.tls_key
        if certificate is None and key is None and settings.tls_client_ca is None:
            return None
        if certificate is None or key is None:
            raise ConfigError(
                "TLS is half set up. TLS 配置不完整。",
                hint="Set CREDIT301_TLS_CERTIFICATE and CREDIT301_TLS_KEY, and CREDIT301_TLS_CLIENT_CA for mutual TLS.",
            )
        return cls(certificate, key, settings.tls_client_ca)

    def written(self) -> tuple[int, ...]:
        """When each file was written, and its size: another value when one was replaced."""
        found = (path.stat() for path in (self.certificate, self.key, self.client_ca) if path is not None)
        return tuple(number for stat in found for number in (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """For a server; every client has to show a certificate of ``client_ca``, if there is one. TLS 1.2 or newer.

    Raises:
        ConfigError: a file is missing, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise _unusable(error, files.certificate, files.key, files.client_ca) from error
    return context


def followed_context(files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> ssl.SSLContext:
    """As :func:`server_context`; files that are replaced hold for the next connection, without a restart.

    Files that cannot be used, such as half of a pair, are reported to the log, and those before them stay in use.

    Raises:
        ConfigError: a file is missing, or not what it should be, now.
    """
    return _Followed(files, clock).context


class _Followed:
    """A context that hands each connection over to one of the files as they are."""

    def __init__(self, files: TlsFiles, clock: Callable[[], float]) -> None:
        self._files = files
        self._clock = clock
        self._current = self.context = server_context(files)
        # What is replaced while it is read is taken for new at the first look.
        self._written: tuple[int, ...] = ()
        self._looked = clock()
        # Called in every handshake, also where the client names no server.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _server: str | None, _context: ssl.SSLContext) -> None:
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._follow()
        if self._current is not self.context:
            connection.context = self._current

    def _follow(self) -> None:
        try:
            written = self._files.written()
            if written != self._written:
                self._current = server_context(self._files)
                self._written = written
                _log.info("TLS files were replaced; new connections use them")
        except (ConfigError, OSError) as error:
            _log.warning("TLS files were replaced, but cannot be used: %s", error)


def client_context(
    authorities: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """For a client (``httpx.Client(verify=...)``): whom to believe, and what to show. TLS 1.2 or newer.

    Args:
        authorities: PEM of those who sign the server's certificate; those of the system where there are none.
        certificate: our own, for servers that ask for it.
        key: its private key.

    Raises:
        ConfigError: a file is missing, or not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(error, authorities, certificate, key) from error
    return context


def bank_of(certificate: Mapping[str, Any] | None) -> str | None:
    """The bank that a client's certificate names, as :meth:`ssl.SSLSocket.getpeercert` tells it; none where none.

    By the one SAN ``urn:credit301:bank:<name>``; only a certificate without such a SAN by its common name.
    """
    if not certificate:
        return None
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    named = [uri.removeprefix(BANK_URI) for uri in uris if uri.startswith(BANK_URI)]
    if not named:
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        named = [value for kind, value in subject if kind == "commonName"]
    return named[0] if len(named) == 1 and named[0] else None


def _unusable(error: Exception, *paths: Path | None) -> ConfigError:
    # ssl does not say which file it was.
    missing = [str(path) for path in paths if path is not None and not path.is_file()]
    named = ", ".join(missing or (str(path) for path in paths if path is not None))
    return ConfigError(
        f"TLS cannot be set up: {'no such file' if missing else error}: {named}. 无法启用 TLS。",
        hint="`credit301 keys tls` makes a set for development.",
    )
