"""A new enterprise on its way through both modes, over HTTP alone: what a person, the platform and the bank take.

What a person takes is an estimate, by the keystroke-level model (Card, Moran and Newell, 1980): a keystroke of an
average typist, a field or button pointed at, a thought before each. What the platform, the identity provider and the
bank take is measured.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from credit301.errors import Credit301Error, SourceError
from serving.auth import HEADER

KEYSTROKE, POINTING, THOUGHT = 0.28, 1.1, 1.35
"""Seconds of the model's operators K, P and M."""
PINYIN = 3
"""Keystrokes for a Chinese character."""
READING = 7.0
"""Chinese characters that a person reads in a second."""
CONSENT_CHARACTERS, OFFER_CHARACTERS, PREFILL_CHARACTERS = 400, 120, 150
"""Characters of the text of the consent, of the offer, and of what is filled in, which are read."""
LOOKING_AT_PHONE, LOOKING_AT_CAMERA = 5.0, 8.0
PERSON_SECONDS, LENDING_SECONDS = 180.0, 60.0
"""The limits: three minutes to apply, one minute from the submission to the money, without the person's own time."""
_POLL = 0.05
_PERSON = {"name": "张三", "id_number": "110101199003070011"}
_PHONE = "13800000001"
_TRIALS = 4


class WalkFailed(Credit301Error):
    """The walk did not end with the money paid out within the limits."""


class NotLentTo(Credit301Error):
    """This enterprise is not lent to; another one may be."""


@dataclass(frozen=True)
class Step:
    """One step: seconds of the person (estimated), of the platform, and of somebody else (measured)."""

    zh: str
    en: str
    person: float = 0.0
    platform: float = 0.0
    others: float = 0.0


@dataclass
class Walk:
    """How one application went."""

    mode: str
    bank: str
    steps: list[Step] = field(default_factory=list)
    application: str = ""
    state: str = ""
    touches: int = 0
    lending: float = 0.0
    """Seconds from the submission to the money, measured, without the person's."""
    filled_in: int = 0

    @property
    def person(self) -> float:
        """Seconds of the person, estimated."""
        return sum(step.person for step in self.steps)

    def problems(self) -> list[str]:
        """Which limits it missed, in both languages."""
        found = []
        if self.state not in {"disbursed", "monitored"}:
            found.append(f"{self.mode}: 未放款 not disbursed: {self.state}")
        if self.person > PERSON_SECONDS:
            found.append(f"{self.mode}: 填写超过 {PERSON_SECONDS:.0f} 秒 the person takes {self.person:.0f} s")
        if self.lending > LENDING_SECONDS:
            found.append(f"{self.mode}: 放款超过 {LENDING_SECONDS:.0f} 秒 lending takes {self.lending:.0f} s")
        if self.touches:
            found.append(f"{self.mode}: 人工环节 {self.touches} touches of people")
        return found


def typed(*texts: str) -> float:
    """Seconds to type ``texts``, each into a field of its own."""
    keys = sum(PINYIN if "\u4e00" <= character <= "\u9fff" else 1 for text in texts for character in text)
    return keys * KEYSTROKE + len(texts) * (POINTING + THOUGHT)


def chosen(count: int) -> float:
    """Seconds to choose from ``count`` lists, or press as many buttons."""
    return count * (POINTING + THOUGHT)


