"""Applications, their history, idempotency keys, identity checks, outbox and inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
_WAITING = (
    "state IN ('draft', 'submitted', 'consent_verified', 'identity_verified', 'admitted', 'fraud_cleared', 'scored', "
    "'referred', 'offered')"
)


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "application",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("entity", sa.Text(), nullable=False),
        sa.Column("named", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=18, scale=2), nullable=False),
        sa.Column("term_months", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("consent_id", sa.Text(), nullable=True),
        sa.Column("phone_verified_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("face_verified_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decision_id", sa.Uuid(), nullable=True),
        sa.Column("claimed_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("credit_limit", sa.Numeric(precision=18, scale=2), nullable=True),
        sa.Column("annual_rate", sa.Numeric(precision=9, scale=6), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("updated_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="applications",
    )
    op.create_index(
        "application_deciding",
        "application",
        ["claimed_until"],
        unique=False,
        schema="applications",
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.create_index("application_decision", "application", ["decision_id"], unique=True, schema="applications")
    op.create_index("application_entity", "application", ["workspace", "named"], unique=False, schema="applications")
    op.create_index(
        "application_expiry",
        "application",
        ["expires_at"],
        unique=False,
        schema="applications",
        postgresql_where=sa.text(_WAITING),
    )
    op.create_table(
        "application_event",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["applications.application.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number"),
        schema="applications",
    )
    op.create_index(
        op.f("ix_applications_application_event_application_id"),
        "application_event",
        ["application_id"],
        unique=False,
        schema="applications",
    )
    op.create_table(
        "idempotency_key",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["applications.application.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("workspace", "tenant", "key"),
        schema="applications",
    )
    op.create_index(
        op.f("ix_applications_idempotency_key_application_id"),
        "idempotency_key",
        ["application_id"],
        unique=False,
        schema="applications",
    )
    op.create_table(
        "identity_check",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["application_id"], ["applications.application.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        schema="applications",
    )
    op.create_index(
        op.f("ix_applications_identity_check_application_id"),
        "identity_check",
        ["application_id"],
        unique=False,
        schema="applications",
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["application_id"], ["applications.application.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("consumer", "message_id"),
        schema="applications",
    )
    op.create_index(
        op.f("ix_applications_inbox_application_id"), "inbox", ["application_id"], unique=False, schema="applications"
    )
    op.create_table(
        "outbox",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("application_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("delivered_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("dead_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["application_id"], ["applications.application.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        schema="applications",
    )
    op.create_index("outbox_application", "outbox", ["application_id", "number"], unique=False, schema="applications")
    op.create_index(
        "outbox_pending",
        "outbox",
        ["next_attempt_at"],
        unique=False,
        schema="applications",
        postgresql_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index(
        "outbox_pending",
        table_name="outbox",
        schema="applications",
        postgresql_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
    )
    op.drop_index("outbox_application", table_name="outbox", schema="applications")
    op.drop_table("outbox", schema="applications")
    op.drop_index(op.f("ix_applications_inbox_application_id"), table_name="inbox", schema="applications")
    op.drop_table("inbox", schema="applications")
    op.drop_index(
        op.f("ix_applications_identity_check_application_id"), table_name="identity_check", schema="applications"
    )
    op.drop_table("identity_check", schema="applications")
    op.drop_index(
        op.f("ix_applications_idempotency_key_application_id"), table_name="idempotency_key", schema="applications"
    )
    op.drop_table("idempotency_key", schema="applications")
    op.drop_index(
        op.f("ix_applications_application_event_application_id"), table_name="application_event", schema="applications"
    )
    op.drop_table("application_event", schema="applications")
    op.drop_index(
        "application_expiry",
        table_name="application",
        schema="applications",
        postgresql_where=sa.text(_WAITING),
    )
    op.drop_index("application_entity", table_name="application", schema="applications")
    op.drop_index("application_decision", table_name="application", schema="applications")
    op.drop_index(
        "application_deciding",
        table_name="application",
        schema="applications",
        postgresql_where=sa.text("state = 'submitted'"),
    )
    op.drop_table("application", schema="applications")
