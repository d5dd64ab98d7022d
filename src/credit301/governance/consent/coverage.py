"""Which sources a consent covers at this moment, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from credit301.contracts.model import ConsentNeed, Contract, Purpose
from credit301.domain.text import Text
from credit301.errors import Credit301Error
from credit301.governance.consent.records import Standing
from credit301.governance.definition import ConsentPolicy

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class Denied(StrEnum):
    """Why a source may not be read."""

    NO_CONSENT = "no_consent"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    OTHER_PURPOSE = "other_purpose"
    PURPOSE_NOT_ALLOWED = "purpose_not_allowed"


_WORDS = {
    Denied.NO_CONSENT: Text(zh="没有授权", en="no consent"),
    Denied.NOT_YET: Text(zh="授权尚未生效", en="the consent has not begun"),
    Denied.EXPIRED: Text(zh="授权已过期", en="the consent has expired"),
    Denied.OTHER_PURPOSE: Text(zh="授权用途不符", en="consent is for another purpose"),
    Denied.PURPOSE_NOT_ALLOWED: Text(zh="数据契约不允许该用途", en="the contract does not allow this purpose"),
}
# The most specific thing that can be said, if several consents fall short in different ways.
_SPECIFIC = (Denied.EXPIRED, Denied.NOT_YET, Denied.OTHER_PURPOSE, Denied.NO_CONSENT)


class Asking(msgspec.Struct, frozen=True):
    """Who wants to read, and what for."""

    grantee: str
    purpose: Purpose = Purpose.CREDIT_DECISION


class Coverage(msgspec.Struct, frozen=True):
    """What may be read now: ``withheld`` says of each other source why not; ``consents`` are those relied upon."""

    sources: tuple[str, ...]
    withheld: dict[str, Denied]
    consents: tuple[str, ...]


class ConsentMissing(Credit301Error):
    """A source that is needed may not be read; ``denied`` says of each why not."""

    def __init__(self, denied: dict[str, Denied], titles: dict[str, Text]) -> None:
        named = [
            (titles.get(source, Text(zh=source, en=source)), source, _WORDS[why]) for source, why in denied.items()
        ]
        self.text = Text(
            zh="未获授权查询：" + "；".join(f"{title.zh}（{source}）{why.zh}" for title, source, why in named) + "。",
            en="No consent to read: " + "; ".join(f"{source} ({why.en})" for _, source, why in named) + ".",
        )
        self.hint_text = Text(
            zh="请先取得企业授权并登记（POST /v1/consents 或 credit301 consent grant）。",
            en="Obtain the enterprise's consent and record it (POST /v1/consents or credit301 consent grant).",
        )
        super().__init__(self.text.en, hint=self.hint_text.en)
        self.denied = denied


class ConsentRule:
    """What a workspace's contracts and policy say about reading by consent.

    Args:
        sources: contracts by name.
        policy: the workspace's.
    """

    def __init__(self, sources: dict[str, Contract], policy: ConsentPolicy) -> None:
        self._sources = sources
        self._policy = policy
        self._titles = {name: Text(zh=item.title.zh, en=item.title.en) for name, item in sources.items()}
        self.enforced = policy.mode == "enforced"
        self._free = frozenset(
            name for name, item in sources.items() if not self.enforced or item.consent is not ConsentNeed.REQUIRED
        )

    @classmethod
    def of(cls, workspace: Workspace) -> ConsentRule:
        """The rule of ``workspace``."""
        return cls(workspace.sources, workspace.definition.governance.consent)

    def needs_consent(self, source: str) -> bool:
        """Whether ``source`` is read by consent only; one without a contract always is."""
        return self.enforced and source not in self._free

    def cover(self, standings: Sequence[Standing], sources: Iterable[str], asking: Asking, now: int) -> Coverage:
        """Which of ``sources`` may be read with ``standings`` at ``now`` (microseconds since 1970)."""
        allowed: list[str] = []
        withheld: dict[str, Denied] = {}
        relied: dict[str, None] = {}
        mine = [item for item in standings if item.grantee == asking.grantee]
        for source in sources:
            contract = self._sources.get(source)
            if contract is not None and asking.purpose not in contract.purposes:
                withheld[source] = Denied.PURPOSE_NOT_ALLOWED
            elif not self.needs_consent(source):
                allowed.append(source)
            else:
                consent, why = _consent_for(mine, source, asking.purpose, now)
                if consent is None:
                    withheld[source] = why
                else:
                    allowed.append(source)
                    relied[consent] = None
        return Coverage(tuple(allowed), withheld, tuple(relied))

    def require(self, coverage: Coverage, indispensable: Collection[str]) -> None:
        """Insist on as much consent as the policy asks for.

        Args:
            coverage: what may be read.
            indispensable: sources for want of which a hard rule would decline: "no data" must not mean "bad".

        Raises:
            ConsentMissing: with ``refuse`` any source is withheld; with ``no_data`` an indispensable one is, or all
                that need consent are.
        """
        withheld = coverage.withheld
        if not withheld:
            return
        if self._policy.uncovered == "no_data":
            relied = bool(coverage.consents)
            needed = {source: why for source, why in withheld.items() if source in indispensable}
            withheld = needed or ({} if relied else withheld)
        if withheld:
            raise ConsentMissing(withheld, self._titles)


def _consent_for(standings: Sequence[Standing], source: str, purpose: str, now: int) -> tuple[str | None, Denied]:
    shortcomings: set[Denied] = set()
    for item in standings:
        if source not in item.sources:
            continue
        if purpose not in item.purposes:
            shortcomings.add(Denied.OTHER_PURPOSE)
        elif now < item.valid_from:
            shortcomings.add(Denied.NOT_YET)
        elif now >= item.valid_until:
            shortcomings.add(Denied.EXPIRED)
        else:
            return item.consent_id, Denied.NO_CONSENT
    return None, next((why for why in _SPECIFIC if why in shortcomings), Denied.NO_CONSENT)
