"""Errors that say what went wrong and what to do about it."""

from __future__ import annotations

from typing import Any


class Credit301Error(Exception):
    """Base of all errors that a person may see.

    Args:
        message: what is wrong, in one sentence.
        hint: what to do about it; empty where the message says it already.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        # From one process to another it goes as it is: some are made of other things than their message.
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[Credit301Error], arguments: tuple[Any, ...], said: dict[str, Any]) -> Credit301Error:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(said)
    return error


class ConfigError(Credit301Error):
    """A setting is missing or contradicts another."""


class ContractError(Credit301Error):
    """A contract or workspace file says something that cannot be; the message names file and line."""


class SourceError(Credit301Error):
    """A source did not deliver, or delivered something that is not in its contract."""


class ValidationFailed(Credit301Error):
    """A check of severity ``fail`` failed; the batch was not landed."""


class WarehouseError(Credit301Error):
    """The warehouse could not be built."""


class FeatureStoreError(Credit301Error):
    """The feature store is unreachable, or holds something else than the contracts say."""


class ModelError(Credit301Error):
    """A model or bundle is missing, damaged, or does not fit."""


class AuditError(Credit301Error):
    """A read could not be recorded, or a record of the audit trail is not what was written."""


class GateRefused(Credit301Error):
    """A model version failed the promotion gate."""


class NotFound(Credit301Error):
    """The thing asked for does not exist."""
