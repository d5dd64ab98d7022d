"""The commission of development and reform: public credit evaluations, red and black lists, filed projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import moment, money, numbered, ordinal_in_group, pick, score, table
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day
from simulator.dynamics import event_months
from simulator.troubles import gather, happened

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises
    from simulator.troubles import Troubles

KINDS = pa.array(["credit_evaluation", "red_list", "black_list", "project_filing"])
_EVALUATION, _RED, _BLACK, _PROJECT = range(4)
GRADES = pa.array(["E", "D", "C", "B", "A"])
_GRADE_FROM = np.array([40.0, 55.0, 68.0, 78.0])
_EVALUATED_EVERY = 3
_COVERED = 0.95
_REASONS = pa.array(["纳税信用A级名单", "守合同重信用名单", "失信被执行人名单", "严重违法失信名单"])


def reform_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, troubles: Troubles, active: Bools
) -> pa.Table:
    """Records of source development_reform, published three to seven weeks after the event."""
    rng = config.rng("development and reform", block)
    history = slice(WARM_UP, None)
    quarter_end = (config.month0 + np.arange(config.months)) % _EVALUATED_EVERY == _EVALUATED_EVERY - 1
    covered = (rng.random(len(firms)) < _COVERED)[:, None]
    honour = 0.002 * np.exp(0.7 * firms.governance + 0.5 * firms.diligence)
    building = 0.003 * np.exp(0.25 * lives.health[:, history])
    found = [
        happened(active & quarter_end & covered, _EVALUATION),
        happened(event_months(rng, active * honour[:, None]), _RED),
        happened(active & troubles.cases["dishonest_listing"][:, history], _BLACK),
        happened(event_months(rng, active * building), _PROJECT),
    ]
    firm, month, kind = gather(found)
    order = np.lexsort((kind, month, firm))
    firm, month, kind = firm[order], month[order], kind[order]
    count = len(firm)
    evaluated = kind == _EVALUATION
    day = np.where(
        evaluated,
        month_start_day(config.month0 + month + 1) - 1,
        month_start_day(config.month0 + month) + rng.integers(0, 28, count),
    )
    points = _points(rng, firms, troubles, firm, month + WARM_UP)
    known = (day + rng.integers(21, 50, count)) * SECONDS_PER_DAY + rng.integers(8 * 3600, 20 * 3600, count)
    reason = np.where(kind == _BLACK, 2, 0) + rng.integers(0, 2, count)
    return table(
        "development_reform",
        {
            "record_id": numbered("D", firms.index[firm] * 1000 + ordinal_in_group(firm)),
            "uscc": pick(firms.uscc, firm),
            "record_kind": pick(KINDS, kind),
            "evaluation_grade": pick(GRADES, np.searchsorted(_GRADE_FROM, points, side="right"), missing=~evaluated),
            "evaluation_score": score(points, missing=~evaluated),
            "list_reason": pick(_REASONS, reason, missing=(kind != _RED) & (kind != _BLACK)),
            "investment_amount": money(
                np.rint(firms.revenue[firm] * 0.1 * np.exp(rng.normal(0.0, 0.6, count)) / 10_000 + 1) * 10_000,
                missing=kind != _PROJECT,
            ),
            "event_time": moment(at_work(rng, day)),
            "available_at": moment(known),
        },
    )


def _points(rng: np.random.Generator, firms: Enterprises, troubles: Troubles, firm: Ints, step: Ints) -> Floats:
    """Points of the evaluation, 0 to 100: courts, penalties, the register and the enterprise's order decide."""
    points = (
        82
        - 11.0 * np.log1p(troubles.legal_burden[firm, step])
        - 8.0 * np.log1p(troubles.churn[firm, step])
        - 8.0 * troubles.listed[firm, step]
        + 1.5 * firms.governance[firm]
        + rng.normal(0.0, 2.0, len(firm))
    )
    clipped: Floats = np.clip(points, 0.0, 100.0)
    return clipped
