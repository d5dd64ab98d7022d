"""The small tables a city is drawn from: GB/T 4754 industries, Wuhan districts, seasons."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from simulator.config import Floats, Text


@dataclass(frozen=True, slots=True)
class Industries:
    """One entry per industry; money in 10,000 yuan, `revenue_per_head` too, `season` is (industries, 12)."""

    code: Text
    trade_word: Text
    size_rule: Text
    weight: Floats
    revenue_median: Floats
    revenue_per_head: Floats
    asset_turnover: Floats
    margin: Floats
    vat_rate: Floats
    cyclicality: Floats
    individual_share: Floats
    season: Floats


@dataclass(frozen=True, slots=True)
class Districts:
    """GB/T 2260 districts of Wuhan with each one's share of enterprises."""

    code: Text
    name: Text
    weight: Floats


def _table(name: str) -> dict[str, list[str]]:
    with files("simulator").joinpath(f"data/{name}.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return {key: [row[key] for row in rows] for key in rows[0]}


def _share(values: list[str]) -> Floats:
    weight: Floats = np.array(values, dtype=np.float64)
    weight /= weight.sum()
    return weight


@cache
def industries() -> Industries:
    """The industry table, weights summing to one."""
    table, seasons = _table("industries"), _table("seasons")
    months = np.array([seasons[f"m{month}"] for month in range(1, 13)], dtype=np.float64).T
    profile = {name: months[position] / months[position].mean() for position, name in enumerate(seasons["season"])}
    numbers = {
        name: np.array(table[name], dtype=np.float64)
        for name in (
            "revenue_median", "revenue_per_head", "asset_turnover", "margin", "vat_rate", "cyclicality",
            "individual_share",
        )
    }  # fmt: skip
    return Industries(
        code=np.array(table["code"]),
        trade_word=np.array(table["trade_word"]),
        size_rule=np.array(table["size_rule"]),
        weight=_share(table["weight"]),
        season=np.stack([profile[name] for name in table["season"]]),
        **numbers,
    )


@cache
def districts() -> Districts:
    """The district table, weights summing to one."""
    table = _table("districts")
    return Districts(np.array(table["code"]), np.array(table["name_zh"]), _share(table["weight"]))
