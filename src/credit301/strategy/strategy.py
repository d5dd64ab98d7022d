"""A strategy, compiled: from a probability and what was read to yes or no, how much, and at what rate.

Stages are asked in order: admission, anti-fraud, policy. A graph of admission or fraud says a list, each item of it
with a ``code`` and, where a person is to look, ``action: "refer"``. The policy's graph says ``band``, ``annual_rate``
and ``bounds``, amounts in yuan by code, the lowest of which bounds the limit; or ``decline`` or ``refer`` with a code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from credit301.strategy.source import Source
from credit301.strategy.wording import above, below_minimum, by_lot, unknown, worded

REFER = "refer"
READ = ("features", "windows")
"""Names of the context under which are what was read, by source."""
_ZERO = Decimal(0)


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
        self._words = {code: Text(zh=text.zh, en=text.en) for code, text in document.definition.wording.items()}
        self._labels = {key: Text(zh=text.zh, en=text.en) for key, text in document.labels.items()}
        self._fixed = {"parameters": document.definition.parameters, "tables": document.tables}
        self._graphs: dict[Stage, Graph] = {
            stage: Graph(
                jdm.parse(data, f"{document.name}/{document.definition.graph_file(stage)}"),
                stage,
                stage,
                self._words,
                self._fixed,
            )
            for stage, data in document.graphs.items()
        }
        self._gates = tuple(stage for stage in STAGES[:-1] if stage in self._graphs)
        check(document, self._graphs, None if known is None else frozenset(known))
        paths = {read.path.partition(".")[::2] for graph in self._graphs.values() for read in graph.reads()}
        self._read: dict[str, dict[str, dict[str, str]]] = {root: {} for root in READ}
        for root, rest in sorted(paths):
            if root in READ:
                source, _, name = rest.partition(".")
                self._read[root].setdefault(source, {})[name] = f"{source}:{name}"
        self._laid_out = _written_context(self._read, self._fixed)

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
        return tuple(key for sources in self._read.values() for names in sources.values() for key in names.values())

    def gaps(self, values: Mapping[str, Scalar]) -> list[Gap]:
        """What the strategy says to be missing from ``values``: windows that its graphs read and are not known."""
        if self.definition.fallbacks.windows is None:
            return []
        unknown = [key for names in self._read["windows"].values() for key in names.values() if values.get(key) is None]
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
        if taken and any(item.most is None for item in taken):
            return _fallen_back(taken)
        if probability is None:
            rules_only = self.definition.fallbacks.model
            if not isinstance(rules_only, RulesOnly):
                raise StrategyError(f"{self.name}: it does not decide without a score.")
            probability = rules_only.probability
        context = self._context(probability, score, values, amount, term_months)
        rules: list[RuleResult] = []
        causes: list[Cause] = []
        # A decline is not softened by what a person is to look at.
        refer = True
        for stage in self._gates:
            answer = self._asked(stage, context)
            if isinstance(answer, Cause):
                causes.append(answer)
                refer = refer and self.definition.unknown_value == REFER
                continue
            rules += answer.rules
            for hit in answer.result:
                causes.append(Cause(f"rule.{hit['code']}", worded(self._words, hit["code"])))
                refer = refer and hit.get("action") == REFER
        if probability > self.definition.cut_off:
            causes.append(above(ABOVE_CUT_OFF, probability, self.definition.cut_off))
            refer = False
        if causes:
            return _ended(causes, rules, refer=refer)
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
        application = {"amount": amount, "term_months": term_months}
        return self._laid_out(values.get, application, {"probability": probability, "points": score})

    def _lend(
        self, context: Mapping[str, Any], rules: list[RuleResult], amount: Decimal, taken: Sequence[Fallen]
    ) -> Verdict:
        answer = self._asked("policy", context)
        if isinstance(answer, Cause):
            return _ended([answer], rules, refer=self.definition.unknown_value == REFER)
        rules += answer.rules
        said = answer.result
        if code := said.get("decline") or said.get(REFER):
            return _ended([Cause(code, worded(self._words, code))], rules, refer=not said.get("decline"))
        bounds: Mapping[str, Any] = said.get("bounds", {})
        if (missing := _first_missing(said, bounds)) is not None:
            cause = self._unknown(ValueMissing("policy", missing, missing))
            return _ended([cause], rules, refer=self.definition.unknown_value == REFER)
        if said["band"] not in self.definition.bands:
            raise StrategyError(f"{self.name}: the policy says band {said['band']!r}, and there is no such band.")
        lowest, bound = amount, None
        for code, most in bounds.items():
            money = most if isinstance(most, Decimal) else Decimal(most)
            # Of several that leave nothing, the first is named.
            if _ZERO < lowest > money:
                lowest, bound = max(_ZERO, money), code
        causes = [] if bound is None else [Cause(bound, worded(self._words, bound, lowest))]
        for item in taken:
            if item.most is not None and item.most < lowest:
                lowest, causes = item.most, [item.cause]
        limit = floor_to(lowest, self.product.amount_step)
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


def _written_context(
    read: Mapping[str, Mapping[str, Mapping[str, str]]], fixed: Mapping[str, Any]
) -> Callable[[Callable[[str], Scalar], Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]:
    """What lays out the context of the graphs, whose keys they ``read`` by root, source and name."""
    code = Source()

    def written(part: Mapping[str, Any]) -> str:
        items = (
            f"{code.value(name)}: {f'get({code.value(item)})' if isinstance(item, str) else written(item)}"
            for name, item in part.items()
        )
        return f"{{{', '.join(items)}}}"

    given = {"application": "application", "score": "score", **{root: code.value(part) for root, part in fixed.items()}}
    with code.block("def context(get, application, score)"):
        code.line(f"context = {written(read)}")
        for root, part in given.items():
            code.line(f"context[{code.value(root)}] = {part}")
        code.line("return context")
    return code.function("context", "context")


def _first_missing(said: Mapping[str, Any], bounds: Mapping[str, Any]) -> str | None:
    """What a policy must say and does not."""
    for path in ("band", "annual_rate"):
        if said.get(path) is None:
            return path
    if None not in bounds.values():
        return None
    return next(f"bounds.{code}" for code, most in bounds.items() if most is None)


def _fallen_back(taken: Iterable[Fallen]) -> Verdict:
    """Nothing is lent for want of something; declined, unless all of it is for a person to see."""
    ends = [item for item in taken if item.most is None]
    return _ended([item.cause for item in ends], (), refer=all(item.taken.action == REFER for item in ends))


def _ended(causes: Iterable[Cause], rules: Iterable[RuleResult], *, refer: bool) -> Verdict:
    return Verdict(Outcome.REFER if refer else Outcome.DECLINE, None, None, None, tuple(causes), tuple(rules))
