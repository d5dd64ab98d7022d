"""Cases and penalties, published weeks after they are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.codes import districts
from simulator.columns import moment, money, numbered, ordinal_in_group, pick, table
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day
from simulator.troubles import CASE_KINDS, gather, happened

if TYPE_CHECKING:
    from simulator.aftermath import Aftermath
    from simulator.config import CityConfig, Ints
    from simulator.enterprises import Enterprises
    from simulator.troubles import Troubles

# A claim is a judgment in which the enterprise is the plaintiff.
_EVENT_KINDS = pa.array(["judgment", "judgment", "enforcement", "dishonest_listing", "administrative_penalty"])
_ROLES = pa.array(["defendant", "plaintiff", "defendant", "defendant", "penalised"])
_PENALTY = 4
_AUTHORITIES = ("人民法院", "市场监督管理局", "生态环境局", "应急管理局")


def court_table(config: CityConfig, block: int, firms: Enterprises, troubles: Troubles, after: Aftermath) -> pa.Table:
    """Records of source judicial_penalty, from two years before the history on."""
    rng = config.rng("court", block)
    found = [happened(troubles.cases[kind], number) for number, kind in enumerate(CASE_KINDS)]
    for number, steps in (
        (CASE_KINDS.index("judgment"), after.lawsuit),
        (CASE_KINDS.index("enforcement"), after.enforcement),
    ):
        sued = np.flatnonzero(steps < config.steps)
        found.append((sued, steps[sued], number))
    firm, step, kind = gather(found)
    kept = np.flatnonzero(step < after.closing[firm] + 6)
    order = kept[np.lexsort((kind[kept], step[kept], firm[kept]))]
    firm, step, kind = firm[order], step[order], kind[order]

    count = len(firm)
    start = month_start_day(config.month0 - WARM_UP + step)
    moments = at_work(rng, start + rng.integers(0, 28, count))
    base = firms.revenue[firm] * np.where(kind == _PENALTY, 0.002, 0.05)
    published = (moments // SECONDS_PER_DAY + rng.integers(10, 60, count)) * SECONDS_PER_DAY
    return table(
        "judicial_penalty",
        {
            "case_id": numbered("C", firms.index[firm] * 1000 + ordinal_in_group(firm)),
            "uscc": pick(firms.uscc, firm),
            "event_kind": pick(_EVENT_KINDS, kind),
            "role": pick(_ROLES, kind),
            "amount": money(np.maximum(base * np.exp(rng.normal(0.0, 0.8, count)), 200.0)),
            "authority": pick(_authorities(), _authority(rng, firms, firm, kind)),
            "event_time": moment(moments),
            "available_at": moment(published + rng.integers(8 * 3600, 20 * 3600, count)),
        },
    )


def _authorities() -> pa.Array:
    return pa.array([f"武汉市{name}{office}" for name in districts().name for office in _AUTHORITIES])


def _authority(rng: np.random.Generator, firms: Enterprises, firm: Ints, kind: Ints) -> Ints:
    office = np.where(kind == _PENALTY, rng.integers(1, len(_AUTHORITIES), len(firm)), 0)
    return firms.district[firm] * len(_AUTHORITIES) + office
