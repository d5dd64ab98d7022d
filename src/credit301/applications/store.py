"""The store of applications: who may move one, what is written of it, and what it causes, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import msgspec

from credit301.applications import records, statements
from credit301.applications.changes import Cause, Change, Received, Tenant, steps_of
from credit301.applications.database import Database
from credit301.applications.migrate import DATABASE
from credit301.applications.records import Application, Details, Step, new_id
from credit301.applications.states import WAITING, Actor, Event, Mode, State, walk
from credit301.domain.text import Refusal, Text
from credit301.errors import Credit301Error, NotFound

if TYPE_CHECKING:
    from credit301.workspace import Workspace

_ATTEMPTS = 5
_DETAILS = tuple(Details.__struct_fields__)


class UnknownApplication(NotFound):
    """There is no application of this number, or it is another tenant's: nobody can tell which."""


class Changed(Credit301Error):
    """Another change came first; what was read is not true any more."""


class ApplicationStore:
    """Applications of one workspace in PostgreSQL.

    Args:
        database: where they are.
        workspace: name of the workspace.
    """

    def __init__(self, database: Database, workspace: str) -> None:
        self._database = database
        self._workspace = workspace

    @classmethod
    def of(cls, workspace: Workspace) -> ApplicationStore:
        """The store of ``workspace``."""
        return cls(Database(workspace.settings.postgres_address(DATABASE)), workspace.name)

    @property
    def database(self) -> Database:
        """The connections, for whoever carries the messages away."""
        return self._database

    async def create(
        self, tenant: Tenant, entity: str, named: str, mode: Mode, details: Details, *, key: str, request_hash: str
    ) -> Application:
        """A new draft; the one that was made before where the same request comes again under the same ``key``.

        Raises:
            Refusal: ``key`` was used for another request.
            ApplicationsUnavailable: as everywhere here, the database does not answer.
        """
        now = datetime.now(UTC)
        made = Application(
            id=new_id(),
            tenant=tenant.name,
            entity=entity,
            named=named,
            mode=mode,
            details=details,
            state=State.DRAFT,
            version=1,
            consent_id=None,
            phone_verified_at=None,
            face_verified_at=None,
            decision_id=None,
            claimed_until=None,
            decision=None,
            limit=None,
            annual_rate=None,
            created_at=now,
            updated_at=now,
            expires_at=now + records.DRAFT_LASTS,
        )
        row = await self._database.first(
            statements.CREATE,
            **_columns(made),
            workspace=self._workspace,
            key=key,
            request_hash=request_hash,
            answer=made,
            key_expires_at=now + records.KEY_LASTS,
            steps=steps_of([Cause(Event.CREATE, Actor.APPLICANT, tenant.name)], (None, State.DRAFT)),
        )
        if row is not None:
            return made
        kept = await self._database.first(statements.KEY, workspace=self._workspace, tenant=tenant.name, key=key)
        if kept is None:
            raise Changed("The key ran out at this moment.", hint="Send it again.")
        if kept["request_hash"] != request_hash:
            raise Refusal(
                "idempotency_key_reused",
                Text(
                    zh="此幂等键已用于另一个请求。",
                    en="This idempotency key was used for another request.",
                ),
                field="Idempotency-Key",
                hint=Text(zh="每个新申请使用新的键。", en="Use a new key for each new application."),
            )
        return msgspec.convert(kept["answer"], Application)

    async def find(self, tenant: Tenant, application: UUID) -> Application:
        """The application as it stands.

        Raises:
            UnknownApplication: this tenant has none of this number.
        """
        row = await self._database.first(statements.FIND, id=application, workspace=self._workspace, tenant=tenant.name)
        if row is None:
            raise UnknownApplication("There is no application of this number.")
        return _application(row)

    async def history(self, tenant: Tenant, application: UUID) -> tuple[Step, ...]:
        """Everything that happened to it, in order; nothing where this tenant has none of this number."""
        rows = await self._database.fetch(
            statements.HISTORY, id=application, workspace=self._workspace, tenant=tenant.name
        )
        return tuple(
            Step(
                Event(row["event"]),
                None if row["from_state"] is None else State(row["from_state"]),
                State(row["to_state"]),
                Actor(row["actor"]),
                row["by"],
                row["at"],
                row["detail"],
            )
            for row in rows
        )

    async def change(self, found: Application, change: Change) -> Application:
        """Write ``change`` of the application that was ``found``, with its history and its messages, or nothing of it.

        Raises:
            Refusal: a move is not possible from where it stands.
            Changed: it is not any more as it was found, or the message was applied before (see :meth:`received`).
        """
        passed = walk(found.state, [(cause.event, cause.actor) for cause in change.causes], mode=found.mode)
        values = dict.fromkeys(statements.KEPT) | {"claimed_until": None} | dict(change.values)
        once = change.received
        given: dict[str, Any] = {} if once is None else {"consumer": once.consumer, "message_id": once.id}
        try:
            row = await self._database.first(
                statements.CHANGE if once is None else statements.CHANGE_ONCE,
                **values,
                **given,
                id=found.id,
                workspace=self._workspace,
                tenant=found.tenant,
                version=found.version,
                state=(passed[-1] if passed else found.state).value,
                updated_at=datetime.now(UTC),
                steps=steps_of(change.causes, (found.state, *passed)),
                messages=[
                    {"place": place, "id": new_id(), "kind": kind, "payload": payload}
                    for place, (kind, payload) in enumerate(change.messages)
                ],
            )
        except asyncpg.UniqueViolationError as error:
            raise Changed("The message was applied by somebody else at this moment.") from error
        if row is None:
            raise Changed("The application was changed by somebody else at this moment.", hint="Read it again.")
        return _application(row)

    async def apply(
        self,
        tenant: Tenant,
        application: UUID,
        change: Change | Callable[[Application], Change],
        received: Received | None = None,
    ) -> Application:
        """Write ``change`` of what the application is when it is written; a message that was applied changes nothing.

        A ``change`` that depends on how the application stands is made of that, with the message that it has
        ``received``.

        Raises:
            UnknownApplication: this tenant has none of this number.
            Refusal: a move is not possible from where it stands.
            Changed: it is changed by others all the time.
        """
        for _ in range(_ATTEMPTS):
            found = await self.find(tenant, application)
            message = received or (change.received if isinstance(change, Change) else None)
            try:
                made = change if isinstance(change, Change) else change(found)
                return await self.change(found, replace(made, received=message))
            except (Changed, Refusal) as error:
                # The statement itself applies a message once; why it was not possible is looked up where it was not.
                if message is not None and await self.received(message):
                    return await self.find(tenant, application)
                if isinstance(error, Refusal):
                    raise
        raise Changed("The application is being changed all the time.", hint="Try again.")

    async def received(self, message: Received) -> bool:
        """Whether a message was applied."""
        row = await self._database.first(statements.RECEIVED, consumer=message.consumer, message_id=message.id)
        return row is not None

    async def overdue(self, now: datetime, most: int = 500) -> list[tuple[UUID, Tenant]]:
        """Applications whose time is over, and that do not say so yet."""
        rows = await self._database.fetch(
            statements.OVERDUE, workspace=self._workspace, states=[state.value for state in WAITING], now=now, most=most
        )
        return [(row["id"], Tenant(row["tenant"])) for row in rows]

    async def undecided(self, now: datetime, most: int = 32) -> list[tuple[UUID, Tenant]]:
        """Applications that were submitted and that nobody decides on at ``now``."""
        rows = await self._database.fetch(statements.UNDECIDED, workspace=self._workspace, now=now, most=most)
        return [(row["id"], Tenant(row["tenant"])) for row in rows]

    async def referred(self, tenant: Tenant, most: int) -> list[Application]:
        """Applications of ``tenant`` that wait for a person, those that have waited longest first."""
        rows = await self._database.fetch(statements.REFERRED, workspace=self._workspace, tenant=tenant.name, most=most)
        return [_application(row) for row in rows]

    async def add_check(self, tenant: Tenant, application: UUID, **values: Any) -> Any:
        """Keep an identity check that was begun; ``values`` by column."""
        row = await self._database.first(
            statements.ADD_CHECK,
            id=application,
            workspace=self._workspace,
            tenant=tenant.name,
            check_id=new_id(),
            **values,
        )
        if row is None:
            raise UnknownApplication("There is no application of this number.")
        return row

    async def checks(self, tenant: Tenant, application: UUID) -> list[Any]:
        """The identity checks of an application, in order."""
        return await self._database.fetch(
            statements.CHECKS, id=application, workspace=self._workspace, tenant=tenant.name
        )

    async def try_check(self, tenant: Tenant, application: UUID, check: UUID) -> Any | None:
        """Count a trial of a check that is not finished; ``None`` where there is none."""
        return await self._database.first(
            statements.TRY_CHECK, id=application, workspace=self._workspace, tenant=tenant.name, check_id=check
        )

    async def finish_check(
        self, tenant: Tenant, application: UUID, check: UUID, outcome: str, score: float | None
    ) -> None:
        """Say how a check ended."""
        await self._database.first(
            statements.FINISH_CHECK,
            id=application,
            workspace=self._workspace,
            tenant=tenant.name,
            check_id=check,
            outcome=outcome,
            score=score,
            finished_at=datetime.now(UTC),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()


def _columns(made: Application) -> dict[str, Any]:
    values = msgspec.structs.asdict(made)
    details = msgspec.structs.asdict(values.pop("details"))
    values["credit_limit"] = values.pop("limit")
    return values | details


def _application(row: Any) -> Application:
    return Application(
        id=row["id"],
        tenant=row["tenant"],
        entity=row["entity"],
        named=row["named"],
        mode=Mode(row["mode"]),
        details=Details(**{name: row[name] for name in _DETAILS[:-1]}, purpose=records.LoanPurpose(row["purpose"])),
        state=State(row["state"]),
        version=row["version"],
        consent_id=row["consent_id"],
        phone_verified_at=row["phone_verified_at"],
        face_verified_at=row["face_verified_at"],
        decision_id=row["decision_id"],
        claimed_until=row["claimed_until"],
        decision=row["decision"],
        limit=row["credit_limit"],
        annual_rate=row["annual_rate"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
    )
