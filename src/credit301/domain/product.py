"""What may be asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from credit301.contracts.model import Strict
from credit301.contracts.model import Text as StrictText
from credit301.domain.money import CENT, yuan
from credit301.domain.text import Refusal, Text

Money = Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
Months = Annotated[int, Field(ge=1, le=360)]
HIGHEST_ANNUAL_RATE = Decimal("0.36")
"""No offer carries a higher one, whoever makes it."""


class Product(Strict):
    """A loan: the bounds of amount (yuan) and term. ``amount_step``: limits are rounded down to it."""

    name: StrictText
    minimum_amount: Money
    maximum_amount: Money
    amount_step: Money = Decimal(1000)
    minimum_term_months: Months = 1
    maximum_term_months: Months

    @model_validator(mode="after")
    def _ordered(self) -> Product:
        if self.minimum_amount > self.maximum_amount or self.minimum_term_months > self.maximum_term_months:
            raise ValueError("a minimum is above its maximum")
        return self

    def check_request(self, amount: Decimal, term_months: int) -> None:
        """Check what is asked for.

        Raises:
            Refusal: naming the field and its bounds.
        """
        if not amount.is_finite() or not self.minimum_amount <= amount <= self.maximum_amount:
            low, high = yuan(self.minimum_amount), yuan(self.maximum_amount)
            raise Refusal(
                "amount_out_of_range",
                Text(zh=f"申请金额须在 {low} 元至 {high} 元之间。", en=f"amount must be from {low} to {high} yuan."),
                field="amount",
                hint=Text(zh="请在产品额度范围内申请。", en="Ask for an amount within the product's limits."),
            )
        if amount != amount.quantize(CENT):
            raise Refusal(
                "amount_precision",
                Text(zh="申请金额最多两位小数。", en="amount has at most two decimals."),
                field="amount",
                hint=Text(zh="以元为单位，精确到分。", en="Give yuan, to the cent."),
            )
        if not self.minimum_term_months <= term_months <= self.maximum_term_months:
            low, high = str(self.minimum_term_months), str(self.maximum_term_months)
            raise Refusal(
                "term_out_of_range",
                Text(zh=f"期限须在 {low} 至 {high} 个月之间。", en=f"term_months must be from {low} to {high}."),
                field="term_months",
                hint=Text(zh="请选择产品允许的期限。", en="Ask for a term that the product allows."),
            )
