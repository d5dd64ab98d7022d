"""Small real bundles, and rows in a real online store, for the tests of the scoring side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import lightgbm
import numpy as np
import pyarrow as pa
import redis

from credit301.domain.text import Text
from credit301.features.packed_wire import Kind, Layout, Scalar, entity_key, layout_key
from credit301.features.packing import pack
from credit301.model.bundle import (
    Ensemble,
    FeatureSpec,
    Manifest,
    Platt,
    Reason,
    SubModel,
    Term,
    ViewSpec,
)
from tests.support.applicants import BAD, GOOD

__all__ = ["BAD", "GOOD"]
PROJECT = "wuhan"
KEY = "uscc"
AS_OF = datetime(2024, 5, 31, 16, 30, 5, 250000, tzinfo=UTC)
STATUSES = ("active", "abnormal", "suspended", "revoked", "deregistered")

NUMBERS = {
    "business_registration": ("age_days", "registered_capital_last"),
    "tax_declaration": ("declared_sales_12m_sum", "declared_sales_12m_trend", "late_filing_count_12m"),
    "judicial_penalty": ("dishonest_listing_count_24m", "adverse_event_count_24m"),
}
CATEGORIES = {"business_registration": {"status_last": STATUSES}}
DIMENSIONS = {"business_registration": "business_registration", "tax_declaration": "tax", "judicial_penalty": "risk"}


def valid_uscc(prefix: str = "91420100MA4K0000") -> str:
    """A code whose check character fits, from its first 16 characters."""
    from stdnum.cn import uscc

    body = (prefix + "0" * 17)[:17]
    return body + str(uscc.calc_check_digit(body))


def views() -> tuple[ViewSpec, ...]:
    """Three views, one of them with a category."""
    result = []
    for view, numbers in NUMBERS.items():
        named: dict[str, tuple[str, ...] | None] = dict.fromkeys(numbers)
        named |= CATEGORIES.get(view, {})
        result.append(
            ViewSpec(
                name=view,
                dimension=DIMENSIONS[view],
                title=Text(zh=f"{view}来源", en=view.replace("_", " ")),
                features=tuple(
                    FeatureSpec(
                        name=name,
                        kind="number" if values is None else "category",
                        categories=values,
                        label=Text(zh=f"{name}指标", en=name.replace("_", " ")),
                    )
                    for name, values in named.items()
                ),
            )
        )
    return tuple(result)


@dataclass(frozen=True)
class Trained:
    """A manifest with its files and, for comparison, the boosters that were written into them."""

    manifest: Manifest
    files: dict[str, bytes]
    boosters: dict[str, lightgbm.Booster]


def rows(view: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random feature rows of a view in plan order, with holes; shape (count, features)."""
    columns = [
        rng.uniform(100, 6000, count) if name == "age_days" else rng.normal(size=count) * 3 for name in NUMBERS[view]
    ]
    columns += [rng.integers(0, len(values), count).astype(float) for values in CATEGORIES.get(view, {}).values()]
    matrix = np.stack(columns, axis=1)
    if view == "judicial_penalty":
        matrix = np.abs(matrix.round())
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix


@lru_cache(maxsize=4)
def trained(version: str = "v1", intercept: float = -0.5) -> Trained:
    """A small ensemble trained on made numbers; the same call gives the same bytes."""
    files: dict[str, bytes] = {}
    boosters: dict[str, lightgbm.Booster] = {}
    submodels: list[SubModel] = []
    for index, view in enumerate(views()):
        rng = np.random.default_rng(301 + index)
        matrix = rows(view.name, 1500, rng)
        filled = np.nan_to_num(matrix)
        signal = (filled[:, -1] > 2) * 1.5 - filled[:, 0] / (3000 if "age_days" in NUMBERS[view.name] else 4)
        label = (signal + rng.normal(size=len(matrix)) > 0.5).astype(int)
        names = [feature.name for feature in view.features]
        booster = lightgbm.train(
            {"objective": "binary", "num_leaves": 7, "verbose": -1, "seed": 1, "num_threads": 1, "deterministic": True},
            lightgbm.Dataset(
                matrix,
                label,
                feature_name=names,
                categorical_feature=[f.name for f in view.features if f.kind == "category"],
            ),
            num_boost_round=25,
        )
        path = f"models/{view.name}.txt"
        files[path] = booster.model_to_string().encode()
        boosters[view.name] = booster
        submodels.append(
            SubModel(
                name=view.name,
                level="source",
                dimension=view.dimension,
                view=view.name,
                features=tuple(names),
                file=path,
                logit_shift=-1.0,
            )
        )
    manifest = Manifest(
        workspace=PROJECT,
        version=version,
        created_at="2024-06-01T00:00:00Z",
        entity_key=KEY,
        feature_project=PROJECT,
        feature_version="test",
        views=views(),
        submodels=tuple(submodels),
        ensemble=Ensemble(
            kind="logistic",
            intercept=intercept,
            terms=tuple(
                Term(submodel=model.name, weight=weight, missing_logit=missing)
                for model, weight, missing in zip(submodels, (0.4, 0.7, 0.5), (0.1, 0.2, -0.1), strict=True)
            ),
        ),
        calibration=Platt(a=0.9, b=-1.0),
        reasons={
            f"{view.name}:{feature.name}": Reason(
                adverse=Text(zh=f"{feature.name}偏不利", en=f"{feature.name} speaks against it"),
                favourable=Text(zh=f"{feature.name}较有利", en=f"{feature.name} speaks for it"),
            )
            for view in views()
            for feature in view.features
        },
        dimensions={
            "business_registration": Text(zh="工商", en="business registration"),
            "tax": Text(zh="税务", en="tax"),
            "risk": Text(zh="风险", en="risk"),
        },
        cut_off=0.25,
        metrics={"auc": 0.8},
    )
    return Trained(manifest=manifest, files=files, boosters=boosters)


def put(
    client: redis.Redis, entity: str, values: Mapping[str, Scalar], *, as_of: datetime = AS_OF, only: str | None = None
) -> None:
    """Write an entity's rows as materialization does: each view in ``values`` (of ``only`` one view)."""
    micros = np.array([(as_of - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)])
    for view in views():
        row = {name: values[f"{view.name}:{name}"] for name in _names(view) if f"{view.name}:{name}" in values}
        if row and only in {None, view.name}:
            kinds: dict[str, Kind] = {
                feature.name: "d" if feature.kind == "number" else "s" for feature in view.features
            }
            layout = Layout(tuple(row), tuple(kinds[name] for name in row))
            arrow = {"d": pa.float64(), "s": pa.string()}
            columns = {name: pa.array([value], arrow[kinds[name]]) for name, value in row.items()}
            client.hset(entity_key(PROJECT, KEY, entity), view.name, pack(layout, columns, micros, micros)[0].as_py())  # type: ignore[arg-type]
            client.set(layout_key(PROJECT, layout.fingerprint), layout.text)


def _names(view: ViewSpec) -> list[str]:
    return [feature.name for feature in view.features]
