"""The keys of a workspace and its banks: from files; in the simulation made once and kept with the other secrets."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from credit301.errors import ConfigError
from credit301.partners.bank import FOLDER, Bank, is_simulated, load_banks
from credit301.settings import PREFIX, Profile
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def platform_key(workspace: Workspace, bank: Bank | None = None) -> PrivateKey:
    """The key that the platform signs with what it sends to ``bank``; its id is the name of its file.

    The file is that of ``CREDIT301_BANK_<NAME>_SIGNING_KEY_FILE``, else of ``CREDIT301_SIGNING_KEY_FILE``.

    Raises:
        ConfigError: outside the embedded profile, where neither is set; there is no such file; or the key in it signs
            otherwise than the bank takes.
    """
    settings, wanted = workspace.settings, bank.platform_algorithm if bank is not None else None
    variable = f"{PREFIX}SIGNING_KEY_FILE"
    path = settings.signing_key_file
    if bank is not None and (own := os.environ.get(f"{PREFIX}BANK_{bank.name.upper()}_SIGNING_KEY_FILE")):
        variable, path = f"{PREFIX}BANK_{bank.name.upper()}_SIGNING_KEY_FILE", Path(own)
    if path is not None:
        return _read(path, variable, wanted)
    if settings.profile is not Profile.EMBEDDED:
        raise ConfigError(
            f"{variable} is not set.", hint="It is the PEM file of the key that messages to banks are signed with."
        )
    algorithm = Algorithm(wanted or Algorithm.ED25519)
    name = f"{workspace.name}-platform" + ("" if algorithm is Algorithm.ED25519 else f"-{algorithm.value}")
    return _made(settings.home / "secrets" / "signing" / f"{name}.pem", algorithm)


def _read(path: Path, variable: str, wanted: str | None) -> PrivateKey:
    if not path.is_file():
        raise ConfigError(f"{path}, which {variable} names, does not exist.")
    key = PrivateKey.load(path.read_text(encoding="ascii"), path.stem)
    if wanted is not None and key.algorithm != Algorithm(wanted):
        raise ConfigError(
            f"The bank takes {wanted}, and the key that {variable} names signs by {key.algorithm.value}.",
            hint=f"Make one (credit301 keys new), and name it in {PREFIX}BANK_<NAME>_SIGNING_KEY_FILE.",
        )
    return key


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
    """The platform's public keys, as banks have them registered."""
    keys = [platform_key(workspace), *(platform_key(workspace, bank) for bank in load_banks(workspace).values())]
    return KeyRing(
        PublicKey.load(key.public_pem(), key.key_id, workspace.name)
        for key in {key.key_id: key for key in keys}.values()
    )


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
