"""Money in yuan and annual rates, as exact decimals."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

CENT = Decimal("0.01")
RATE = Decimal("0.000001")


def exact(value: float) -> Decimal:
    """The shortest decimal that reads back as ``value``, which a model or the online store gave as a float."""
    return Decimal(repr(value))


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` (above zero) that is not above ``amount``."""
    return (amount / step).to_integral_value(rounding=ROUND_FLOOR) * step


def yuan(amount: Decimal) -> str:
    """``1234567.50`` as ``1,234,567.50``; whole amounts without decimals."""
    return f"{amount:,.0f}" if amount == amount.to_integral_value() else f"{amount:,.2f}"


def percent(rate: Decimal) -> str:
    """``0.0435`` as ``4.35%``."""
    return f"{rate * 100:.2f}%"
