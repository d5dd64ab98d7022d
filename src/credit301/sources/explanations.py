"""Why a row was refused, in words for the person who has to mend it; no value of the row is in them."""

from __future__ import annotations

from credit301.contracts.model import Check, CheckKind, Contract, Text

# A rule's description has the Chinese first, then the English, in one string.
BETWEEN_LANGUAGES = " · "


def explanation(contract: Contract, identity: str) -> Text:
    """What the check called ``identity`` asks for, in both languages; its name alone where the contract lost it."""
    check = next((check for check in contract.checks if check.id == identity), None)
    if check is None:
        return Text(
            zh=f"{identity}(契约中已无此校验，重放即可)",
            en=f"{identity} (no longer a check of the contract: replay)",
        )
    if check.description:
        zh, _, en = check.description.partition(BETWEEN_LANGUAGES)
        return Text(zh=zh, en=en or zh)
    label = contract.column(check.column).label if check.column else Text(zh="", en="")
    zh, en = _said(check)
    return Text(zh=f"{label.zh}{zh}", en=f"{label.en} {en}".strip())


def _said(check: Check) -> tuple[str, str]:  # noqa: PLR0911 - one for each kind
    arguments = check.arguments
    if check.kind is CheckKind.CASTABLE:
        written = f", {arguments['format']}" if arguments.get("format") else ""
        return f"不是类型 {arguments['type']} 的值{written}", f"is no {arguments['type']}{written}"
    if check.kind is CheckKind.IN_SET:
        values = ", ".join(str(value) for value in arguments["values"])
        return f"不在取值范围内：{values}", f"is none of {values}"
    if check.kind is CheckKind.BETWEEN:
        low, high = arguments.get("minimum", ""), arguments.get("maximum", "")
        return f"超出范围 [{low}, {high}]", f"is not within [{low}, {high}]"
    if check.kind is CheckKind.PATTERN:
        return f"不符合格式 {arguments['pattern']}", f"does not match {arguments['pattern']}"
    if check.kind is CheckKind.UNIQUE_KEY:
        key = ", ".join(str(name) for name in arguments["columns"])
        return f"主键重复：{key}", f"another row has the same {key}"
    if check.kind is CheckKind.ROW_RULE:
        return f"不满足规则 {check.id}", f"the rule {check.id} does not hold"
    return {
        CheckKind.NOT_NULL: ("缺失", "is missing"),
        CheckKind.USCC: ("不是有效的统一社会信用代码", "is no valid unified social credit code"),
    }.get(check.kind, (f"未通过校验 {check.id}", f"violates {check.id}"))
