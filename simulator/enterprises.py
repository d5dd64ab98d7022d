"""The enterprises of a block: what they are, who owns them, and the traits that nobody sees directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.codes import districts, industries
from simulator.columns import pick, texts
from simulator.config import WARM_UP, CityConfig, month_start_day
from simulator.sizes import size_class
from simulator.uscc import credit_codes

if TYPE_CHECKING:
    from simulator.config import Bools, Floats, Ints, Text

TYPES = np.array(["limited_liability", "joint_stock", "sole_proprietorship", "partnership", "individual_business"])
INDIVIDUAL = 4
_TYPE_SHARES = np.array([0.86, 0.03, 0.07, 0.04])
_SUFFIXES = np.array(["有限公司", "股份有限公司", "厂", "合伙企业（普通合伙）", "经营部"])
_SYLLABLES = np.array(
    list(
        "安邦宝博昌诚创达德鼎东丰福富冠光广国海汉和恒宏华汇嘉江金锦晶景凯康科利联隆茂美铭诺鹏启泰腾天通同旺祥欣新信兴旭雅亿益永友裕元源远云泽正志中众卓"
    )
)
_YOUNGEST_SHARE = 0.14


@dataclass(frozen=True, slots=True)
class Enterprises:
    """n enterprises; money in yuan a year, months counted from the start of the latent paths.

    Traits (`quality`, `diligence`, `discipline`, `litigiousness`, `governance`) are standard normal, higher is
    better except for litigiousness; enterprises of one owner share diligence and
    discipline, and who files late also pays late.
    """

    index: Ints
    uscc: pa.Array
    name: pa.Array
    kind: Ints
    industry: Ints
    district: Ints
    owner: Ints
    customer: Ints
    established_day: Ints
    born: Ints
    size: Text
    revenue: Floats
    headcount: Floats
    assets: Floats
    capital: Floats
    shareholders: Ints
    quality: Floats
    diligence: Floats
    discipline: Floats
    litigiousness: Floats
    governance: Floats
    has_tax: Bools
    has_insurance: Bools
    has_statements: Bools

    def __len__(self) -> int:
        """Number of enterprises."""
        return len(self.index)


def found(config: CityConfig, block: int, indices: range) -> Enterprises:
    """Found the enterprises of one block."""
    rng = config.rng("enterprises", block)
    count, trade, place = len(indices), industries(), districts()
    index = np.arange(indices.start, indices.stop, dtype=np.int64)
    industry = rng.choice(len(trade.code), count, p=trade.weight)
    district = rng.choice(len(place.code), count, p=place.weight)
    individual = rng.random(count) < trade.individual_share[industry]
    kind = np.where(individual, INDIVIDUAL, rng.choice(4, count, p=_TYPE_SHARES))
    established_day, born = _births(config, rng, count)

    scale = np.where(individual, 0.22, 1.0) * np.exp(rng.normal(0.0, 0.95, count))
    revenue = trade.revenue_median[industry] * scale
    heads = np.maximum(1, np.rint(revenue / trade.revenue_per_head[industry] * np.exp(rng.normal(0.0, 0.35, count))))
    assets = revenue / trade.asset_turnover[industry] * np.exp(rng.normal(0.0, 0.35, count))
    capital = np.maximum(1.0, np.rint(assets * np.exp(rng.normal(-0.9, 0.8, count))))

    # Some owners run two or three enterprises: the first owners' share of all is what remains.
    owners = max(1, int(count * 0.92))
    owner = np.where(np.arange(count) < owners, np.arange(count), rng.integers(0, owners, count))
    diligence = rng.standard_normal(owners)[owner]
    share = 1 - individual
    return Enterprises(
        index=index,
        uscc=texts(credit_codes(index, place.code[district], individual)),
        name=_names(rng, district, industry, kind),
        kind=kind,
        industry=industry,
        district=district,
        owner=owner,
        customer=rng.integers(0, count, count),
        established_day=established_day,
        born=born,
        size=size_class(trade.size_rule[industry], heads.astype(np.int64), revenue, assets),
        revenue=revenue * 10_000,
        headcount=heads,
        assets=assets * 10_000,
        capital=capital * 10_000,
        shareholders=np.where(individual | (kind == 2), 1, 1 + rng.poisson(1.2, count)),  # noqa: PLR2004
        quality=rng.standard_normal(count),
        diligence=diligence,
        discipline=0.75 * diligence + 0.66 * rng.standard_normal(owners)[owner],
        litigiousness=rng.standard_normal(count),
        governance=rng.standard_normal(count),
        has_tax=rng.random(count) >= 0.04,  # noqa: PLR2004
        has_insurance=rng.random(count) < 0.94 * share,
        has_statements=rng.random(count) < 0.92 * share,
    )


def _births(config: CityConfig, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Founding days, and the path month in which each enterprise begins to trade (negative for old ones)."""
    span = config.months - 6
    young = rng.random(count) < _YOUNGEST_SHARE
    age = np.where(young, -rng.integers(0, max(1, span), count), 1 + np.minimum(rng.exponential(84, count), 360))
    month = config.month0 - age.astype(np.int64)
    return month_start_day(month) + rng.integers(0, 28, count), month - config.month0 + WARM_UP


def _names(rng: np.random.Generator, district: Ints, industry: Ints, kind: Ints) -> pa.Array:
    count = len(district)
    syllables = [pick(texts(_SYLLABLES), rng.integers(0, len(_SYLLABLES), count)) for _ in range(3)]
    return pc.binary_join_element_wise(
        "武汉市",
        pick(texts(districts().name), district),
        *syllables,
        pick(texts(industries().trade_word), industry),
        pick(texts(_SUFFIXES), kind),
        "",
    )


def random_keys(rng: np.random.Generator, count: int) -> pa.Array:
    """`count` texts of 64 hex digits, such as a keyed hash of an identity number gives."""
    digits = np.frombuffer(rng.bytes(32 * count).hex().encode(), dtype="S64")
    return pa.array(digits.tolist(), pa.binary()).cast(pa.string())
