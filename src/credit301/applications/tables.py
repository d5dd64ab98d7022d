"""The tables of applications, in PostgreSQL's schema ``applications``; the migrations make them.

Every table names the workspace and the tenant (the client of the API): each query asks for both.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from credit301.applications.states import WAITING

SCHEMA = "applications"
METADATA = sa.MetaData(schema=SCHEMA)
_INSTANT = sa.TIMESTAMP(timezone=True)

applications = sa.Table(
    "application",
    METADATA,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("named", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("product", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("amount", sa.Numeric(18, 2), nullable=False),
    sa.Column("term_months", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("consent_id", sa.Text),
    sa.Column("phone_verified_at", _INSTANT),
    sa.Column("face_verified_at", _INSTANT),
    sa.Column("decision_id", sa.Uuid),
    sa.Column("claimed_until", _INSTANT),
    sa.Column("decision", JSONB),
    sa.Column("credit_limit", sa.Numeric(18, 2)),
    sa.Column("annual_rate", sa.Numeric(9, 6)),
    sa.Column("created_at", _INSTANT, nullable=False),
    sa.Column("updated_at", _INSTANT, nullable=False),
    sa.Column("expires_at", _INSTANT, nullable=False),
    sa.Index("application_entity", "workspace", "named"),
    sa.Index("application_decision", "decision_id", unique=True),
)
steps = sa.Table(
    "application_event",
    METADATA,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("application_id", sa.ForeignKey(applications.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", _INSTANT, nullable=False),
    sa.Column("detail", JSONB, nullable=False),
)
keys = sa.Table(
    "idempotency_key",
    METADATA,
    sa.Column("workspace", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_hash", sa.Text, nullable=False),
    sa.Column("application_id", sa.ForeignKey(applications.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("answer", JSONB, nullable=False),
    sa.Column("expires_at", _INSTANT, nullable=False),
)
checks = sa.Table(
    "identity_check",
    METADATA,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("application_id", sa.ForeignKey(applications.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("phone", sa.Text),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("trials", sa.Integer, nullable=False),
    sa.Column("started_at", _INSTANT, nullable=False),
    sa.Column("finished_at", _INSTANT),
)
outbox = sa.Table(
    "outbox",
    METADATA,
    # The order of messages is that of their numbers; whoever receives one knows it by its id.
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("workspace", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("application_id", sa.ForeignKey(applications.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("created_at", _INSTANT, nullable=False),
    sa.Column("next_attempt_at", _INSTANT, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("delivered_at", _INSTANT),
    sa.Column("dead_at", _INSTANT),
    sa.Column("last_error", sa.Text),
    sa.Index("outbox_application", "application_id", "number"),
)
inbox = sa.Table(
    "inbox",
    METADATA,
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("application_id", sa.ForeignKey(applications.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("received_at", _INSTANT, nullable=False),
)
PENDING = sa.and_(outbox.c.delivered_at.is_(None), outbox.c.dead_at.is_(None))
sa.Index("outbox_pending", outbox.c.next_attempt_at, postgresql_where=PENDING)
sa.Index(
    "application_expiry",
    applications.c.expires_at,
    postgresql_where=applications.c.state.in_([state.value for state in WAITING]),
)
sa.Index(
    "application_deciding",
    applications.c.claimed_until,
    postgresql_where=applications.c.state == "submitted",
)
