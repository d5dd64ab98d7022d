"""The keys of a workspace and its banks: from files; in the simulation made once and kept with the other secrets."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from credit301.errors import ConfigError
from credit301.partners.bank import FOLDER, Bank, is_simulated, load_banks, reachable_banks
from credit301.settings import PREFIX, Profile
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SEALED_BY = {"jwe": (Algorithm.X25519, Algorithm.P256), "sm4": (Algorithm.SM2,)}
"""What keys the one form of sealed messages is for and the other; the first is made where one is made."""


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
    if bank is not None and (own := os.environ.get(_variable(bank, "SIGNING"))):
        variable, path = _variable(bank, "SIGNING"), Path(own)
    if path is not None:
        key = _read(path, variable)
        if wanted is not None and key.algorithm != Algorithm(wanted):
            raise ConfigError(
                f"The bank takes {wanted}, and the key that {variable} names signs by {key.algorithm.value}.",
                hint=f"Make one (credit301 keys new), and name it in {PREFIX}BANK_<NAME>_SIGNING_KEY_FILE.",
            )
        return key
    if settings.profile is not Profile.EMBEDDED:
        raise ConfigError(
            f"{variable} is not set.", hint="It is the PEM file of the key that messages to banks are signed with."
        )
    algorithm = Algorithm(wanted or Algorithm.ED25519)
    name = f"{workspace.name}-platform" + ("" if algorithm is Algorithm.ED25519 else f"-{algorithm.value}")
    return _made(workspace, name, algorithm)


def sealing_keys(workspace: Workspace, bank: Bank) -> tuple[PrivateKey, ...]:
    """The keys of the platform that ``bank`` may seal its messages to; the first is the one to use from now on.

    They are the files of ``CREDIT301_BANK_<NAME>_SEALING_KEY_FILE``, ``NEW,OLD`` while one is changed for the other.

    Returns:
        None where the bank has agreed on no encryption, or need not seal and no file is named.

    Raises:
        ConfigError: outside the embedded profile, where the bank must seal and no file is named; there is no such
            file; or its key does not open the form that was agreed with the bank.
    """
    if bank.encryption == "none":
        return ()
    variable, known = _variable(bank, "SEALING"), SEALED_BY[bank.encryption]
    if named := os.environ.get(variable):
        keys = tuple(_read(Path(path.strip()), variable) for path in named.split(","))
        for key in keys:
            if key.algorithm not in known:
                raise ConfigError(
                    f"{bank.name} seals by {bank.encryption}, and {variable} names a key of {key.algorithm.value}.",
                    hint=f"It takes a key of {' or '.join(item.value for item in known)} (credit301 keys new).",
                )
        return keys
    if workspace.settings.profile is Profile.EMBEDDED:
        return (_made(workspace, f"{workspace.name}-sealing-{known[0].value}", known[0]),)
    if bank.must_seal:
        raise ConfigError(
            f"{variable} is not set.", hint=f"It is the PEM file of the key that {bank.name} seals its messages to."
        )
    return ()


def _variable(bank: Bank, use: str) -> str:
    """Name of the variable that says in which file the platform's key for ``bank`` is."""
    return f"{PREFIX}BANK_{bank.name.upper()}_{use}_KEY_FILE"


def _read(path: Path, variable: str) -> PrivateKey:
    if not path.is_file():
        raise ConfigError(f"{path}, which {variable} names, does not exist.")
    return _loaded(path)


def _loaded(path: Path) -> PrivateKey:
    return PrivateKey.load(path.read_text(encoding="ascii"), path.stem)


def simulated_key(workspace: Workspace, bank: Bank) -> PrivateKey:
    """The private key of a simulated bank."""
    return _made(workspace, f"{workspace.name}-{bank.name}", Algorithm(bank.algorithm))


def keys_of(workspace: Workspace, banks: Iterable[Bank]) -> KeyRing:
    """The public keys of ``banks``.

    Raises:
        KeyUnusable: a file is missing or holds none, or two keys have one id.
    """
    found: list[PublicKey] = []
    for bank in banks:
        if is_simulated(workspace, bank):
            found.append(simulated_key(workspace, bank).public(bank.name))
        folder = workspace.directory / FOLDER / bank.name / "keys"
        found += [
            PublicKey.read(folder / f"{key.id}.pem", bank.name, key.valid_from, key.valid_until) for key in bank.keys
        ]
    return KeyRing(found)


def platform_ring(workspace: Workspace) -> KeyRing:
    """The platform's public keys, as banks have them registered."""
    keys = [platform_key(workspace), *(platform_key(workspace, bank) for bank in load_banks(workspace).values())]
    return KeyRing(key.public(workspace.name) for key in {key.key_id: key for key in keys}.values())


def sealed_to(workspace: Workspace, bank: Bank) -> PublicKey | None:
    """The platform's key that ``bank`` has to seal its messages to; ``None``: it need not.

    Raises:
        ConfigError: as :func:`sealing_keys`.
    """
    return sealing_keys(workspace, bank)[0].public(workspace.name) if bank.must_seal else None


def published_keys(workspace: Workspace) -> list[tuple[PublicKey, tuple[str, ...]]]:
    """The platform's public keys that banks seal to, each with the banks that may.

    Raises:
        ConfigError: as :func:`sealing_keys`, of a bank whose address is known.
    """
    found: dict[str, tuple[PublicKey, tuple[str, ...]]] = {}
    for bank in reachable_banks(workspace).values():
        for key in sealing_keys(workspace, bank):
            _, others = found.get(key.key_id, (None, ()))
            found[key.key_id] = key.public(workspace.name), (*others, bank.name)
    return list(found.values())


def _made(workspace: Workspace, name: str, algorithm: Algorithm) -> PrivateKey:
    """The key ``name`` among the secrets, made if there is none; of several processes that make it, one does."""
    path = workspace.settings.home / "secrets" / "signing" / f"{name}.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(PrivateKey.generate(algorithm, path.stem).pem())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return _loaded(path)
