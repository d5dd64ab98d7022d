"""The gate before the features: nothing of a source is handed on without a consent that covers it at this moment."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

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

    def asked(self, named: str) -> bytes | None:
        """The key to get of the enterprise of this keyed hash; nothing where no consent is needed."""
        return online_key(self._workspace, named) if self._rule.enforced else None

    def judge(
        self,
        data: bytes | None,
        sources: Sequence[str],
        asking: Asking,
        indispensable: Collection[str],
        beside: Iterable[str] = (),
    ) -> Coverage:
        """Which of ``sources`` may be read; ``data`` is what the store has under the key :meth:`asked` for.

        ``beside`` are sources that are read where they are covered, and without which a decision is made all the same:
        one that is not covered is not among ``sources``, and not said to be withheld.

        Raises:
            ConsentMissing: less is covered than the policy asks for.
            FeatureStoreError: the store's entry is none of the platform's.
        """
        standings, now = decode(data), time.time_ns() // 1000
        coverage = self._rule.cover(standings, sources, asking, now)
        self._rule.require(coverage, indispensable)
        more = [source for source in beside if source not in sources]
        if not more:
            return coverage
        other = self._rule.cover(standings, more, asking, now)
        return Coverage(
            coverage.sources + other.sources,
            coverage.withheld,
            tuple(dict.fromkeys(coverage.consents + other.consents)),
        )
