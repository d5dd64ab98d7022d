"""The statements that the store runs, compiled once. Each is one transaction and one round trip.

A change of an application, its history and its messages are written by one statement with common table expressions: all
of it happens or none. Whoever changes names the version that was read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

from credit301.applications.database import Statement
from credit301.applications.records import DRAFT_LASTS
from credit301.applications.tables import PENDING, applications, checks, inbox, keys, outbox, steps

SOONEST, LATEST = timedelta(seconds=2), timedelta(minutes=5)
_A = applications.c
COLUMNS = tuple(column.name for column in applications.columns)
# Columns that a change may set; of those it does not name the value stays.
KEPT = (
    "product", "purpose", "amount", "term_months", "consent_id", "phone_verified_at", "face_verified_at", "decision_id",
    "decision", "credit_limit", "annual_rate", "expires_at",
)  # fmt: skip


def _bind(column: sa.Column[Any], name: str | None = None) -> sa.BindParameter[Any]:
    return sa.bindparam(name or column.name, type_=column.type)


def _binds(table: sa.Table, *names: str) -> list[sa.ColumnElement[Any]]:
    return [_bind(table.c[name]).label(name) for name in names]


def _mine() -> sa.ColumnElement[bool]:
    """That a row is this workspace's and this tenant's."""
    return sa.and_(_A.workspace == _bind(_A.workspace), _A.tenant == _bind(_A.tenant))


def _listed(name: str, **types: sa.types.TypeEngine[Any]) -> sa.TableValuedAlias:
    columns = [sa.column(column, kind) for column, kind in types.items()]
    given = sa.bindparam(name, type_=JSONB)
    return sa.func.jsonb_to_recordset(given).table_valued(*columns, name=name).render_derived(with_types=True)


def _history(changed: sa.CTE) -> sa.CTE:
    listed = _listed(
        "steps", place=sa.Integer(), event=sa.Text(), from_state=sa.Text(), to_state=sa.Text(), actor=sa.Text(),
        by=sa.Text(), detail=JSONB(),
    )  # fmt: skip
    names = ["application_id", "event", "from_state", "to_state", "actor", "by", "at", "detail"]
    c = listed.c
    rows = (
        sa.select(changed.c.id, c.event, c.from_state, c.to_state, c.actor, c.by, changed.c.updated_at, c.detail)
        .select_from(changed.join(listed, sa.true()))
        .order_by(c.place)
    )
    return sa.insert(steps).from_select(names, rows).cte("history")


def _messages(changed: sa.CTE) -> sa.CTE:
    listed = _listed("messages", place=sa.Integer(), id=sa.Uuid(), kind=sa.Text(), payload=JSONB())
    names = ["id", "workspace", "tenant", "application_id", "kind", "payload", "created_at", "next_attempt_at"]
    c, a = listed.c, changed.c
    rows = (
        sa.select(c.id, a.workspace, a.tenant, a.id, c.kind, c.payload, a.updated_at, a.updated_at)
        .select_from(changed.join(listed, sa.true()))
        .order_by(c.place)
    )
    return sa.insert(outbox).from_select(names, rows).cte("caused")


def _create() -> sa.Select[Any]:
    values = {name: _bind(keys.c[name]) for name in ("workspace", "tenant", "key", "request_hash", "answer")}
    until = sa.bindparam("key_expires_at", type_=keys.c.expires_at.type)
    taken = insert(keys).values(**values, application_id=_bind(_A.id), expires_at=until)
    # A key that has run out may be used again; one that has not is left, and nothing is made.
    taken = taken.on_conflict_do_update(
        index_elements=[keys.c.workspace, keys.c.tenant, keys.c.key],
        set_={name: taken.excluded[name] for name in ("request_hash", "application_id", "answer", "expires_at")},
        where=keys.c.expires_at <= _bind(_A.created_at),
    )
    key = taken.returning(keys.c.application_id).cte("taken")
    rows = sa.select(*_binds(applications, *COLUMNS)).select_from(key)
    made = sa.insert(applications).from_select(list(COLUMNS), rows).returning(*applications.columns).cte("made")
    return sa.select(made).add_cte(_history(made))


def _change(*, once: bool) -> sa.Select[Any]:
    kept = {name: sa.func.coalesce(_bind(_A[name]), _A[name]) for name in KEPT}
    update = (
        sa.update(applications)
        .where(_A.id == _bind(_A.id), _mine(), _A.version == _bind(_A.version))
        .values(
            **kept,
            state=_bind(_A.state),
            version=_A.version + 1,
            claimed_until=_bind(_A.claimed_until),
            updated_at=_bind(_A.updated_at),
        )
    )
    if once:
        update = update.where(~sa.exists().where(*_same_message()))
    changed = update.returning(*applications.columns).cte("changed")
    written = [_history(changed), _messages(changed)]
    if once:
        # Of the change itself: a change that another one forestalled must not count the message as applied.
        names = ["consumer", "message_id", "application_id", "received_at"]
        rows = sa.select(*_binds(inbox, "consumer", "message_id"), changed.c.id, changed.c.updated_at)
        written.append(sa.insert(inbox).from_select(names, rows).cte("received"))
    return sa.select(changed).add_cte(*written)


def _same_message() -> list[sa.ColumnElement[bool]]:
    return [inbox.c[name] == _bind(inbox.c[name]) for name in ("consumer", "message_id")]


def _claim_messages() -> sa.Update:
    earlier, bank = outbox.alias("earlier"), sa.bindparam("bank", type_=sa.Text)
    waiting = sa.exists().where(
        earlier.c.application_id == outbox.c.application_id,
        earlier.c.number < outbox.c.number,
        # Not as the condition of the index of what is pending: where PostgreSQL knows nothing of the table yet it would
        # read all of that for each message, and with some thousands that wait no relay would get one in time.
        sa.func.coalesce(earlier.c.delivered_at, earlier.c.dead_at).is_(None),
    )
    due = (
        sa.select(outbox.c.number)
        .where(
            outbox.c.workspace == _bind(outbox.c.workspace),
            # Of one bank, for a relay of its own; of all where none is named.
            sa.or_(bank.is_(None), outbox.c.tenant == bank),
            PENDING,
            outbox.c.next_attempt_at <= sa.bindparam("now", type_=outbox.c.created_at.type),
            ~waiting,
        )
        .order_by(outbox.c.number)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return (
        sa.update(outbox)
        .where(outbox.c.number == due.c.number)
        .values(attempts=outbox.c.attempts + 1, next_attempt_at=sa.bindparam("until", type_=outbox.c.created_at.type))
        .returning(*outbox.columns)
    )


def _own(table: sa.Table) -> sa.ColumnElement[bool]:
    """Rows of ``table`` of one application, if that is this tenant's."""
    return table.c.application_id.in_(sa.select(_A.id).where(_A.id == _bind(_A.id), _mine()))


