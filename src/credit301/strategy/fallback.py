"""What becomes of an application where something is missing that a decision is made from: the strategy names it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from credit301.contracts.model import Name, Strict
from credit301.domain.money import yuan
from credit301.domain.text import Text
from credit301.domain.verdict import Cause, FallbackTaken, Missing

UNAVAILABLE: Literal["unavailable"] = "unavailable"
Ends = Literal["decline", "refer"]
Amount = Annotated[Decimal, Field(gt=0)]


class Capped(Strict):
    """It is decided all the same, and at most ``maximum_amount`` yuan are lent."""

    maximum_amount: Amount


class RulesOnly(Capped):
    """The graphs decide without a score: they see ``probability`` in its place, and no points."""

    probability: Annotated[float, Field(gt=0, lt=1)]


class Fallbacks(Strict):
    """By what is missing.

    ``store``: the online store cannot be reached, or not be read; ``unavailable`` answers 503. ``model``: none is in
    use, or it refuses what was read; without any model there is no plan of what to read, so that rules alone do not
    decide then either. ``sources``: by name, one that is withheld or whose data are too old; one that is not named is
    decided on as without data. ``windows``: some window that a graph reads is not known; where nothing is said, the
    cells say what that means.
    """

    store: Literal["unavailable"] | Ends = UNAVAILABLE
    model: Literal["unavailable"] | Ends | RulesOnly = UNAVAILABLE
    sources: dict[Name, Ends | Capped] = Field(default_factory=dict)
    windows: Ends | Capped | None = None

    def capped(self) -> Iterable[tuple[str, Capped]]:
        """Those that lend something, each with its key in the file."""
        for key, said in (("model", self.model), ("windows", self.windows), *self.sources.items()):
            if isinstance(said, Capped):
                yield key, said


class Gap(NamedTuple):
    """Something that is missing, and ``what``: of a source its name, of others what is wrong."""

    missing: Missing
    what: str = ""


class Fallen(NamedTuple):
    """A fallback that was taken, and at most how many yuan are lent by it (``None``: nothing is lent)."""

    taken: FallbackTaken
    most: Decimal | None = None

    @property
    def cause(self) -> Cause:
        """What to say of it."""
        return Cause(_code(self.taken), _words(self.taken, self.most))


def fallen(fallbacks: Fallbacks, gaps: Iterable[Gap]) -> list[Fallen]:
    """The fallbacks that ``gaps`` lead to; of those that are unavailable, or of which nothing is said, none."""
    found = []
    for gap in dict.fromkeys(gaps):
        said = fallbacks.sources.get(gap.what) if gap.missing == "source" else getattr(fallbacks, gap.missing)
        if isinstance(said, Capped):
            action: Literal["rules_only", "capped"] = "rules_only" if isinstance(said, RulesOnly) else "capped"
            found.append(Fallen(FallbackTaken(gap.missing, gap.what, action), said.maximum_amount))
        elif said is not None and said != UNAVAILABLE:
            found.append(Fallen(FallbackTaken(gap.missing, gap.what, said)))
    return found


_MISSING: dict[Missing, Text] = {
    "store": Text(zh="在线特征库不可用", en="The online store cannot be read"),
    "model": Text(zh="没有模型评分", en="No model has scored it"),
    "source": Text(zh="数据源 {what} 未获授权或已过期", en="The source {what} is withheld or too old"),
    "windows": Text(zh="近期行为窗口未知", en="Windows over recent events are not known"),
}
_BECOMES = {
    "decline": Text(zh="按策略拒绝。", en="the strategy declines then."),
    "refer": Text(zh="按策略转人工。", en="the strategy hands it to a person then."),
    "capped": Text(zh="额度以 {amount} 元为限。", en="the limit is {amount} yuan at most then."),
    "rules_only": Text(
        zh="仅按规则审批，额度以 {amount} 元为限。", en="rules alone decide then, and lend {amount} yuan at most."
    ),
}


def _code(taken: FallbackTaken) -> str:
    return f"fallback.{taken.missing}" + (f".{taken.what}" if taken.missing == "source" else "")


def _words(taken: FallbackTaken, most: Decimal | None) -> Text:
    missing, becomes = _MISSING[taken.missing], _BECOMES[taken.action]
    amount = "" if most is None else yuan(most)
    return Text(
        zh=f"{missing.zh}，{becomes.zh}".format(what=taken.what, amount=amount),
        en=f"{missing.en}; {becomes.en}".format(what=taken.what, amount=amount),
    )
