"""The Arrow columns of every source, as its contract states them."""

from __future__ import annotations

import pyarrow as pa

MONEY = pa.decimal128(18, 2)
RATE = pa.decimal128(9, 6)
SCORE = pa.decimal128(5, 2)
MOMENT = pa.timestamp("us")
TEXT = pa.string()
COUNT = pa.int32()
DAY = pa.date32()

SEQUENCE = "_sequence"
"""Place of a record in its source's stream, ordered by (available_at, sequence); never served."""

_TIMES = [("event_time", MOMENT), ("available_at", MOMENT)]

SCHEMAS: dict[str, pa.Schema] = {
    "business_registration": pa.schema(
        [
            ("record_id", TEXT), ("uscc", TEXT), ("enterprise_name", TEXT), ("legal_representative_key", TEXT),
            ("registered_capital", MONEY), ("enterprise_type", TEXT), ("industry_code", TEXT),
            ("division_code", TEXT), ("enterprise_size", TEXT), ("established_on", DAY), ("status", TEXT),
            ("shareholder_count", COUNT), ("change_kind", TEXT), *_TIMES,
        ]
    ),
    "tax_declaration": pa.schema(
        [
            ("uscc", TEXT), ("tax_type", TEXT), ("tax_period", TEXT), ("declared_sales", MONEY),
            ("taxable_income", MONEY), ("output_tax", MONEY), ("input_tax", MONEY), ("tax_payable", MONEY),
            ("is_zero_filing", pa.bool_()), ("due_on", DAY), ("filed_on", DAY), ("days_late", COUNT), *_TIMES,
        ]
    ),
    "social_insurance": pa.schema(
        [
            ("uscc", TEXT), ("period", TEXT), ("insured_headcount", COUNT), ("contribution_base", MONEY),
            ("due_amount", MONEY), ("paid_amount", MONEY), *_TIMES,
        ]
    ),
    "financial_statements": pa.schema(
        [
            ("uscc", TEXT), ("period", TEXT), ("total_assets", MONEY), ("current_assets", MONEY), ("cash", MONEY),
            ("receivables", MONEY), ("inventory", MONEY), ("total_liabilities", MONEY),
            ("current_liabilities", MONEY), ("revenue", MONEY), ("operating_cost", MONEY), ("net_profit", MONEY),
            ("operating_cash_flow", MONEY), *_TIMES,
        ]
    ),
    "judicial_penalty": pa.schema(
        [
            ("case_id", TEXT), ("uscc", TEXT), ("event_kind", TEXT), ("role", TEXT), ("amount", MONEY),
            ("authority", TEXT), *_TIMES,
        ]
    ),
    "bank_loan": pa.schema(
        [
            ("loan_id", TEXT), ("uscc", TEXT), ("bank_code", TEXT), ("product", TEXT), ("amount", MONEY),
            ("annual_rate", RATE), ("term_months", COUNT), ("decided_at", MOMENT), ("disbursed_on", DAY), *_TIMES,
        ]
    ),
    "bank_repayment": pa.schema(
        [
            ("loan_id", TEXT), ("instalment_no", COUNT), ("uscc", TEXT), ("due_on", DAY), ("due_amount", MONEY),
            ("paid_on", DAY), ("paid_amount", MONEY), ("days_past_due", COUNT), ("five_level_class", TEXT), *_TIMES,
        ]
    ),
    "enterprise_profile": pa.schema(
        [
            ("profile_id", TEXT), ("uscc", TEXT), ("version_no", COUNT), ("enterprise_name", TEXT), ("address", TEXT),
            ("division_code", TEXT), ("contact_phone_key", TEXT), ("main_products", TEXT), ("premises_tenure", TEXT),
            ("premises_area", MONEY), *_TIMES,
        ]
    ),
    "development_reform": pa.schema(
        [
            ("record_id", TEXT), ("uscc", TEXT), ("record_kind", TEXT), ("evaluation_grade", TEXT),
            ("evaluation_score", SCORE), ("list_reason", TEXT), ("investment_amount", MONEY), *_TIMES,
        ]
    ),
    "tax_payment": pa.schema(
        [
            ("uscc", TEXT), ("tax_type", TEXT), ("tax_period", TEXT), ("due_on", DAY), ("due_amount", MONEY),
            ("paid_on", DAY), ("paid_amount", MONEY), ("arrears_amount", MONEY), ("late_fee", MONEY),
            ("days_from_due", COUNT), ("tax_credit_grade", TEXT), *_TIMES,
        ]
    ),
    "fiscal_support": pa.schema(
        [
            ("support_id", TEXT), ("uscc", TEXT), ("support_kind", TEXT), ("programme", TEXT), ("department", TEXT),
            ("amount", MONEY), *_TIMES,
        ]
    ),
    "housing_fund": pa.schema(
        [
            ("uscc", TEXT), ("period", TEXT), ("contributor_count", COUNT), ("contribution_base", MONEY),
            ("due_amount", MONEY), ("paid_amount", MONEY), ("overdue_amount", MONEY), *_TIMES,
        ]
    ),
    "bank_account_flow": pa.schema(
        [
            ("account_key", TEXT), ("business_date", DAY), ("uscc", TEXT), ("inflow", MONEY), ("outflow", MONEY),
            ("payroll_outflow", MONEY), ("closing_balance", MONEY), ("transaction_count", COUNT),
            ("counterparty_count", COUNT), ("largest_counterparty_share", RATE), *_TIMES,
        ]
    ),
    "platform_event": pa.schema(
        [
            ("event_id", TEXT), ("uscc", TEXT), ("application_id", TEXT), ("event_kind", TEXT), ("page_step", TEXT),
            ("verification_kind", TEXT), ("verification_result", TEXT), ("edit_count", COUNT),
            ("duration_seconds", COUNT), ("applicant_key", TEXT), ("device_key", TEXT), ("ip_key", TEXT),
            ("address_key", TEXT), *_TIMES,
        ]
    ),
}  # fmt: skip

