"""The register of enterprises: the founding, and a new version of the registered state at every change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.codes import districts, industries
from simulator.columns import day as day_column
from simulator.columns import moment, money, numbered, ordinal_in_group, pick, table, texts, whole
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day
from simulator.enterprises import TYPES, random_keys
from simulator.troubles import CHANGE_KINDS, gather, happened

if TYPE_CHECKING:
    from simulator.aftermath import Aftermath
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.enterprises import Enterprises
    from simulator.troubles import Troubles

KINDS = ("founding", *CHANGE_KINDS, "status")
STATUSES = pa.array(["active", "abnormal", "suspended", "revoked", "deregistered"])
_ACTIVE, _ABNORMAL, _SUSPENDED, _REVOKED, _DEREGISTERED = range(5)


@dataclass(frozen=True, slots=True)
class _Changes:
    """Changes in the order of enterprise and time."""

    firm: Ints
    kind: Ints
    seconds: Ints


def registration_table(
    config: CityConfig, block: int, firms: Enterprises, troubles: Troubles, after: Aftermath
) -> pa.Table:
    """Records of source business_registration: one version of the whole registered state per change."""
    rng = config.rng("registration", block)
    changes = _changes(config, rng, firms, troubles, after)
    firm, kind, count = changes.firm, changes.kind, len(changes.firm)

    def running(name: str, step: Floats | Ints) -> Floats:
        return running_sum(firm, np.where(kind == KINDS.index(name), step, 0))

    people = running("legal_representative", np.ones(count))
    capital = firms.capital[firm] * np.exp(running("capital", rng.normal(0.25, 0.4, count)))
    capital = np.rint(capital / 10_000 + 0.5) * 10_000
    district = _moved(rng, firms, changes)
    holders = np.maximum(firms.shareholders[firm] + running("shareholder", rng.integers(-1, 2, count)), 1)
    return table(
        "business_registration",
        {
            "record_id": numbered("R", firms.index[firm] * 1000 + ordinal_in_group(firm)),
            "uscc": pick(firms.uscc, firm),
            "enterprise_name": pick(firms.name, firm),
            "legal_representative_key": _people(rng, firms, firm, people.astype(np.int64)),
            "registered_capital": money(capital),
            "enterprise_type": pick(texts(TYPES), firms.kind[firm]),
            "industry_code": pick(texts(industries().code), firms.industry[firm]),
            "division_code": pick(texts(districts().code), district),
            "enterprise_size": pick(texts(firms.size), firm),
            "established_on": day_column(firms.established_day[firm]),
            "status": pick(STATUSES, _status(rng, changes)),
            "shareholder_count": whole(holders),
            "change_kind": pick(pa.array(KINDS), kind),
            "event_time": moment(changes.seconds),
            "available_at": moment(changes.seconds + rng.integers(SECONDS_PER_DAY, 5 * SECONDS_PER_DAY, count)),
        },
    )


def _changes(
    config: CityConfig, rng: np.random.Generator, firms: Enterprises, troubles: Troubles, after: Aftermath
) -> _Changes:
    found = [happened(troubles.changes[kind], KINDS.index(kind)) for kind in CHANGE_KINDS]
    ended = np.flatnonzero(after.closing < config.steps)
    found.append((ended, after.closing[ended], KINDS.index("status")))
    firm, step, kind = gather(found)
    # Nothing changes in the month of the founding, nor after the end.
    ends = kind == KINDS.index("status")
    kept = (step > firms.born[firm]) & (ends | (step < after.closing[firm]))
    firm, step, kind = firm[kept], step[kept], kind[kept]
    seconds = at_work(rng, month_start_day(config.month0 - WARM_UP + step) + rng.integers(0, 28, len(firm)))
    everyone = np.arange(len(firms))
    firm = np.concatenate([everyone, firm])
    kind = np.concatenate([np.zeros_like(everyone), kind])
    seconds = np.concatenate([at_work(rng, firms.established_day), seconds])
    order = np.lexsort((kind, seconds, firm))
    return _Changes(firm[order], kind[order], seconds[order])


def running_sum(firm: Ints, step: Floats | Ints) -> Floats:
    """Cumulative sum of `step` within each enterprise."""
    total: Floats = np.cumsum(step, dtype=np.float64)
    first = np.arange(len(firm)) - ordinal_in_group(firm)
    total -= total[first] - step[first]
    return total


def last_in_group(firm: Ints, marked: Bools) -> Ints:
    """For each row the latest `marked` row of its enterprise, itself included; the enterprise's first if none."""
    position = np.arange(len(firm))
    first = position - ordinal_in_group(firm)
    latest: Ints = np.maximum(np.maximum.accumulate(np.where(marked, position, 0)), first)
    return latest


def _moved(rng: np.random.Generator, firms: Enterprises, changes: _Changes) -> Ints:
    """The district after each change: some moves cross a border."""
    moves = (changes.kind == KINDS.index("address")) & (rng.random(len(changes.firm)) < 0.4)  # noqa: PLR2004
    district = np.where(
        moves,
        rng.choice(len(districts().code), len(changes.firm), p=districts().weight),
        firms.district[changes.firm],
    )
    return district[last_in_group(changes.firm, moves)]


def _status(rng: np.random.Generator, changes: _Changes) -> Ints:
    kind = changes.kind
    ending = rng.choice([_SUSPENDED, _REVOKED, _DEREGISTERED], len(kind), p=[0.1, 0.35, 0.55])
    status = np.full(len(kind), _ACTIVE)
    status[kind == KINDS.index("abnormal_listing")] = _ABNORMAL
    over = kind == KINDS.index("status")
    status[over] = ending[over]
    deciding = over | (kind == KINDS.index("abnormal_listing")) | (kind == KINDS.index("abnormal_removal"))
    return status[last_in_group(changes.firm, deciding)]


def _people(rng: np.random.Generator, firms: Enterprises, firm: Ints, successor: Ints) -> pa.Array:
    """Key of the legal representative: the owner, or the one who took over at the latest change."""
    owners = random_keys(rng, len(firms))
    takeovers = np.unique(firm[successor > 0] * 1000 + successor[successor > 0])
    keys = pa.concat_arrays([owners, random_keys(rng, len(takeovers))])
    later = len(firms) + np.searchsorted(takeovers, firm * 1000 + successor)
    return pick(keys, np.where(successor > 0, later, firms.owner[firm]))
