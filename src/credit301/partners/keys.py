"""The keys of a workspace and its banks: from files; in the simulation made once and kept with the other secrets."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from credit301.errors import ConfigError
from credit301.partners.bank import FOLDER, Bank, is_simulated
from credit301.settings import PREFIX, Profile
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def platform_key(workspace: Workspace) -> PrivateKey:
    """The key that the platform signs with: the file of ``CREDIT301_SIGNING_KEY_FILE``, whose name is the key's id.

    Raises:
        ConfigError: outside the embedded profile, where the variable is not set, or there is no such file.
    """
    settings = workspace.settings
    if settings.signing_key_file is not None:
        path = settings.signing_key_file
        if not path.is_file():
            raise ConfigError(f"{path}, which {PREFIX}SIGNING_KEY_FILE names, does not exist.")
        return PrivateKey.load(path.read_text(encoding="ascii"), path.stem)
    if settings.profile is not Profile.EMBEDDED:
        raise ConfigError(
            f"{PREFIX}SIGNING_KEY_FILE is not set.",
            hint="It is the PEM file of the key that messages to banks are signed with.",
        )
    return _made(settings.home / "secrets" / "signing" / f"{workspace.name}-platform.pem", Algorithm.ED25519)


def simulated_key(workspace: Workspace, bank: Bank) -> PrivateKey:
    """The private key of a simulated bank."""
    path = workspace.settings.home / "secrets" / "signing" / f"{workspace.name}-{bank.name}.pem"
    return _made(path, Algorithm(bank.algorithm))


def keys_of(workspace: Workspace, banks: Iterable[Bank]) -> KeyRing:
    """The public keys of ``banks``.

    Raises:
        KeyUnusable: a file is missing or holds none, or two keys have one id.
    """
    found: list[PublicKey] = []
    for bank in banks:
        if is_simulated(workspace, bank):
            key = simulated_key(workspace, bank)
            found.append(PublicKey.load(key.public_pem(), key.key_id, bank.name))
        folder = workspace.directory / FOLDER / bank.name / "keys"
        found += [
            PublicKey.read(folder / f"{key.id}.pem", bank.name, key.valid_from, key.valid_until) for key in bank.keys
        ]
    return KeyRing(found)


def platform_ring(workspace: Workspace) -> KeyRing:
    """The platform's public key, as a bank has it registered."""
    key = platform_key(workspace)
    return KeyRing([PublicKey.load(key.public_pem(), key.key_id, workspace.name)])


def _made(path: Path, algorithm: Algorithm) -> PrivateKey:
    """The key in ``path``, made if there is none; of several processes that make it, one does."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(PrivateKey.generate(algorithm, path.stem).pem())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return PrivateKey.load(path.read_text(encoding="ascii"), path.stem)
