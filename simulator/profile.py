"""What an enterprise says of itself: address, contact, products, premises, and a new version at every change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.codes import districts, industries
from simulator.columns import MICROSECONDS, moment, money, numbered, ordinal_in_group, pick, table, texts, whole
from simulator.config import SECONDS_PER_DAY
from simulator.enterprises import random_keys
from simulator.registration import last_in_group

if TYPE_CHECKING:
    from simulator.config import CityConfig, Floats, Ints
    from simulator.enterprises import Enterprises
    from simulator.rings import Rings

TENURES = pa.array(["owned", "rented"])
_PROFILED = ("founding", "address", "legal_representative", "scope")
_STREETS = pa.array(
    [
        "解放大道", "中山大道", "建设大道", "发展大道", "武珞路", "珞喻路", "雄楚大道", "友谊大道", "和平大道",
        "中北路", "汉阳大道", "鹦鹉大道", "关山大道", "光谷大道", "高新大道", "金银湖路", "三环路", "沿江大道",
        "丁字桥路", "创业路",
    ]
)  # fmt: skip
_ADDRESSES = 400
_SHARED_ADDRESS, _SHARED_PHONE = 0.6, 0.5
_FORMS = pa.array(["加工", "销售", "批发", "服务"])


def profile_table(config: CityConfig, block: int, firms: Enterprises, register: pa.Table, rings: Rings) -> pa.Table:
    """Records of source enterprise_profile, some days to weeks after the change was registered.

    `register` holds the block's records of business_registration in the order of enterprise and time. An address stays
    until the next move, a telephone until the next legal representative; enterprises of one owner share it, and so
    do many of a ring, often with an address.
    """
    rng = config.rng("profile", block)
    register = register.filter(pc.is_in(register["change_kind"], pa.array(_PROFILED)))
    firm = np.asarray(register["uscc"].combine_chunks().dictionary_encode().indices).astype(np.int64)
    kind = register["change_kind"].combine_chunks()
    moved, taken_over = (np.asarray(pc.equal(kind, name).to_numpy(zero_copy_only=False)) for name in _PROFILED[1:3])
    count = len(firm)
    since_move = last_in_group(firm, moved)
    tenure, area = _premises(rng, firms, firm, since_move)
    address, division = _addresses(rng, firms, register, firm, since_move, rings)
    happened = register["event_time"].combine_chunks().cast(pa.int64()).to_numpy() // MICROSECONDS
    known = register["available_at"].combine_chunks().cast(pa.int64()).to_numpy() // MICROSECONDS
    return table(
        "enterprise_profile",
        {
            "profile_id": numbered("P", firms.index[firm] * 1000 + ordinal_in_group(firm)),
            "uscc": pick(firms.uscc, firm),
            "version_no": whole(ordinal_in_group(firm) + 1),
            "enterprise_name": pick(firms.name, firm),
            "address": address,
            "division_code": division,
            "contact_phone_key": _phones(rng, firms, firm, last_in_group(firm, taken_over), taken_over, rings),
            "main_products": pc.binary_join_element_wise(
                pick(texts(industries().trade_word), firms.industry[firm]),
                pick(_FORMS, last_in_group(firm, ~moved & ~taken_over) % len(_FORMS)),
                "",
            ),
            "premises_tenure": pick(TENURES, tenure),
            "premises_area": money(area),
            "event_time": moment(happened),
            "available_at": moment(known + rng.integers(2 * SECONDS_PER_DAY, 25 * SECONDS_PER_DAY, count)),
        },
    )


def _premises(rng: np.random.Generator, firms: Enterprises, firm: Ints, place: Ints) -> tuple[Ints, Floats]:
    """Tenure (0 owned, 1 rented) and square metres of the premises of each version; `place` is where it moved in."""
    owned = 0.4 * np.log(firms.assets[firm] / 5e6) + 0.35 * firms.quality[firm] + rng.normal(0.0, 1.0, len(firm))[place]
    area = 18 * firms.headcount[firm] ** 0.9 * np.exp(rng.normal(0.3, 0.5, len(firm))[place])
    return np.where(owned > 1.0, 0, 1), np.rint(np.clip(area, 12, 200_000))


def _addresses(
    rng: np.random.Generator, firms: Enterprises, register: pa.Table, firm: Ints, place: Ints, rings: Rings
) -> tuple[pa.Array, pa.Array]:
    """Address and division of each version (n)."""
    count = len(firm)
    street, number, room = (rng.integers(0, high, count)[place] for high in (len(_STREETS), _ADDRESSES, 2_000))
    known = {code: index for index, code in enumerate(districts().code.tolist())}
    codes = register["division_code"].combine_chunks().dictionary_encode()
    lookup = np.array([known[code] for code in codes.dictionary.to_pylist()], dtype=np.int64)
    district = lookup[np.asarray(codes.indices)] if count else np.zeros(0, dtype=np.int64)
    shares = (rng.random(len(firms)) < _SHARED_ADDRESS) & (rings.of_firm >= 0)
    common = rng.integers(0, [len(districts().code), len(_STREETS), _ADDRESSES, 2_000], (rings.count + 1, 4))
    ring = np.where(shares, rings.of_firm, -1)[firm]
    for column, values in enumerate((district, street, number, room)):
        values[ring >= 0] = common[ring[ring >= 0], column]
    address = pc.binary_join_element_wise(
        "武汉市", pick(texts(districts().name), district), pick(_STREETS, street),
        pa.array(number + 1).cast(pa.string()), "号", pa.array(room + 101).cast(pa.string()), "室", "",
    )  # fmt: skip
    return address, pick(texts(districts().code), district)


def _phones(
    rng: np.random.Generator, firms: Enterprises, firm: Ints, latest: Ints, taken_over: np.ndarray, rings: Rings
) -> pa.Array:
    """Keyed hash of the contact's telephone: the owner's, a ring's, or that of who took over (n)."""
    own, takeovers = random_keys(rng, len(firms)), np.flatnonzero(taken_over)
    keys = pa.concat_arrays([own, random_keys(rng, rings.count), random_keys(rng, len(takeovers))])
    shares = (rng.random(len(firms)) < _SHARED_PHONE) & (rings.of_firm >= 0)
    base = np.where(shares, len(firms) + rings.of_firm, firms.owner)[firm]
    later = len(firms) + rings.count + np.searchsorted(takeovers, latest)
    return pick(keys, np.where(taken_over[latest] & ~shares[firm], later, base))