class Walker:
    """Walks enterprises through one bank's mode.

    Args:
        bank: the API's client.
        mode: ``platform`` or ``standard``.
        api: base URL of the API, with the bank's ``key``.
        key: the bank's.
        phone_codes: what the telephone of this number shows, newest last.
        patience: seconds to wait for a bank.
    """

    def __init__(
        self,
        bank: str,
        mode: str,
        api: str,
        key: str,
        phone_codes: Callable[[str], Sequence[str]],
        patience: float = 60.0,
    ) -> None:
        self._bank, self._mode = bank, mode
        self._client = httpx.Client(base_url=api, headers={HEADER: key}, timeout=20.0, trust_env=False)
        self._codes = phone_codes
        self._patience = patience

    def walk(self, entity_key: str, entity: str, amount: str = "200000.00", term: int = 12) -> Walk:
        """Walk one enterprise from the draft to the money.

        Raises:
            NotLentTo: a strategy or the bank declined.
            SourceError: a service does not answer, or refuses.
        """
        walk = Walk(self._mode, self._bank)
        place = self._apply(walk, entity_key, entity, amount, term)
        self._identify(walk, place)
        self._decide(walk, place)
        seen = self._asked("GET", place)[1]
        walk.state = seen["application"]["state"]
        walk.touches = sum(line["actor"] == "reviewer" for line in seen["history"])
        return walk

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _apply(self, walk: Walk, entity_key: str, entity: str, amount: str, term: int) -> str:
        body = {entity_key: entity, "amount": amount, "term_months": term, "mode": self._mode}
        spent, made = self._asked("POST", "/v1/applications", body, {"Idempotency-Key": f"walk-{uuid.uuid4().hex}"})
        # Typed: the enterprise's code and the amount; chosen: term, purpose, and the button.
        walk.steps.append(Step("填写申请", "the application", typed(entity, amount[:-3]) + chosen(3), spent))
        walk.application = made["application_id"]
        place = f"/v1/applications/{walk.application}"
        until = (datetime.now(UTC) + timedelta(days=365)).isoformat()
        spent, _ = self._asked("POST", f"{place}/consent", {"valid_until": until, "note": "walk"})
        walk.steps.append(
            Step("阅读并授权", "reading and giving consent", CONSENT_CHARACTERS / READING + chosen(2), spent)
        )
        spent, known = self._asked("GET", f"{place}/prefill")
        walk.filled_in = len(known["fields"])
        looked = PREFILL_CHARACTERS / READING if walk.filled_in else 0.0
        walk.steps.append(Step("核对预填信息", "looking at what is filled in", looked, spent))
        return place

    def _identify(self, walk: Walk, place: str) -> None:
        spent, sent = self._asked("POST", f"{place}/identity/phone", {**_PERSON, "phone": _PHONE})
        person = typed(_PERSON["name"], _PERSON["id_number"], _PHONE) + chosen(1)
        walk.steps.append(Step("手机验证", "the telephone", person, 0.0, spent))
        code = self._codes(_PHONE)[-1]
        spent, said = self._asked("POST", f"{place}/identity/phone/code", {"check": sent["check"], "code": code})
        walk.steps.append(Step("输入验证码", "the code", LOOKING_AT_PHONE + typed(code) + chosen(1), 0.0, spent))
        if said["outcome"] != "pass":
            raise NotLentTo("The telephone was not verified.")
        for trial in range(_TRIALS):
            spent, face = self._asked("POST", f"{place}/identity/face", {**_PERSON, "capture": f"live-{trial}"})
            walk.steps.append(Step("人脸识别", "the face", LOOKING_AT_CAMERA + chosen(1), 0.0, spent))
            if face["outcome"] == "pass":
                return
        raise NotLentTo("The face was not recognised.")

    def _decide(self, walk: Walk, place: str) -> None:
        spent, seen = self._asked("POST", f"{place}/submit")
        walk.steps.append(Step("提交与决策", "submission and decision", chosen(1), spent))
        walk.lending += spent
        state = seen["state"]
        if state == "scored":
            spent, state = self._awaited(place, {"scored"})
            walk.steps.append(Step("银行审批", "the bank decides", 0.0, 0.0, spent))
            walk.lending += spent
        if state != "offered":
            raise NotLentTo(f"The application is {state}.")
        spent, _ = self._asked("POST", f"{place}/accept")
        walk.steps.append(Step("接受方案", "accepting the offer", OFFER_CHARACTERS / READING + chosen(1), spent))
        walk.lending += spent
        spent, state = self._awaited(place, {"accepted", "disbursement_instructed"})
        walk.steps.append(Step("银行放款", "the bank pays", 0.0, 0.0, spent))
        walk.lending += spent
        if state not in {"disbursed", "monitored"}:
            raise NotLentTo(f"The application is {state}.")

    def _awaited(self, place: str, while_in: set[str]) -> tuple[float, str]:
        began = time.monotonic()
        while time.monotonic() - began < self._patience:
            state = self._asked("GET", place)[1]["application"]["state"]
            if state not in while_in:
                return time.monotonic() - began, state
            time.sleep(_POLL)
        raise SourceError(
            f"The bank {self._bank} said nothing within {self._patience:.0f} s.",
            hint="Its service and the relay must run: credit301 status, credit301 applications messages.",
        )

    def _asked(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[float, Any]:
        """Seconds that the answer took, and its JSON."""
        began = time.monotonic()
        try:
            for trial in range(_TRIALS):
                answer = self._client.request(method, path, json=body, headers=headers)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or trial == _TRIALS - 1:
                    break
        except httpx.HTTPError as error:
            raise SourceError(f"{path} does not answer: {type(error).__name__}.", hint="credit301 up") from error
        data = answer.json()
        if answer.is_error:
            said = data["error"]
            kind = NotLentTo if answer.status_code == httpx.codes.NOT_FOUND else SourceError
            raise kind(f"{said['message']['zh']} {said['message']['en']} [{said['code']}]")
        return time.monotonic() - began, data
