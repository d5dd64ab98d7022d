"""The accept lane: of those declined for their score alone, a few drawn by lot are lent a little.

What becomes of them shows what the score missed; each is recorded with the probability of the lot, so that an
evaluation can weigh it by the inverse. The money of a month is counted in the online store, whatever worker grants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain import policy as policies
from credit301.domain.draw import draw
from credit301.domain.policy import Policy, Scalar, Verdict
from credit301.errors import FeatureStoreError
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.stewardship import AcceptLane
from serving.features import OnlineStore
from serving.metrics import Metrics
from serving.wire import Command

# Grants once a month to one enterprise, as long as the month's sum stays below the cap; asking again changes nothing.
_RESERVE = b"""
local granted = redis.call('HGET', KEYS[1], ARGV[1])
if granted then return granted end
local total = tonumber(redis.call('HGET', KEYS[1], 'total') or '0')
if total + tonumber(ARGV[2]) > tonumber(ARGV[3]) then return false end
redis.call('HINCRBY', KEYS[1], 'total', ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return ARGV[2]
"""
_KEPT_SECONDS = b"34560000"
_CENTS = 100


class Lot(msgspec.Struct, frozen=True):
    """What came of the lot for one who was declined for the score alone.

    ``probability`` is that of being drawn; ``verdict`` is the loan, ``None`` where it was not drawn or money is out.
    """

    probability: float
    drawn: bool
    verdict: Verdict | None


class Lane:
    """Draws the lots of one workspace.

    Args:
        rules: how many, and up to how much money.
        hashed: the keyed hash, whose key also draws.
        store: where the money is counted.
        metrics: counts what came of the lots.
        workspace: name of the workspace.
    """

    def __init__(
        self, rules: AcceptLane, hashed: KeyedHash, store: OnlineStore, metrics: Metrics, workspace: str
    ) -> None:
        self._metrics = metrics
        self._rules = rules
        self._hashed = hashed
        self._store = store
        self._workspace = workspace

    async def consider(
        self,
        entity: str,
        policy: Policy,
        declined: Verdict,
        *,
        probability: float,
        values: Mapping[str, Scalar],
        amount: Decimal,
    ) -> Lot | None:
        """The lot of ``entity``; ``None`` where something else than the score declined it, or nothing could be lent."""
        verdict = policies.admit_by_lot(
            policy, declined, most=self._rules.limit_per_loan, probability=probability, values=values, amount=amount
        )
        if verdict is None or verdict.limit is None:
            return None
        drawn = draw(self._hashed.key, f"accept_lane {self._rules.round}", entity) < self._rules.share
        granted = drawn and await self._reserve(self._hashed(entity), verdict.limit)
        self._metrics.lot("granted" if granted else "no_money" if drawn else "not_drawn")
        return Lot(self._rules.share, drawn, verdict if granted else None)

    async def _reserve(self, named: str, yuan: Decimal) -> bool:
        key = f"credit301:accept_lane:{self._workspace}:{datetime.now(UTC):%Y-%m}".encode()
        cents, cap = (str(int(money * _CENTS)).encode() for money in (yuan, self._rules.monthly_cap))
        command = Command.of(key, b"EVAL", _RESERVE, b"1", key, named.encode(), cents, cap, _KEPT_SECONDS)
        try:
            (answer,) = await self._store.send([command])
        except FeatureStoreError:
            # Without the count there is no money: the decline stands.
            return False
        return answer is not None and int(answer) >= int(cents)
