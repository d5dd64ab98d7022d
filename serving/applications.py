"""Applications over HTTP: from the draft to the instruction to pay, for the bank whose customer applies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from starlette.requests import Request

from credit301.applications.changes import Tenant
from credit301.applications.database import ApplicationsBusy, ApplicationsUnavailable
from credit301.applications.desk import ApplicationDesk, CannotDecide
from credit301.applications.records import Application, Details
from credit301.applications.states import Mode
from credit301.applications.store import ApplicationStore
from credit301.domain.decision import Decision
from credit301.domain.money import CENT
from credit301.domain.text import Refusal, Text
from credit301.errors import ConfigError
from credit301.evidence.find import decided
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.coverage import ConsentMissing
from credit301.governance.consent.desk import ConsentDesk
from credit301.governance.consent.records import Status
from credit301.identity.entity_key import normalise
from credit301.identity.keyed_hash import KeyedHash
from credit301.model.scorer import NothingKnown
from credit301.partners.bank import load_banks
from serving import errors
from serving.application_types import (
    ApplicationConsent,
    ApplicationDetails,
    ApplicationState,
    ApplicationView,
    ApplicationWithdrawal,
    HistoryLine,
    PrefillView,
    create_type,
)
from serving.decide import Application as Asked
from serving.decide import Caller
from serving.endpoint import Endpoint
from serving.errors import ApiError, Problem
from serving.features import OnlineStore
from serving.metrics import Metrics
from serving.prefill import PrefillReader
from serving.requests import Reader
from serving.traces import Decides

if TYPE_CHECKING:
    from credit301.workspace import Workspace

log = logging.getLogger("credit301.serving")
IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(r"[A-Za-z0-9._:-]{8,128}")
_LARGEST = Decimal(10) ** 15
DECISION_SECONDS = 10.0
RESUME_SECONDS = 5.0
PLACE = "/v1/applications"
ONE = f"{PLACE}/{{application_id}}"
_HINTS = {
    "amount": Text(zh='金额，以元为单位，例如 "200000.00"。', en='Yuan, such as "200000.00".'),
    "term_months": Text(zh="期限（月），整数。", en="Months, a whole number."),
    "valid_until": Text(zh="带时区的时间，例如 2030-12-31T23:59:59+08:00。", en="A time with its offset."),
}
_NO_KEY = Problem(
    422,
    "missing_idempotency_key",
    Text(zh="缺少或无效的幂等键。", en="The idempotency key is missing or not valid."),
    field=IDEMPOTENCY_KEY,
    hint=Text(
        zh="请求头 Idempotency-Key：8 至 128 个字母、数字或 . _ : -，每个新申请一个。",
        en="Header Idempotency-Key: 8 to 128 letters, digits or . _ : -, a new one for each new application.",
    ),
)


class ApplicationApi:
    """The routes below ``/v1/applications``.

    Args:
        workspace: whose applications.
        store: the online store.
        flow: makes decisions.
        consents: records consents.
        audit: where reading is recorded.
        metrics: count decisions.
        example: an entity's key for the documentation.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: OnlineStore,
        flow: Decides,
        consents: ConsentDesk,
        audit: AuditWriter,
        metrics: Metrics,
        example: str,
    ) -> None:
        self._workspace = workspace
        self._form = workspace.entity
        self._flow = flow
        self._consents = consents
        self._banks = load_banks(workspace)
        self._metrics = metrics
        self._known = PrefillReader(workspace, store, audit)
        self._named = KeyedHash.from_settings(workspace.settings)
        self._store: ApplicationStore | None = None
        self._desk: ApplicationDesk | None = None
        key = workspace.entity.key
        self.create_type = create_type(key, example)
        bodies = (self.create_type, ApplicationDetails, ApplicationConsent, ApplicationWithdrawal)
        self._readers = {kind: Reader(kind, key, _HINTS) for kind in bodies}

    @property
    def beginning(self) -> tuple[Endpoint, ...]:
        """The routes of an application before it is known who applies."""
        state = ApplicationState
        return (
            Endpoint("POST", PLACE, self.create, self.create_type, state, HTTPStatus.CREATED),
            Endpoint("GET", ONE, self.show, None, ApplicationView),
            Endpoint("PATCH", ONE, self.amend, ApplicationDetails, state),
            Endpoint("POST", f"{ONE}/consent", self.consent, ApplicationConsent, state),
        )

    @property
    def deciding(self) -> tuple[Endpoint, ...]:
        """The routes after that, to the end."""
        state = ApplicationState
        return (
            Endpoint("GET", f"{ONE}/prefill", self.prefill, None, PrefillView),
            Endpoint("POST", f"{ONE}/submit", self.submit, None, state),
            Endpoint("POST", f"{ONE}/accept", self.accept, None, state),
            Endpoint("POST", f"{ONE}/withdraw", self.withdraw, ApplicationWithdrawal, state),
        )

    async def create(self, request: Request, caller: str) -> ApplicationState:
        """A new draft; the same one again where the same request comes again."""
        key = request.headers.get(IDEMPOTENCY_KEY, "")
        if _KEY.fullmatch(key) is None:
            raise ApiError(_NO_KEY)
        sent: Any = await self._readers[self.create_type].read(request)
        self._require_mode(caller, sent.mode)
        entity = normalise(self._form, sent.entity)
        details = Details(
            amount=_money(sent.amount), term_months=sent.term_months, product=sent.product, purpose=sent.purpose
        )
        made = await self.store().create(
            Tenant(caller),
            entity,
            self._named(entity),
            sent.mode,
            details,
            key=key,
            request_hash=hashlib.sha256(msgspec.json.encode([entity, sent.mode, details])).hexdigest(),
        )
        return ApplicationState.of(made)

    async def show(self, request: Request, caller: str) -> ApplicationView:
        """The application with its history."""
        tenant, number = Tenant(caller), number_of(request)
        found = await self.desk().current(tenant, number)
        history = await self.store().history(tenant, number)
        return ApplicationView(application=ApplicationState.of(found), history=tuple(map(HistoryLine.of, history)))

    async def amend(self, request: Request, caller: str) -> ApplicationState:
        """Change a draft."""
        sent: Any = await self._readers[ApplicationDetails].read(request)
        given = {name: value for name, value in msgspec.structs.asdict(sent).items() if value is not None}
        if "amount" in given:
            given["amount"] = _money(given["amount"])
        changed = await self.desk().amend(
            Tenant(caller), number_of(request), lambda details: msgspec.structs.replace(details, **given)
        )
        return ApplicationState.of(changed)

    async def consent(self, request: Request, caller: str) -> ApplicationState:
        """Record the enterprise's consent to the caller; one that is valid already is kept."""
        sent: Any = await self._readers[ApplicationConsent].read(request)
        tenant, number = Tenant(caller), number_of(request)
        desk = self.desk()
        found = await desk.current(tenant, number)
        desk.require_draft(found)
        if found.consent_id is not None and await self._stands(found):
            return ApplicationState.of(found)
        given = await asyncio.to_thread(
            self._consents.grant, found.entity, caller, by=caller, valid_until=sent.valid_until, note=sent.note
        )
        return ApplicationState.of(await desk.note(tenant, number, consent_id=given.consent_id))

    async def prefill(self, request: Request, caller: str) -> PrefillView:
        """What is known already, by the enterprise's consent; the reading is on record."""
        return await self._known.read(await self.desk().current(Tenant(caller), number_of(request)))

    async def submit(self, request: Request, caller: str) -> ApplicationState:
        """Submit and decide; again, it answers what was decided."""
        return ApplicationState.of(await self.desk().submit(Tenant(caller), number_of(request)))

    async def accept(self, request: Request, caller: str) -> ApplicationState:
        """Accept the offer."""
        return ApplicationState.of(await self.desk().accept(Tenant(caller), number_of(request)))

    async def withdraw(self, request: Request, caller: str) -> ApplicationState:
        """Withdraw."""
        sent: Any = await self._readers[ApplicationWithdrawal].read(request)
        return ApplicationState.of(await self.desk().withdraw(Tenant(caller), number_of(request), sent.reason))

    async def run(self) -> None:
        """Go on with what another process left undecided, until cancelled."""
        while True:
            await asyncio.sleep(RESUME_SECONDS)
            with contextlib.suppress(ApplicationsUnavailable, ApplicationsBusy):
                if ended := await self.desk().resume():
                    log.info("decided on %d applications that were left undecided", ended)

    async def close(self) -> None:
        """Close every connection."""
        if self._store is not None:
            await self._store.close()

    def _require_mode(self, bank: str, mode: Mode) -> None:
        joined = self._banks.get(bank)
        if joined is not None and mode not in joined.modes:
            agreed = ", ".join(joined.modes)
            raise Refusal(
                "mode_not_agreed",
                Text(zh="该银行未约定此接入方式。", en="This way of joining was not agreed with the bank."),
                field="mode",
                hint=Text(zh=f"已约定：{agreed}。", en=f"Agreed: {agreed}."),
            )

    async def _stands(self, found: Application) -> bool:
        given = await asyncio.to_thread(self._consents.show, found.entity, found.tenant)
        now = datetime.now(UTC)
        return any(item.consent_id == found.consent_id and item.status_at(now) is Status.VALID for item in given)

    async def _decide(self, application: Application) -> Decision:
        details = application.details
        asked = Asked(
            application.entity,
            details.amount,
            details.term_months,
            product=details.product,
            mode=application.mode.value,
        )
        try:
            async with asyncio.timeout(DECISION_SECONDS):
                reserved = str(application.decision_id or "")
                decision = await self._flow.decide(asked, Caller(application.tenant, str(application.id), reserved))
        except TimeoutError as error:
            raise ApiError(errors.STORE_DOWN) from error
        except (Refusal, ConsentMissing, NothingKnown) as error:
            raise CannotDecide(error, errors.of(error, self._form.key).code) from error
        except ApiError as error:
            if error.problem.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise CannotDecide(error, error.problem.code) from error
            raise
        self._metrics.decided(decision)
        return decision

    async def _recorded(self, application: Application) -> Decision | None:
        if application.decision_id is None:
            return None
        found = await asyncio.to_thread(decided, self._workspace.paths.audit, str(application.decision_id))
        return None if found is None else msgspec.structs.replace(found, entity=application.entity)

    def store(self) -> ApplicationStore:
        """Where applications are.

        Raises:
            ApplicationsUnavailable: the settings name no database.
        """
        # Not before it is asked for: an endpoint that only decides needs no database.
        if self._store is None:
            try:
                self._store = ApplicationStore.of(self._workspace)
            except ConfigError as error:
                raise ApplicationsUnavailable(error.message, hint=error.hint) from error
        return self._store

    def desk(self) -> ApplicationDesk:
        """What brings applications forward; raises as :meth:`store`."""
        if self._desk is None:
            self._desk = ApplicationDesk(self.store(), self._decide, self._recorded)
        return self._desk


def number_of(request: Request) -> UUID:
    """The number in the address; another form is as unknown as a number that nobody has."""
    try:
        return UUID(request.path_params["application_id"])
    except ValueError as error:
        raise ApiError(errors.UNKNOWN_APPLICATION) from error


def _money(amount: Decimal) -> Decimal:
    """``amount`` in cents; the product's own bounds are checked by the decision."""
    if not amount.is_finite() or not 0 < amount < _LARGEST:
        raise Refusal(
            "amount_out_of_range",
            Text(zh="金额须大于 0。", en="The amount must be above 0."),
            field="amount",
            hint=_HINTS["amount"],
        )
    return amount.quantize(CENT)
