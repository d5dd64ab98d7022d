"""The gate before the features: nothing of a source is handed on without a consent that covers it at this moment."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import hiredis

from credit301.governance.consent.coverage import Asking, ConsentRule, Coverage
from credit301.governance.consent.online import decode, online_key
from credit301.identity.keyed_hash import KeyedHash

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class ConsentGate:
    """Judges, from what the online store says of an enterprise's consents, what may be read of it now.

    Args:
        rule: what the workspace says about consent.
        hashed: the keyed hash by which consents are found.
        workspace: name of the workspace.
    """

    def __init__(self, rule: ConsentRule, hashed: KeyedHash, workspace: str) -> None:
        self._rule = rule
        self._workspace = workspace
        self.named = hashed

    @classmethod
    def of(cls, workspace: Workspace) -> ConsentGate:
        """The gate of ``workspace``."""
        return cls(ConsentRule.of(workspace), KeyedHash.from_settings(workspace.settings), workspace.name)

    def command(self, named: str) -> bytes | None:
        """What to ask the store about the enterprise of this keyed hash; nothing where no consent is needed."""
        if not self._rule.enforced:
            return None
        return hiredis.pack_command(("GET", online_key(self._workspace, named)))  # type: ignore[arg-type]

    def judge(
        self, data: bytes | None, sources: Iterable[str], asking: Asking, indispensable: Collection[str]
    ) -> Coverage:
        """Which of ``sources`` may be read; ``data`` is the store's answer to :meth:`command`.

        Raises:
            ConsentMissing: less is covered than the policy asks for.
            FeatureStoreError: the store's entry is none of the platform's.
        """
        coverage = self._rule.cover(decode(data), sources, asking, time.time_ns() // 1000)
        self._rule.require(coverage, indispensable)
        return coverage