TRUTH = pa.schema(
    [("loan_id", TEXT), ("uscc", TEXT), ("decided_at", MOMENT), ("true_pd", pa.float64()), ("defaulted", pa.bool_())]
)

RINGS = pa.schema([("ring_id", TEXT), ("uscc", TEXT), ("loan_id", TEXT), ("decided_at", MOMENT)])

PRIMARY_KEYS: dict[str, tuple[str, ...]] = {
    "business_registration": ("record_id",),
    "tax_declaration": ("uscc", "tax_type", "tax_period"),
    "social_insurance": ("uscc", "period"),
    "financial_statements": ("uscc", "period"),
    "judicial_penalty": ("case_id",),
    "bank_loan": ("loan_id",),
    "bank_repayment": ("loan_id", "instalment_no"),
    "enterprise_profile": ("profile_id",),
    "development_reform": ("record_id",),
    "tax_payment": ("uscc", "tax_type", "tax_period"),
    "fiscal_support": ("support_id",),
    "housing_fund": ("uscc", "period"),
    "bank_account_flow": ("account_key", "business_date"),
    "platform_event": ("event_id",),
}

GOVERNMENT = (
    "business_registration",
    "tax_declaration",
    "social_insurance",
    "financial_statements",
    "judicial_penalty",
    "enterprise_profile",
    "development_reform",
    "tax_payment",
    "fiscal_support",
    "housing_fund",
)
BANK = ("bank_loan", "bank_repayment", "bank_account_flow")
PLATFORM = ("platform_event",)
OWNERS: dict[str, tuple[str, ...]] = {"government": GOVERNMENT, "bank": BANK, "platform": PLATFORM}
"""Whose sources the exchange serves under which path; the platform is the bank's and has the bank's token."""
