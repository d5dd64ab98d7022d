"""The way of a decision: check the request, read the features, score, ask the strategy, give reasons, keep evidence."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from credit301.domain.decision import Decision
from credit301.domain.verdict import Outcome
from credit301.errors import Credit301Error, FeatureStoreError
from credit301.evidence.archive import archive_at
from credit301.governance.audit.entry import Entry, Event
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import Asking, ConsentMissing, Coverage
from credit301.identity.entity_key import KeyForm, normalise
from credit301.model.stewardship import SHADOW
from credit301.strategy.definition import Mode
from credit301.strategy.fallback import Gap
from credit301.strategy.strategy import Strategy
from credit301.workspace import Workspace
from serving import recorded
from serving.answer import Facts, answer
from serving.errors import NO_MODEL, STRATEGY_UNFIT, ApiError, unknown_enterprise
from serving.features import FeatureRow, OnlineStore
from serving.judge import Judgement, Loaded, source_gaps, unread
from serving.lane import Lane, Lot
from serving.models import ModelHolder
from serving.shadow import Seen, Shadow
from serving.strategies import Chosen, StrategyBook

log = logging.getLogger("credit301.serving")
NOTHING_READ = FeatureRow(values=[], as_of={}, coverage=Coverage((), {}, ()))


class Application(msgspec.Struct, frozen=True):
    """A request for credit: the entity's key as sent, yuan, months, and by column whose windows to read beside.

    ``product`` and ``mode`` say which strategy decides, where there are several.
    """

    entity: str
    amount: Decimal
    term_months: int
    subjects: dict[str, str] = {}
    product: str | None = None
    mode: Mode | None = None


class Caller(msgspec.Struct, frozen=True):
    """Who asks, by its authenticated name, and the number of its request or application.

    ``decision`` is the number that the decision shall have, where one is reserved for it.
    """

    name: str
    application: str
    decision: str = ""


def _fallen_back(strategy: Strategy, gap: Gap, application: Application, problem: Exception) -> Judgement:
    """What the strategy says where ``gap`` leaves nothing to decide from; where it says nothing, ``problem`` stands."""
    judged = unread(strategy, gap, application.amount, application.term_months)
    if judged is None:
        raise problem
    log.warning("a fallback of the strategy %s: %s %s", strategy.version, gap.missing, gap.what)
    return judged


class DecisionFlow:
    """Decides on applications with the model in use.

    Args:
        workspace: whose applications; models and strategies that decide are kept in its archive.
        store: where features are read.
        models: holds the model in use.
        strategies: say by which an application is decided on.
        audit: where each read, and each decision with its evidence, is recorded before it is answered.
        lane: draws lots among those declined for their score; ``None``: nobody is lent to by lot.
        shadow: has another model judge what was decided, afterwards.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: OnlineStore,
        models: ModelHolder,
        strategies: StrategyBook,
        audit: AuditWriter,
        lane: Lane | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._workspace = workspace.name
        self._form: KeyForm = workspace.entity
        self._archive = archive_at(workspace.paths.archive)
        self._store = store
        self._models = models
        self._strategies = strategies
        self._audit = audit
        self._lane = lane
        self._shadow = shadow

    async def decide(self, application: Application, caller: Caller) -> Decision:
        """Decide on ``application``, by the consent that the enterprise has given to ``caller``.

        Raises:
            Refusal: the key, amount or term cannot be decided on.
            ConsentMissing: consent does not cover what is needed.
            AuditError: the read could not be recorded.
            ApiError: no strategy applies, the store has nothing on the entity, or no model is in use and the strategy
                has no fallback for that, as with the next two.
            FeatureStoreError: the store cannot be read.
            ModelError: the store holds something else than the model was promoted for.
            StrategyError: the strategy cannot be evaluated on what was read.
        """
        start = time.perf_counter_ns()
        entity = normalise(self._form, application.entity)
        loaded, alias = self._models.for_entity(entity)
        chosen = self._strategies.of(entity, caller.name, application.product, application.mode)
        strategy = chosen.strategy
        # Before the store is asked: an impossible request costs nothing.
        strategy.product.check_request(application.amount, application.term_months)
        if not (self._archive.has(strategy.sha256) and (loaded is None or self._archive.has(loaded.sha256))):
            await self._archived(loaded, strategy)
        decision_id = caller.decision or str(uuid.uuid4())
        named = self._store.gate.named(entity)
        lot: Lot | None = None
        row, reading = NOTHING_READ, None
        if loaded is None:
            judged = _fallen_back(strategy, Gap("model", NO_MODEL.code), application, ApiError(NO_MODEL))
            read = time.perf_counter_ns()
        else:
            try:
                row, reading = await self._read(
                    loaded, strategy, entity, named, caller, decision_id, application.subjects
                )
            except FeatureStoreError as error:
                read = time.perf_counter_ns()
                judged = _fallen_back(strategy, Gap("store", type(error).__name__), application, error)
            else:
                read = time.perf_counter_ns()
                try:
                    judged, lot = await self._judged(loaded, strategy, entity, application, row)
                except BaseException:
                    # It was read, whatever became of the decision.
                    self._audit.append(reading)
                    raise
        facts = Facts(
            decision_id=decision_id,
            workspace=self._workspace,
            entity=entity,
            amount=application.amount,
            term_months=application.term_months,
            alias=alias,
            registered="" if loaded is None else loaded.registry_version,
            as_of=row.as_of,
            consents=row.coverage.consents,
            withheld=tuple(row.coverage.withheld),
            expired=tuple(row.expired),
            windows=row.windows,
            lot_probability=lot.probability if lot and lot.verdict else None,
            timings=judged.timings(start, read),
            decided_at=datetime.now(UTC),
            strategy_role=chosen.role,
        )
        decision = answer(loaded, strategy, judged, facts)
        entry = recorded.entry(judged, lot, caller, named, decision)
        evidence = recorded.evidence(loaded, strategy, row, lot, caller, named, decision)
        read_before = [] if reading is None else [(reading, None)]
        await self._audit.durable(self._audit.append_all([*read_before, (entry, evidence)]))
        self._followed(entry, chosen, judged, application, row)
        return decision

    async def _archived(self, loaded: Loaded | None, strategy: Strategy) -> None:
        """See to it that model and strategy fit each other, and are kept, before they decide together.

        Raises:
            ApiError: the strategy reads what the model's plan has not got.
            AuditError: they cannot be kept.
        """
        if loaded is not None:
            self._check(loaded, strategy)
        await asyncio.to_thread(self._archive.keep_both, loaded.scorer.bundle if loaded else None, strategy)

    def _check(self, loaded: Loaded, strategy: Strategy) -> None:
        there = {*loaded.plan.keys, *(name for windows in self._store.windows for name in windows.names)}
        if missing := [key for key in strategy.features() if key not in there]:
            log.error("the strategy %s reads what the model does not: %s", strategy.version, ", ".join(missing))
            raise ApiError(STRATEGY_UNFIT)

    async def _judged(
        self, loaded: Loaded, strategy: Strategy, entity: str, application: Application, row: FeatureRow
    ) -> tuple[Judgement, Lot | None]:
        """What model, strategy and lot say of ``row``."""
        judged = loaded.judge(
            strategy,
            row.values,
            application.amount,
            application.term_months,
            row.windows,
            source_gaps(row.coverage.withheld, row.expired),
        )
        return await self._drawn(loaded, strategy, entity, application, judged)

    async def _drawn(
        self, loaded: Loaded, strategy: Strategy, entity: str, application: Application, judged: Judgement
    ) -> tuple[Judgement, Lot | None]:
        """``judged``, or the small loan that the lot has made of it."""
        if self._lane is None or judged.score is None or judged.verdict.outcome is not Outcome.DECLINE:
            return judged, None
        lot = await self._lane.consider(
            entity,
            strategy,
            judged.verdict,
            score=judged.score.score,
            values=judged.values,
            amount=application.amount,
            term_months=application.term_months,
            taken=judged.taken,
        )
        if lot is None or lot.verdict is None:
            return judged, lot
        return loaded.instead(strategy, judged, lot.verdict), lot

    def _followed(
        self, entry: Entry, chosen: Chosen, judged: Judgement, application: Application, row: FeatureRow
    ) -> None:
        """Let the model and the strategies beside those that decided, where there are any, judge the same later."""
        other = self._models.of(SHADOW)
        if self._shadow is None or judged.score is None or (other is None and not chosen.beside):
            return
        self._shadow.follow(
            other,
            Seen(
                decision=entry.decision,
                named=entry.entity,
                who=entry.who,
                application=entry.application,
                values=judged.values,
                amount=application.amount,
                term_months=application.term_months,
                strategy=chosen.strategy,
                probability=judged.score.probability,
                score=judged.score.score,
                gaps=tuple(source_gaps(row.coverage.withheld, row.expired)),
                beside=chosen.beside,
            ),
        )

    async def _read(
        self,
        loaded: Loaded,
        strategy: Strategy,
        entity: str,
        named: str,
        caller: Caller,
        decision: str,
        subjects: dict[str, str],
    ) -> tuple[FeatureRow, Entry]:
        """What consent lets this caller read, and the entry of it, which the caller sees to be recorded.

        Where nothing comes of it, that is on record when this raises.
        """
        asking = Asking(caller.name)

        def entry(
            event: Event, coverage: Coverage = NOTHING_READ.coverage, detail: Mapping[str, str] | None = None
        ) -> Entry:
            return recorded.reading(event, caller, named, decision, asking, coverage, detail)

        try:
            row = await self._store.read(
                loaded.plan, entity, asking, strategy.definition.indispensable, subjects, named=named
            )
        except ConsentMissing as error:
            await self._audit.durable(self._audit.append(entry(Event.REFUSED, detail=error.denied)))
            raise
        except Credit301Error as error:
            await self._audit.durable(self._audit.append(entry(Event.FAILED, detail={"reason": type(error).__name__})))
            raise
        if not row.found:
            await self._audit.durable(self._audit.append(entry(Event.NOTHING, row.coverage)))
            raise ApiError(unknown_enterprise(self._form.key))
        return row, entry(Event.READ, row.coverage)
