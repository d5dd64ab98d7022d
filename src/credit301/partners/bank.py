"""A bank as its ``banks/<name>/bank.yaml`` describes it; its public keys lie beside, in ``keys/``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AwareDatetime, Field, model_validator

from credit301.applications.states import Mode
from credit301.contracts.model import Name, Strict, Text
from credit301.errors import ConfigError, NotFound
from credit301.settings import PREFIX, Profile
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from credit301.workspace import Workspace

FOLDER, FILE = Path("banks"), "bank.yaml"
Signing = Literal["ed25519", "ecdsa-p256-sha256", "sm2-sm3"]
_MADE_FOR: dict[str, tuple[Signing, ...]] = {
    "none": get_args(Signing),
    "jwe": ("ecdsa-p256-sha256",),
    "sm4": ("sm2-sm3",),
}
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Key(Strict):
    """A public key of the bank: the file ``keys/<id>.pem``, from when until when it counts."""

    id: KeyName
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _spans(self) -> Key:
        moments: list[datetime | None] = [self.valid_from, self.valid_until]
        if None not in moments and self.valid_until <= self.valid_from:  # type: ignore[operator]
            raise ValueError("the key is never valid: it ends before it begins")
        return self


class Entitled(Strict):
    """What the bank gets to see of an applicant; what is not named it does not get.

    ``data``: sources whose prefilled values go into a package. ``dimensions``: feature groups whose sub-scores do.
    """

    data: tuple[Name, ...] = ()
    dimensions: tuple[Name, ...] = ()
    probability: bool = False
    score: bool = False
    reasons: bool = False
    offer: bool = False


class Timeouts(Strict):
    """Seconds until a connection stands, and until the bank has answered; below the lease of a message."""

    connect: Annotated[float, Field(gt=0, le=10)] = 2.0
    answer: Annotated[float, Field(gt=0, le=20)] = 10.0


class Bank(Strict):
    """One bank. Its ``name`` is that of its client of the API, and so the tenant of its applications.

    ``algorithm``: how the bank signs, and its demonstration key is made. ``platform_algorithm``: how the platform must
    sign what it sends to it, where the bank takes one way only. ``encryption``: whether what is sent to it is
    sealed, to a key of what kind, and so by which algorithms it may seal what it sends; ``must_seal``: it has to.
    ``at_once``: messages under way to it side by side.
    """

    name: Name
    title: Text
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)]
    address: str = ""
    algorithm: Signing = "ed25519"
    platform_algorithm: Signing | None = None
    keys: tuple[Key, ...] = ()
    encryption: Literal["none", "jwe", "sm4"] = "none"
    must_seal: bool = False
    mutual_tls: bool = False
    entitled: Entitled = Entitled()
    timeouts: Timeouts = Timeouts()
    at_once: Annotated[int, Field(ge=1, le=64)] = 8

    @model_validator(mode="after")
    def _sealable(self) -> Bank:
        # Of a bank without keys one is made of its algorithm: it has to do for both.
        if not self.keys and self.algorithm not in _MADE_FOR[self.encryption]:
            raise ValueError(
                f"an {self.algorithm} key is not for encryption by {self.encryption}: give it keys or another algorithm"
            )
        if self.must_seal and self.encryption == "none":
            raise ValueError("what must be sealed needs encryption: jwe or sm4")
        return self


def load_banks(workspace: Workspace) -> dict[str, Bank]:
    """Every bank of the workspace by name; none where it has no folder ``banks``.

    Raises:
        ContractError: a file says something that cannot be, with its line.
    """
    found = {}
    for path in sorted((workspace.directory / FOLDER).glob(f"*/{FILE}")):
        file = YamlFile(path)
        bank = file.parse(Bank)
        if bank.name != path.parent.name:
            raise file.error(
                ("name",), f"the folder is called {path.parent.name!r}; both are the name of the API's client"
            )
        known: dict[str, Collection[str]] = {"data": workspace.sources, "dimensions": workspace.definition.dimensions}
        for what, there in known.items():
            for place, name in enumerate(getattr(bank.entitled, what)):
                if name not in there:
                    raise file.error(("entitled", what, place), f"there is no {name!r}; there are {', '.join(there)}")
        if bank.mutual_tls and bank.address and not bank.address.startswith("https://"):
            raise file.error(("address",), "mutual TLS needs an address that begins with https://")
        found[bank.name] = bank
    return found


def find_bank(workspace: Workspace, name: str) -> Bank:
    """The bank called ``name``.

    Raises:
        NotFound: there is none.
    """
    banks = load_banks(workspace)
    if name not in banks:
        raise NotFound(
            f"{workspace.name} has no bank {name!r}.",
            hint=f"Its banks: {', '.join(banks) or 'none'}; each is a folder {FOLDER}/<name>/{FILE}.",
        )
    return banks[name]


def address_of(workspace: Workspace, bank: Bank) -> str:
    """Base URL of the bank's API: ``CREDIT301_BANK_<NAME>_URL``, else its file's, else the simulated bank's.

    Raises:
        ConfigError: none is known.
    """
    variable = f"{PREFIX}BANK_{bank.name.upper()}_URL"
    address = os.environ.get(variable, "") or bank.address
    if not address and is_simulated(workspace, bank):
        address = f"http://{workspace.settings.host}:{simulated_port(workspace, bank)}"
    if not address:
        raise ConfigError(
            f"The address of the bank {bank.name} is not known.", hint=f"Set {variable}, or address in {FILE}."
        )
    return address.rstrip("/")


def reachable_banks(workspace: Workspace) -> dict[str, Bank]:
    """The banks whose address is known. One that is described and not yet set up keeps no message of another back."""
    found = {}
    for name, bank in load_banks(workspace).items():
        with contextlib.suppress(ConfigError):
            address_of(workspace, bank)
            found[name] = bank
    return found


def is_simulated(workspace: Workspace, bank: Bank) -> bool:
    """Whether the bank is one of the simulation, whose key is made here: it has none of its own."""
    simulated = workspace.definition.simulated and workspace.settings.profile is Profile.EMBEDDED
    return simulated and not bank.keys


def simulated_port(workspace: Workspace, bank: Bank) -> int:
    """Port of the simulated bank."""
    port: int = getattr(workspace.settings, simulated_port_setting(bank))
    return port


def simulated_port_setting(bank: Bank) -> str:
    """The setting of that port: one for banks that leave decisions to the platform, one for those that decide."""
    return "bank_platform_port" if Mode.PLATFORM in bank.modes else "bank_standard_port"
