"""Money in yuan and annual rates, as exact decimals."""

from __future__ import annotations

from decimal import Decimal

CENT = Decimal("0.01")
RATE = Decimal("0.000001")


def exact(value: float) -> Decimal:
    """The shortest decimal that reads back as ``value``, which a model or the online store gave as a float."""
    return Decimal(repr(value))


def floor_to(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` (above zero) that is not above ``amount``."""
    whole = amount // step * step
    return whole if whole <= amount else whole - step


def yuan(amount: Decimal) -> str:
    """``1234567.50`` as ``1,234,567.50``; whole amounts without decimals."""
    text = f"{amount:,.2f}"
    return text.removesuffix(".00") if amount == amount.to_integral_value() else text


def percent(rate: Decimal) -> str:
    """``0.0435`` as ``4.35%``."""
    return f"{rate * 100:.2f}%"
