"""All that says who may ask, of one workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from credit301.errors import ConfigError
from serving.access.authenticate import Authenticator
from serving.access.clients import FILE_NAME, Client, described_in
from serving.access.scopes import Principal, scopes_of
from serving.access.tokens import Tokens
from serving.auth import DEMO, ApiKeys

if TYPE_CHECKING:
    from credit301.workspace import Workspace


@dataclass(frozen=True)
class Access:
    """Clients with their keys and tokens."""

    clients: dict[str, Client]
    keys: ApiKeys
    tokens: Tokens
    authenticator: Authenticator

    @classmethod
    def of(cls, workspace: Workspace) -> Access:
        """The workspace's.

        Raises:
            ConfigError: secrets are missing, or one is of a client that the workspace does not describe.
            ContractError: the file of clients says something that cannot be.
        """
        described = described_in(workspace)
        keys = ApiKeys.from_settings(workspace.settings, (DEMO,) if described is None else described)
        if described is None:
            described = {name: Client.bank(name) for name in keys.names}
        if unknown := sorted(set(keys.names) - described.keys()):
            raise ConfigError(
                f"CREDIT301_API_KEYS has keys of clients that are not described: {', '.join(unknown)}.",
                hint=f"Describe them with their roles in {workspace.directory / FILE_NAME}, or take the keys away.",
            )
        principals = {
            name: Principal(name, client.tenant or name, scopes_of(client.roles)) for name, client in described.items()
        }
        tokens = Tokens.of(workspace, principals)
        return cls(described, keys, tokens, Authenticator(keys, tokens, principals))
