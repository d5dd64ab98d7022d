"""Repairs that a contract may declare for a column: a closed list, applied in order to the text as sent.

In ``contract.yaml``, among a column's ``customProperties``::

    {property: repair, value: [full_width, thousands, {blank_as: 未注明}, {recode: {"1": 变更}}]}
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Repair(StrEnum):
    """What is done to a text before it is cast; a text that a repair does not recognise stays as it is.

    - ``full_width``: full-width letters, digits and signs become ASCII.
    - ``dash_is_null``: a text of dashes or slashes alone is missing.
    - ``word_is_null``: a text that says so is missing (无, 不详, null, n/a, ...).
    - ``null_if``: one of the texts listed is missing.
    - ``blank_as``: what is missing becomes the given text.
    - ``recode``: a code becomes what it stands for.
    - ``trailing_comma``: commas and semicolons at the end are dropped.
    - ``thousands``: separators are taken out of grouped digits.
    - ``float_noise``: the last digits of a binary fraction are rounded away: ``7.162999999999999`` is 7.163.
    - ``percent``: ``12.5%`` becomes ``0.125``.
    - ``amount_unit``: ``3.5万元`` becomes yuan.
    - ``wan_to_yuan``: a number of units of 10,000 becomes yuan.
    - ``chinese_date``: ``二〇一七年十月二日`` and ``2017年10月2日`` become ISO 8601; a year and month stay that.
    - ``epoch_ms_china``: milliseconds since 1970 become the wall clock of UTC+8.
    - ``nearest_midnight``: a moment becomes the day whose start is nearest.
    """

    FULL_WIDTH = "full_width"
    DASH_IS_NULL = "dash_is_null"
    WORD_IS_NULL = "word_is_null"
    NULL_IF = "null_if"
    BLANK_AS = "blank_as"
    RECODE = "recode"
    TRAILING_COMMA = "trailing_comma"
    THOUSANDS = "thousands"
    FLOAT_NOISE = "float_noise"
    PERCENT = "percent"
    AMOUNT_UNIT = "amount_unit"
    WAN_TO_YUAN = "wan_to_yuan"
    CHINESE_DATE = "chinese_date"
    EPOCH_MS_CHINA = "epoch_ms_china"
    NEAREST_MIDNIGHT = "nearest_midnight"


class RepairStep(BaseModel):
    """One repair and what it needs; read from its name alone, or from ``{name: argument}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Repair
    text: str | None = None
    texts: tuple[str, ...] = ()
    codes: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        if isinstance(value, dict) and "kind" not in value:
            if len(value) != 1:
                raise ValueError("a repair is its name, or one name with what it needs")
            (name, argument), *_ = value.items()
            return {"kind": name, _ARGUMENTS.get(name, "text"): argument}
        return value

    @model_validator(mode="after")
    def _complete(self) -> RepairStep:
        given = {name for name in ("text", "texts", "codes") if getattr(self, name)}
        needed = {_ARGUMENTS[self.kind]} if self.kind in _ARGUMENTS else set()
        if given != needed:
            raise ValueError(f"{self.kind} needs {_NEEDS.get(self.kind, 'no argument')}")
        return self


_ARGUMENTS: dict[str, str] = {Repair.NULL_IF: "texts", Repair.BLANK_AS: "text", Repair.RECODE: "codes"}
_NEEDS: dict[str, str] = {
    Repair.NULL_IF: "a list of texts",
    Repair.BLANK_AS: "a text",
    Repair.RECODE: "a mapping of codes to texts",
}
