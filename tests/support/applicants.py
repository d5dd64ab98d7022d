"""What is known of a sound and of a weak applicant."""

from __future__ import annotations

from credit301.domain.verdict import Scalar

GOOD: dict[str, Scalar] = {
    "business_registration:age_days": 4000.0,
    "business_registration:registered_capital_last": 5_000_000.0,
    "business_registration:status_last": "active",
    "tax_declaration:declared_sales_12m_sum": 2_400_000.0,
    "tax_declaration:declared_sales_12m_trend": 1.5,
    "tax_declaration:late_filing_count_12m": 0.0,
    "judicial_penalty:dishonest_listing_count_24m": 0.0,
    "judicial_penalty:adverse_event_count_24m": 0.0,
}
BAD: dict[str, Scalar] = {
    **GOOD,
    "business_registration:age_days": 200.0,
    "tax_declaration:declared_sales_12m_trend": -2.0,
    "tax_declaration:late_filing_count_12m": 6.0,
    "judicial_penalty:adverse_event_count_24m": 5.0,
}
