"""Events that enterprises bring upon themselves: cases before courts, fines, and changes in the register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.dynamics import event_months, faded

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises

CASE_KINDS = ("judgment", "claim", "enforcement", "dishonest_listing", "administrative_penalty")
CHANGE_KINDS = (
    "legal_representative", "capital", "address", "scope", "shareholder", "abnormal_listing", "abnormal_removal",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Troubles:
    """Happenings by kind, and what is left of them; all (n, steps).

    `legal_burden` and `churn` fade with time; `listed` means on the list of abnormal operations.
    """

    cases: dict[str, Bools]
    changes: dict[str, Bools]
    legal_burden: Floats
    churn: Floats
    listed: Bools


def befall(config: CityConfig, block: int, firms: Enterprises, lives: Lives) -> Troubles:
    """Draw the events of one block from traits and health."""
    rng = config.rng("troubles", block)
    health, alive = lives.health, lives.trading
    size: Floats = np.clip(np.log10(firms.revenue / 1e6) * 0.35, -0.5, 1.2)[:, None]

    def hazard(base: float, slope: Floats, health_slope: float) -> Bools:
        return event_months(rng, base * alive * np.exp(slope[:, None] - health_slope * health))

    quarrel = 0.85 * firms.litigiousness
    judgment = event_months(rng, 0.016 * alive * np.exp(quarrel[:, None] + size - 0.45 * health))
    enforcement = _follow(rng, judgment, 0.45, 2, 7)
    cases = {
        "judgment": judgment,
        "claim": event_months(rng, 0.008 * alive * np.exp(0.3 * quarrel[:, None] + size)),
        "enforcement": enforcement,
        "dishonest_listing": _follow(rng, enforcement, 0.3, 2, 6),
        "administrative_penalty": hazard(0.007, -0.6 * firms.governance, 0.15),
    }
    unsettled = -0.8 * firms.governance
    listing = hazard(0.0035, unsettled, 0.35)
    removal = _follow(rng, listing, 0.8, 3, 10)
    changes = {
        "legal_representative": hazard(0.0075, unsettled, 0.3),
        "capital": hazard(0.005, 0.2 * firms.quality, -0.1),
        "address": hazard(0.011, 0.7 * unsettled, 0.15),
        "scope": hazard(0.009, 0.0 * unsettled, 0.0),
        "shareholder": hazard(0.009, 0.8 * unsettled, 0.2),
        "abnormal_listing": listing,
        "abnormal_removal": removal,
    }
    legal = (
        1.0 * judgment + 1.6 * cases["enforcement"] + 2.2 * cases["dishonest_listing"]
        + 0.8 * cases["administrative_penalty"]
    )  # fmt: skip
    churn = (
        1.4 * changes["legal_representative"] + 0.7 * changes["address"] + 0.8 * changes["shareholder"] + 1.5 * listing
        + 0.4 * (changes["capital"] * 1.0 + changes["scope"])
    )  # fmt: skip
    listed: Bools = np.cumsum(listing, axis=1) > np.cumsum(removal, axis=1)
    return Troubles(cases, changes, faded(legal, 10), faded(churn, 16), listed)


def gather(happenings: list[tuple[Ints, Ints, int]]) -> tuple[Ints, Ints, Ints]:
    """Enterprises, steps and kinds of `happenings`, each of them given by enterprises, steps and one kind."""
    firm = np.concatenate([rows for rows, _, _ in happenings])
    step = np.concatenate([steps for _, steps, _ in happenings])
    kind = np.repeat([number for _, _, number in happenings], [len(rows) for rows, _, _ in happenings])
    return firm, step, kind


def happened(events: Bools, kind: int) -> tuple[Ints, Ints, int]:
    """The cells of `events` (n, steps) that are true, as `gather` takes them."""
    firm, step = np.nonzero(events)
    return firm, step, kind


def _follow(rng: np.random.Generator, events: Bools, share: float, soonest: int, latest: int) -> Bools:
    """A later event after `share` of `events` (n, steps), `soonest` to `latest` months on."""
    row, step = np.nonzero(events)
    chosen = rng.random(len(row)) < share
    then = step + rng.integers(soonest, latest + 1, len(row))
    inside = chosen & (then < events.shape[1])
    result = np.zeros_like(events)
    result[row[inside], then[inside]] = True
    return result
