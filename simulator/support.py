"""What the city's treasury gives and orders: grants, interest subsidies, procurement contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import moment, money, numbered, ordinal_in_group, pick, table
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day
from simulator.dynamics import event_months

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises

KINDS = pa.array(["grant", "interest_subsidy", "procurement_award"])
_PROCUREMENT = 2
_MONTHLY = np.array([0.007, 0.003, 0.008])
_SHARE_OF_REVENUE = np.array([0.012, 0.004, 0.07])
_PROGRAMMES = pa.array(
    [
        "稳岗返还", "技术改造补助", "高新技术企业奖励", "创业担保贷款贴息", "小微企业贷款贴息", "设备更新贷款贴息",
        "货物采购", "服务采购", "工程采购",
    ]
)  # fmt: skip
_DEPARTMENTS = pa.array(["武汉市人力资源和社会保障局", "武汉市经济和信息化局", "武汉市财政局", "武汉市政府采购中心"])
_PROGRAMMES_EACH = 3


def support_table(config: CityConfig, block: int, firms: Enterprises, lives: Lives, active: Bools) -> pa.Table:
    """Records of source fiscal_support, published two to nine weeks after the award."""
    rng = config.rng("fiscal support", block)
    merit = np.exp(0.45 * firms.governance[:, None] + 0.3 * lives.health[:, WARM_UP:])
    events = np.stack([event_months(rng, monthly * merit * active) for monthly in _MONTHLY], axis=2)
    firm, month, kind = np.nonzero(events)
    count = len(firm)
    awarded = at_work(rng, month_start_day(config.month0 + month) + rng.integers(0, 28, count))
    amount = firms.revenue[firm] * _SHARE_OF_REVENUE[kind] * np.exp(rng.normal(0.0, 0.7, count))
    programme = rng.integers(0, _PROGRAMMES_EACH, count)
    department = np.where(kind == _PROCUREMENT, 3, np.where(programme == 0, 0, kind + 1))
    known = (awarded // SECONDS_PER_DAY + rng.integers(14, 63, count)) * SECONDS_PER_DAY
    return table(
        "fiscal_support",
        {
            "support_id": numbered("S", firms.index[firm] * 1000 + ordinal_in_group(firm)),
            "uscc": pick(firms.uscc, firm),
            "support_kind": pick(KINDS, kind),
            "programme": pick(_PROGRAMMES, kind * _PROGRAMMES_EACH + programme),
            "department": pick(_DEPARTMENTS, department),
            "amount": money(np.maximum(np.rint(amount / 100) * 100, 500)),
            "event_time": moment(awarded),
            "available_at": moment(known + rng.integers(8 * 3600, 20 * 3600, count)),
        },
    )