_NOW = sa.bindparam("now", type_=sa.TIMESTAMP(timezone=True))
_MOST = sa.bindparam("most", type_=sa.Integer)
CREATE = Statement(_create())
KEY = Statement(
    sa.select(keys.c.request_hash, keys.c.answer).where(
        *(keys.c[name] == _bind(keys.c[name]) for name in ("workspace", "tenant", "key"))
    )
)
FIND = Statement(sa.select(applications).where(_A.id == _bind(_A.id), _mine()))
CHANGE = Statement(_change(once=False))
CHANGE_ONCE = Statement(_change(once=True))
RECEIVED = Statement(
    sa.select(inbox.c.received_at).where(
        *(inbox.c[name] == _bind(inbox.c[name]) for name in ("consumer", "message_id"))
    )
)
HISTORY = Statement(sa.select(steps).where(_own(steps)).order_by(steps.c.number))
OVERDUE = Statement(
    sa.select(_A.id, _A.tenant)
    .where(
        _A.workspace == _bind(_A.workspace),
        _A.state == sa.any_(sa.bindparam("states", type_=ARRAY(sa.Text))),
        _A.expires_at <= _NOW,
    )
    .order_by(_A.expires_at)
    .limit(_MOST)
)
REFERRED = Statement(
    sa.select(applications)
    .where(_mine(), _A.state == sa.literal_column("'referred'"))
    .order_by(_A.updated_at)
    .limit(_MOST)
)
_BY_A_PERSON = sa.exists().where(steps.c.application_id == _A.id, steps.c.actor == sa.literal_column("'reviewer'"))
TOUCHES = Statement(
    sa.select(sa.func.count().label("decided"), sa.func.count().filter(_BY_A_PERSON).label("touched")).where(
        _A.workspace == _bind(_A.workspace),
        _A.decision.is_not(None),
        _A.created_at >= sa.bindparam("since", type_=_A.created_at.type),
    )
)
# It is looked at again as long after the last trial as that was after the submission, within bounds.
_WAITED = sa.func.least(
    sa.func.greatest(_A.updated_at - (_A.expires_at - sa.literal(DRAFT_LASTS)), sa.literal(SOONEST)), sa.literal(LATEST)
)
UNDECIDED = Statement(
    sa.select(_A.id, _A.tenant)
    .where(
        _A.workspace == _bind(_A.workspace),
        _A.state == sa.literal_column("'submitted'"),
        _A.claimed_until <= _NOW,
        _A.updated_at + _WAITED <= _NOW,
    )
    .order_by(_A.claimed_until)
    .limit(_MOST)
)
ADD_CHECK = Statement(
    sa.insert(checks)
    .from_select(
        ["id", "application_id", "kind", "person", "phone", "reference", "outcome", "score", "trials", "started_at",
         "finished_at"],
        sa.select(
            sa.bindparam("check_id", type_=sa.Uuid), _A.id,
            *_binds(checks, "kind", "person", "phone", "reference", "outcome", "score", "trials", "started_at",
                    "finished_at"),
        ).where(_A.id == _bind(_A.id), _mine()),
    )
    .returning(*checks.columns)
)  # fmt: skip
CHECKS = Statement(sa.select(checks).where(_own(checks)).order_by(checks.c.id))
TRY_CHECK = Statement(
    sa.update(checks)
    .where(_own(checks), checks.c.id == sa.bindparam("check_id", type_=sa.Uuid), checks.c.finished_at.is_(None))
    .values(trials=checks.c.trials + 1)
    .returning(*checks.columns)
)
FINISH_CHECK = Statement(
    sa.update(checks)
    .where(_own(checks), checks.c.id == sa.bindparam("check_id", type_=sa.Uuid))
    .values(outcome=_bind(checks.c.outcome), score=_bind(checks.c.score), finished_at=_bind(checks.c.finished_at))
    .returning(*checks.columns)
)
CLAIM_MESSAGES = Statement(_claim_messages())
DELIVERED = Statement(
    sa.update(outbox).where(outbox.c.id == _bind(outbox.c.id)).values(delivered_at=_NOW, last_error=None)
)
NOT_DELIVERED = Statement(
    sa.update(outbox)
    .where(outbox.c.id == _bind(outbox.c.id), outbox.c.delivered_at.is_(None))
    .values(
        next_attempt_at=_bind(outbox.c.next_attempt_at),
        last_error=_bind(outbox.c.last_error),
        dead_at=_bind(outbox.c.dead_at),
    )
)
WAITING_MESSAGES = Statement(
    sa.select(outbox.c.tenant, sa.func.count().label("pending"), sa.func.min(outbox.c.created_at).label("oldest"))
    .where(outbox.c.workspace == _bind(outbox.c.workspace), PENDING)
    .group_by(outbox.c.tenant)
)
MESSAGES = Statement(
    sa.select(outbox)
    .where(
        outbox.c.workspace == _bind(outbox.c.workspace),
        sa.or_(sa.bindparam("everything", type_=sa.Boolean), outbox.c.delivered_at.is_(None)),
    )
    .order_by(outbox.c.number.desc())
    .limit(_MOST)
)
REVIVE = Statement(
    sa.update(outbox)
    .where(
        outbox.c.workspace == _bind(outbox.c.workspace),
        outbox.c.id == _bind(outbox.c.id),
        outbox.c.dead_at.is_not(None),
    )
    .values(dead_at=None, attempts=0, next_attempt_at=_NOW)
    .returning(outbox.c.id)
)
