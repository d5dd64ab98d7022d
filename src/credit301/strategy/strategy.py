"""A strategy, compiled: from a probability and what was read to yes or no, how much, and at what rate.

Stages are asked in order: admission, anti-fraud, policy. A graph of admission or fraud says a list, each item of it
with a ``code`` and, where a person is to look, ``action: "refer"``. The policy's graph says ``band``, ``annual_rate``
and ``bounds``, amounts in yuan by code, the lowest of which bounds the limit; or ``decline`` or ``refer`` with a code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from credit301.domain.money import RATE, floor_to
from credit301.domain.text import Text
from credit301.domain.verdict import ABOVE_CUT_OFF, Cause, Outcome, RuleResult, Scalar, Stage, Verdict
from credit301.strategy import jdm
from credit301.strategy.check import check
from credit301.strategy.definition import STAGES, Document
from credit301.strategy.errors import StrategyError, ValueMissing
from credit301.strategy.fallback import Fallen, Gap, RulesOnly, fallen
from credit301.strategy.graph import Answer, Graph
from credit301.strategy.wording import above, below_minimum, by_lot, unknown, worded

REFER = "refer"
READ = ("features", "windows")
"""Names of the context under which are what was read, by source."""
_OTHER = frozenset({dict, Decimal, list})
"""Kinds of values in a graph that are no scalars."""


class Strategy:
    """A strategy ready to decide. It keeps nothing between two decisions.

    Args:
        document: the strategy.
        known: keys of the features (``<view>:<feature>``) and names of the windows that there are; ``None`` does not
            check, as for one that has decided already.

    Raises:
        StrategyError: a graph, a cell, or what a cell reads or says is wrong; the message names it.
    """

    def __init__(self, document: Document, known: Iterable[str] | None = None) -> None:
        self.document = document
        self.name = document.name
        self.definition = document.definition
        self.product = document.definition.product
        self._graphs: dict[Stage, Graph] = {
            stage: Graph(jdm.parse(data, f"{document.name}/{document.definition.graph_file(stage)}"), stage)
            for stage, data in document.graphs.items()
        }
        self._words = {code: Text(zh=text.zh, en=text.en) for code, text in document.definition.wording.items()}
        self._labels = {key: Text(zh=text.zh, en=text.en) for key, text in document.labels.items()}
        check(document, self._graphs, None if known is None else frozenset(known))
        paths = {read.path.partition(".")[::2] for graph in self._graphs.values() for read in graph.reads()}
        self._read: dict[str, dict[str, list[tuple[str, str]]]] = {root: {} for root in READ}
        for root, rest in sorted(paths):
            if root in READ:
                source, _, name = rest.partition(".")
                self._read[root].setdefault(source, []).append((name, f"{source}:{name}"))
        self._fixed = {"parameters": document.definition.parameters, "tables": document.tables}

    @classmethod
    def from_text(cls, text: bytes) -> Strategy:
        """The strategy whose :attr:`text` this is.

        Raises:
            StrategyError: it is of no strategy that this release evaluates.
        """
        try:
            return cls(Document.model_validate_json(text))
        except ValidationError as error:
            raise StrategyError(f"A kept strategy cannot be read: {error.errors()[0]['msg']}.") from error

    @property
    def version(self) -> str:
        """Its name, and the version that its author gave it."""
        return f"{self.name} {self.definition.version}"

    @cached_property
    def text(self) -> bytes:
        """The document as it is kept."""
        return json.dumps(self.document.model_dump(mode="json"), ensure_ascii=False, sort_keys=True).encode("utf-8")

    @cached_property
    def sha256(self) -> str:
        """Digest of :attr:`text`."""
        return hashlib.sha256(self.text).hexdigest()

    def features(self) -> tuple[str, ...]:
        """Keys (``<view>:<feature>``) of the features and names of the windows that it reads."""
        return tuple(key for sources in self._read.values() for names in sources.values() for _, key in names)

    def gaps(self, values: Mapping[str, Scalar]) -> list[Gap]:
        """What the strategy says to be missing from ``values``: windows that its graphs read and are not known."""
        if self.definition.fallbacks.windows is None:
            return []
        unknown = [key for names in self._read["windows"].values() for _, key in names if values.get(key) is None]
        return [Gap("windows")] if unknown else []

    def fallen(self, gaps: Iterable[Gap]) -> list[Fallen]:
        """What it does for ``gaps``; one that makes it unavailable, or is no matter to it, is not among them."""
        return fallen(self.definition.fallbacks, gaps)

    def without(self, gap: Gap, amount: Decimal, term_months: int) -> Verdict | None:
        """The verdict where ``gap`` leaves nothing to decide from; ``None`` where the strategy is unavailable then.

        Raises:
            Refusal: the amount or term is outside the product.
        """
        self.product.check_request(amount, term_months)
        taken = self.fallen([gap])
        return None if not taken or taken[0].most is not None else _fallen_back(taken)

    def decide(
        self,
        *,
        probability: float | None,
        score: int | None,
        values: Mapping[str, Scalar],
        amount: Decimal,
        term_months: int,
        taken: Sequence[Fallen] = (),
    ) -> Verdict:
        """Decide on one request.

        Args:
            probability: calibrated probability of default, 0 to 1; ``None`` where rules alone decide.
            score: points.
            values: what was read, by ``<view>:<feature>`` or name of a window; ``None`` where not known.
            amount: yuan asked for.
            term_months: months asked for.
            taken: what it does for want of something (:meth:`fallen`).

        Raises:
            Refusal: the amount or term is outside the product.
            StrategyError: an expression cannot be evaluated on these values, or there is neither a probability nor a
                fallback.
        """
        self.product.check_request(amount, term_months)
        if any(item.most is None for item in taken):
            return _fallen_back(taken)
        if probability is None:
            rules_only = self.definition.fallbacks.model
            if not isinstance(rules_only, RulesOnly):
                raise StrategyError(f"{self.name}: it does not decide without a score.")
            probability = rules_only.probability
        context = self._context(probability, score, values, amount, term_months)
        causes: list[Cause] = []
        rules: list[RuleResult] = []
        refers: list[bool] = []
        for stage in STAGES[:-1]:
            if stage in self._graphs:
                hits = self._hits(stage, context, rules)
                causes += [cause for cause, _ in hits]
                refers += [refer for _, refer in hits]
        if probability > self.definition.cut_off:
            causes.append(above(ABOVE_CUT_OFF, probability, self.definition.cut_off))
            refers.append(False)
        if causes:
            return _ended(causes, rules, refer=all(refers))
        return self._lend(context, rules, amount, taken)

    def admit_by_lot(
        self,
        declined: Verdict,
        *,
        score: int,
        most: Decimal,
        values: Mapping[str, Scalar],
        amount: Decimal,
        term_months: int,
        taken: Sequence[Fallen] = (),
    ) -> Verdict | None:
        """``declined`` turned into a small loan, on the terms of one at the cut-off, if the score alone declined it.

        ``most`` is the yuan that such a loan may have; the rest is as for :meth:`decide`. ``None`` where something
        else declined it, or nothing could be lent.
        """
        if declined.outcome is not Outcome.DECLINE or {cause.code for cause in declined.causes} != {ABOVE_CUT_OFF}:
            return None
        context = self._context(self.definition.cut_off, score, values, amount, term_months)
        lent = self._lend(context, list(declined.rules), min(amount, most), taken)
        if lent.limit is None:
            return None
        return Verdict(
            Outcome.APPROVE, None, lent.limit, lent.annual_rate, (*declined.causes, by_lot(lent.limit)), lent.rules
        )

    def _context(
        self, probability: float, score: int | None, values: Mapping[str, Scalar], amount: Decimal, term_months: int
    ) -> dict[str, Any]:
        return {
            **{
                root: {source: {name: values.get(key) for name, key in names} for source, names in sources.items()}
                for root, sources in self._read.items()
            },
            "application": {"amount": amount, "term_months": term_months},
            "score": {"probability": probability, "points": score},
            **self._fixed,
        }

    def _hits(self, stage: Stage, context: Mapping[str, Any], rules: list[RuleResult]) -> list[tuple[Cause, bool]]:
        """What speaks against lending at a stage, each with whether a person is to look at it; adds to ``rules``."""
        answer = self._asked(stage, context)
        if isinstance(answer, Cause):
            return [(answer, self.definition.unknown_value == REFER)]
        rules += self._told(stage, answer)
        return [
            (Cause(f"rule.{hit['code']}", worded(self._words, hit["code"])), hit.get("action") == REFER)
            for hit in answer.result
        ]

    def _lend(
        self, context: Mapping[str, Any], rules: list[RuleResult], amount: Decimal, taken: Sequence[Fallen]
    ) -> Verdict:
        answer = self._asked("policy", context)
        if isinstance(answer, Cause):
            return _ended([answer], rules, refer=self.definition.unknown_value == REFER)
        rules += self._told("policy", answer)
        said = answer.result
        if code := said.get("decline") or said.get(REFER):
            return _ended([Cause(code, worded(self._words, code))], rules, refer=not said.get("decline"))
        missing = next(
            (path for path in ("band", "annual_rate") if said.get(path) is None),
            next((f"bounds.{code}" for code, most in said.get("bounds", {}).items() if most is None), None),
        )
        if missing is not None:
            cause = self._unknown(ValueMissing("policy", missing, missing))
            return _ended([cause], rules, refer=self.definition.unknown_value == REFER)
        if said["band"] not in self.definition.bands:
            raise StrategyError(f"{self.name}: the policy says band {said['band']!r}, and there is no such band.")
        bounds = {code: max(Decimal(0), Decimal(most)) for code, most in said.get("bounds", {}).items()}
        code, lowest = min(bounds.items(), key=lambda item: item[1], default=("", amount))
        causes = [Cause(code, worded(self._words, code, lowest))] if lowest < amount else []
        for item in taken:
            if item.most is not None and item.most < min(lowest, amount):
                lowest, causes = item.most, [item.cause]
        limit = floor_to(min(amount, lowest), self.product.amount_step)
        if limit < self.product.minimum_amount:
            causes.append(below_minimum(limit, self.product.minimum_amount))
            return _ended(causes, rules, refer=False)
        rate = Decimal(said["annual_rate"]).quantize(RATE)
        return Verdict(Outcome.APPROVE, said["band"], limit, rate, tuple(causes), tuple(rules))

    def _asked(self, stage: Stage, context: Mapping[str, Any]) -> Answer | Cause:
        try:
            return self._graphs[stage].ask(context)
        except ValueMissing as missing:
            return self._unknown(missing)

    def _unknown(self, missing: ValueMissing) -> Cause:
        root, _, rest = missing.field.partition(".")
        key = rest.replace(".", ":", 1) if root in READ else missing.field
        return unknown(key, self._labels.get(key) or Text(zh=key, en=key))

    def _told(self, stage: Stage, answer: Answer) -> list[RuleResult]:
        """What the rows and expressions of a graph read and said; of a policy only those that held."""
        return [
            RuleResult(
                stage=stage,
                table=node.node,
                id=rule.rule,
                read=_scalars(rule.read),
                hit=rule.held,
                said=_scalars(rule.said),
                text=worded(self._words, rule.said["code"]) if rule.said.get("code") else None,
            )
            for node in answer.trace
            for rule in node.rules
            if rule.held or stage != "policy"
        ]


def _fallen_back(taken: Iterable[Fallen]) -> Verdict:
    """Nothing is lent for want of something; declined, unless all of it is for a person to see."""
    ends = [item for item in taken if item.most is None]
    return _ended([item.cause for item in ends], (), refer=all(item.taken.action == REFER for item in ends))


def _ended(causes: Iterable[Cause], rules: Iterable[RuleResult], *, refer: bool) -> Verdict:
    return Verdict(Outcome.REFER if refer else Outcome.DECLINE, None, None, None, tuple(causes), tuple(rules))


def _scalars(values: dict[str, Any]) -> dict[str, Scalar]:
    """Values by name, parts of nested ones by their path; of lists nothing, numbers that were calculated as text."""
    if _OTHER.isdisjoint(map(type, values.values())):
        return values
    found: dict[str, Scalar] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= {f"{name}.{path}": part for path, part in _scalars(value).items()}
        elif isinstance(value, Decimal):
            found[name] = f"{value:f}"
        elif not isinstance(value, list):
            found[name] = value
    return found
