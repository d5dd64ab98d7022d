"""Reasons: the strongest contributions in words, chosen to answer "why this outcome, and why not a better one?"."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice, takewhile
from typing import Literal

from credit301.domain.decision import Reason
from credit301.domain.text import Text
from credit301.domain.verdict import Scalar, Verdict
from credit301.model.bundle import FeatureSpec, Manifest
from credit301.model.scorer import Score

LIMIT = 4
"""Feature reasons given in the direction of the outcome."""
OTHER = 2
"""Feature reasons given against it, where an approval could have been better."""


def of_policy(verdict: Verdict) -> list[Reason]:
    """What the strategy said: all reasons that there are where nothing was scored."""
    return [Reason(kind="policy", code=cause.code, direction="adverse", text=cause.text) for cause in verdict.causes]


class Explainer:
    """Words for the scores of one bundle."""

    def __init__(self, manifest: Manifest) -> None:
        self._reasons = manifest.reasons
        self._features: dict[str, FeatureSpec] = {
            f"{view.name}:{feature.name}": feature for view in manifest.views for feature in view.features
        }
        self._titles = {view.name: view.title or Text(zh=view.name, en=view.name) for view in manifest.views}
        self._views = {model.name: model.view for model in manifest.submodels}

    def explain(
        self, score: Score | None, values: Mapping[str, Scalar], verdict: Verdict, best_band: str
    ) -> tuple[Reason, ...]:
        """Reasons for ``verdict``, most important first.

        A decline: what the strategy said, then what raised the probability. An approval: what lowered it, then, below
        the ``best_band`` or the amount asked for, what stood in the way. Last, the sources that had no data.
        """
        if score is None:
            return tuple(of_policy(verdict))
        contributions = score.contributions
        ranked = sorted(contributions, key=contributions.__getitem__)
        favourable = takewhile(lambda key: contributions[key] < 0, ranked)
        adverse = takewhile(lambda key: contributions[key] > 0, reversed(ranked))
        policy = of_policy(verdict)
        declined = verdict.limit is None
        could_be_better = bool(verdict.causes) or verdict.band != best_band
        against = OTHER if could_be_better else 0
        strongest = islice(adverse, LIMIT) if declined else (*islice(favourable, LIMIT), *islice(adverse, against))
        chosen = [self._feature(key, contributions[key], values.get(key)) for key in strongest]
        missing = [self._missing(name) for name in score.missing_sources]
        return tuple([*policy, *chosen, *missing] if declined else [*chosen, *policy, *missing])

    def _feature(self, key: str, contribution: float, value: Scalar) -> Reason:
        spec = self._features[key]
        source = key.partition(":")[0]
        label = spec.label or Text(zh=spec.name, en=spec.name)
        direction: Literal["adverse", "favourable"] = "adverse" if contribution > 0 else "favourable"
        words = self._reasons.get(key)
        if value is None:
            text = Text(zh=f"{label.zh}：暂无数据", en=f"{label.en}: no data")
        elif words is not None:
            text = words.adverse if direction == "adverse" else words.favourable
        elif direction == "adverse":
            text = Text(zh=f"{label.zh}使预计风险上升", en=f"{label.en} raises the estimated risk")
        else:
            text = Text(zh=f"{label.zh}使预计风险下降", en=f"{label.en} lowers the estimated risk")
        return Reason(
            kind="feature",
            code=key,
            direction=direction,
            text=text,
            source=source,
            label=label,
            value=value,
            unit=spec.unit,
            contribution=contribution,
        )

    def _missing(self, submodel: str) -> Reason:
        view = self._views[submodel]
        title = self._titles[view]
        return Reason(
            kind="missing_source",
            code=f"missing.{view}",
            direction="neutral",
            text=Text(
                zh=f"{title.zh}：该来源暂无此企业的数据，未据此作不利判断",
                en=f"{title.en}: this source has no data on the enterprise, which is not held against it",
            ),
            source=view,
        )
