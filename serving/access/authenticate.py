"""Who asks: by an access token, or by the client's key."""

from __future__ import annotations

from collections.abc import Mapping

from serving.access.scopes import Principal
from serving.access.tokens import InvalidToken, Tokens
from serving.auth import HEADER, ApiKeys
from serving.errors import ApiError
from serving.refusals import INVALID_TOKEN, UNAUTHORISED

_BEARER = "bearer "


class Authenticator:
    """Says who asks.

    Args:
        keys: of clients.
        tokens: that were given out.
        principals: every client by name.
    """

    def __init__(self, keys: ApiKeys, tokens: Tokens, principals: Mapping[str, Principal]) -> None:
        self._keys = keys
        self._tokens = tokens
        self._principals = principals

    def principal(self, headers: Mapping[str, str]) -> Principal:
        """Whose request has ``headers``; a token is looked at before a key.

        Raises:
            ApiError: nobody's (401).
        """
        sent = headers.get("authorization")
        if sent is not None and sent[: len(_BEARER)].lower() == _BEARER:
            try:
                return self._tokens.principal(sent[len(_BEARER) :].strip())
            except InvalidToken as error:
                raise ApiError(INVALID_TOKEN) from error
        name = self._keys.name_of(headers.get(HEADER))
        if name is None:
            raise ApiError(UNAUTHORISED)
        return self._principals[name]
