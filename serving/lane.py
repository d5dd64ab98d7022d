"""The accept lane: of those declined for their score alone, a few drawn by lot are lent a little.

What becomes of them shows what the score missed; each is recorded with the probability of the lot, so that an
evaluation can weigh it by the inverse. The money of a month is counted in a ledger on disk, whatever worker grants it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from credit301.domain.draw import draw
from credit301.domain.verdict import Scalar, Verdict
from credit301.errors import AuditError
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.stewardship import AcceptLane
from credit301.strategy.fallback import Fallen
from credit301.strategy.strategy import Strategy
from serving.lane_ledger import LaneLedger
from serving.metrics import Metrics

_CENTS = 100
log = logging.getLogger("credit301.serving")


class Lot(msgspec.Struct, frozen=True):
    """What came of the lot for one who was declined for the score alone.

    ``probability`` is that of being drawn, ``most`` the most that is lent, in yuan; ``verdict`` is the loan,
    ``None`` where it was not drawn or money is out.
    """

    probability: float
    most: Decimal
    drawn: bool
    verdict: Verdict | None


class Lane:
    """Draws the lots of one workspace.

    Args:
        rules: how many, and up to how much money; ``None``: nobody is lent to by lot. They may be replaced at any time.
        hashed: the keyed hash, whose key also draws.
        ledger: where the money is counted.
        metrics: counts what came of the lots.
    """

    def __init__(self, rules: AcceptLane | None, hashed: KeyedHash, ledger: LaneLedger, metrics: Metrics) -> None:
        self.rules = rules
        self._metrics = metrics
        self._hashed = hashed
        self._ledger = ledger

    async def consider(
        self,
        entity: str,
        strategy: Strategy,
        declined: Verdict,
        *,
        score: int,
        values: Mapping[str, Scalar],
        amount: Decimal,
        term_months: int,
        taken: Sequence[Fallen] = (),
    ) -> Lot | None:
        """The lot of ``entity``; ``None`` where something else than the score declined it, or nothing could be lent."""
        rules = self.rules
        if rules is None:
            return None
        verdict = strategy.admit_by_lot(
            declined,
            score=score,
            most=rules.limit_per_loan,
            values=values,
            amount=amount,
            term_months=term_months,
            taken=taken,
        )
        if verdict is None or verdict.limit is None:
            return None
        drawn = draw(self._hashed.key, f"accept_lane {rules.round}", entity) < rules.share
        granted = drawn and await self._reserve(self._hashed(entity), verdict.limit, rules.monthly_cap)
        self._metrics.lot("granted" if granted else "no_money" if drawn else "not_drawn")
        return Lot(rules.share, rules.limit_per_loan, drawn, verdict if granted else None)

    async def _reserve(self, named: str, yuan: Decimal, cap: Decimal) -> bool:
        try:
            return await asyncio.to_thread(self._ledger.reserve, named, int(yuan * _CENTS), int(cap * _CENTS))
        except AuditError as error:
            # Without the count there is no money: the decline stands.
            log.warning("the accept lane lends nothing: %s", error)
            self._metrics.failed("accept_lane_ledger")
            return False
