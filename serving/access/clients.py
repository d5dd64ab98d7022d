"""Clients of the API: described once in the workspace's ``clients.yaml``; their secrets are kept elsewhere.

The file says who a client is, what it may do and how often. Its secret is in ``CREDIT301_API_KEYS`` (the embedded
profile makes one for each client), a public key of its own in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError
from pydantic import Field, field_validator

from credit301.contracts.model import Name, Strict, Text
from credit301.yaml_file import YamlFile
from serving.access.scopes import Role

if TYPE_CHECKING:
    from credit301.workspace import Workspace

FILE_NAME = "clients.yaml"
ASSERTION_ALGORITHMS = ("EdDSA", "ES256", "ES384", "PS256", "RS256")
_PRIVATE = {"d", "p", "q", "k"}


class RateLimit(Strict):
    """Requests that a client may send: ``per_second`` in the long run, ``burst`` at once."""

    per_second: Annotated[float, Field(gt=0)] = 100
    burst: Annotated[int, Field(ge=1)] = 200


class Client(Strict):
    """One client: its roles, and the bank for which it acts (itself by default).

    ``keys``: its public keys as JWK, where it signs what it asks for tokens with (private_key_jwt).
    """

    title: Text
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    tenant: Name | None = None
    rate_limit: RateLimit = RateLimit()
    keys: tuple[dict[str, Any], ...] = ()

    @classmethod
    def bank(cls, name: str) -> Client:
        """A bank of which nothing but its name is known."""
        return cls(title=Text(zh=name, en=name), roles=(Role.BANK,))

    @field_validator("keys")
    @classmethod
    def _public(cls, keys: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for key in keys:
            if _PRIVATE & key.keys():
                raise ValueError("a private or symmetric key does not belong into a file: give the public key")
            try:
                algorithm = PyJWK.from_dict(key).algorithm_name
            except PyJWTError as error:
                raise ValueError(f"not a public JWK: {error}") from error
            if algorithm not in ASSERTION_ALGORITHMS:
                raise ValueError(f"the algorithm {algorithm} is not one of {', '.join(ASSERTION_ALGORITHMS)}")
        return keys


class ClientsFile(Strict):
    """What ``clients.yaml`` says."""

    clients: dict[Name, Client]


def described_in(workspace: Workspace) -> dict[str, Client] | None:
    """The clients that the workspace describes; ``None`` where it has no such file.

    Raises:
        ContractError: the file says something that cannot be; the message names the line.
    """
    path = workspace.directory / FILE_NAME
    return read(path) if path.is_file() else None


def read(path: Path) -> dict[str, Client]:
    """The clients that the file describes.

    Raises:
        ContractError: the file says something that cannot be; the message names the line.
    """
    file = YamlFile(path)
    clients = file.parse(ClientsFile).clients
    for name, client in clients.items():
        other = clients.get(client.tenant or name)
        if other is not None and other.tenant not in (None, client.tenant):
            raise file.error(("clients", name, "tenant"), f"{client.tenant} is a client that acts for another bank.")
    return clients
