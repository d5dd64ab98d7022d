"""Signed messages: what was changed, is old, unknown or seen before is never accepted."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import http_sf
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from credit301.domain.text import Text
from credit301.signing.errors import KeyUnusable, SignatureRefused, SignatureUnchecked
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey
from credit301.signing.message import HttpAnswer, HttpMessage
from credit301.signing.nonces import MemoryNonces
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verified, Verifier
from tests.unit.signing.parties import KEYS, NOW, REQUEST, SIGNING, answered, public, signed, verified, verifier

ED = KEYS[Algorithm.ED25519]
SIGNED = {algorithm: signed(REQUEST, KEYS[algorithm]) for algorithm in SIGNING}
COVERED = ("content-type", "content-digest", "credit301-message-id", "signature-input", "signature")


def changed(message: HttpMessage, **fields: Any) -> HttpMessage:
    """``message`` with other fields."""
    known = {name: getattr(message, name) for name in ("method", "url", "headers", "body")}
    return HttpMessage(**{**known, **fields})


def refusal(message: HttpMessage, *keys: Any, at: float = NOW) -> str:
    """The code by which ``message`` is refused."""
    with pytest.raises(SignatureRefused) as caught:
        verified(message, *(keys or (public(ED),)), at=at)
    assert caught.value.text.zh
    assert caught.value.text.en
    return caught.value.code


@pytest.mark.parametrize("algorithm", SIGNING)
def test_what_was_signed_is_believed(algorithm: Algorithm) -> None:
    key = KEYS[algorithm]
    found = verified(SIGNED[algorithm], public(key, "icbc"))
    assert found == Verified(key.key_id, "icbc", "m-1", NOW)


@pytest.mark.parametrize("body", [b"", b"\0\xff", b"x" * 100_000])
def test_any_body_and_none(body: bytes) -> None:
    bare = HttpMessage("GET" if not body else "PUT", "https://bank.example", {}, body)
    assert verified(signed(bare, ED), public(ED)).message_id == "m-1"


def test_the_port_of_a_scheme_and_the_case_of_a_host_say_nothing() -> None:
    """A proxy that ends TLS forwards as http; names of hosts have no case (RFC 9421, 2.2.3)."""
    for url in (
        "http://bank.example/v1/packages?mode=standard&n=1",
        "https://BANK.example:443/v1/packages?mode=standard&n=1",
    ):
        assert verified(changed(SIGNED[Algorithm.ED25519], url=url), public(ED))


@given(st.sampled_from(SIGNING), st.data())
def test_no_byte_can_be_changed(algorithm: Algorithm, data: st.DataObject) -> None:
    """Whatever byte of method, path, query, host, body, a covered header or the signature is another: refused."""
    message = SIGNED[algorithm]
    place = data.draw(st.sampled_from(("method", "host", "path", "query", "body", *COVERED)))
    if place in COVERED:
        old = message.headers[place]
        other = changed(message, headers={**message.headers, place: _with_another(old, data)})
        assume(other.headers[place].strip(" \t") != old)
        # Signature and its input are structured fields: some bytes of theirs, such as the label's, carry no meaning.
        assume(place not in COVERED[3:] or _meaning(other) != _meaning(message))
    elif place in ("method", "body"):
        old = getattr(message, place)
        new = _with_another(old.decode() if isinstance(old, bytes) else old, data)
        other = changed(message, **{place: new.encode("utf-8", "surrogatepass") if place == "body" else new})
    else:
        part = {"host": "bank.example", "path": "/v1/packages", "query": "mode=standard&n=1"}[place]
        new = _with_another(part, data)
        assume(place != "host" or new.lower() != part)
        # A question mark or fragment moves the borders of the parts, and may leave the same address.
        assume("#" not in new)
        other = changed(message, url=message.url.replace(part, new))
        assume(other.url != message.url)
    assert refusal(other, public(KEYS[algorithm]))


def _with_another(text: str, data: st.DataObject) -> str:
    index = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.characters(codec="latin-1").filter(lambda character: character != text[index]))
    return text[:index] + new + text[index + 1 :]


def _meaning(message: HttpMessage) -> Any:
    names = ("signature-input", "signature")
    try:
        fields: list[Any] = [http_sf.parse(message.headers[name].encode(), tltype="dictionary") for name in names]
    except ValueError:
        return None
    return [list(field.values()) for field in fields] if all(len(field) == 1 for field in fields) else None


@pytest.mark.parametrize("name", [*COVERED, "body"])
def test_what_is_missing_is_noticed(name: str) -> None:
    message = SIGNED[Algorithm.ED25519]
    without = {key: value for key, value in message.headers.items() if key != name}
    assert refusal(changed(message, headers=without, body=b"" if name == "body" else message.body))


def test_how_the_body_is_read_cannot_be_said_later() -> None:
    message = SIGNED[Algorithm.ED25519]
    encoded = changed(message, headers={**message.headers, "content-encoding": "gzip"})
    assert refusal(encoded) == "incomplete"
    untyped = signed(changed(REQUEST, headers={}), ED)
    typed = changed(untyped, headers={**untyped.headers, "content-type": "text/html"})
    assert refusal(typed) == "incomplete"


def test_another_body_is_a_bad_digest() -> None:
    assert refusal(changed(SIGNED[Algorithm.ED25519], body=b"{}")) == "bad_digest"


def test_a_message_is_accepted_once_and_anew_when_signed_anew() -> None:
    async def run() -> None:
        receiver = verifier(public(ED))
        first, again = signed(REQUEST, ED), signed(REQUEST, ED)
        await receiver.verify(first)
        with pytest.raises(SignatureRefused) as caught:
            await receiver.verify(first)
        assert caught.value.code == "replayed"
        assert (await receiver.verify(again)).message_id == "m-1"

    asyncio.run(run())


def test_a_replay_is_refused_as_long_as_its_time_would_do() -> None:
    """The memory of a nonce lasts until the message is too old by itself, also for a sender whose clock is ahead."""

    async def run() -> None:
        clock = [float(NOW)]
        receiver = Verifier(KeyRing([public(ED)]), MemoryNonces(lambda: clock[0]), clock=lambda: clock[0])
        message = signed(REQUEST, ED, at=NOW + 299)
        await receiver.verify(message)
        for later in (1, 298, 301, 597, 599, 600, 1000):
            clock[0] = NOW + later
            with pytest.raises(SignatureRefused) as caught:
                await receiver.verify(message)
            assert caught.value.code == ("replayed" if later <= 599 else "clock")

    asyncio.run(run())


def test_a_nonce_is_not_used_up_by_who_has_no_key() -> None:
    async def run() -> None:
        receiver = verifier(public(ED))
        message = SIGNED[Algorithm.ED25519]
        with pytest.raises(SignatureRefused):
            await receiver.verify(changed(message, body=b"{}"))
        assert await receiver.verify(message)

    asyncio.run(run())


class Away:
    """A store of nonces that does not answer."""

    async def first(self, *_: object) -> bool:
        raise SignatureUnchecked(Text(zh="不可用", en="away"))


def test_unchecked_is_not_accepted() -> None:
    receiver = Verifier(KeyRing([public(ED)]), Away(), clock=lambda: NOW)
    with pytest.raises(SignatureUnchecked):
        asyncio.run(receiver.verify(SIGNED[Algorithm.ED25519]))


@pytest.mark.parametrize(("skew", "accepted"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_clocks_may_differ_by_five_minutes(skew: int, accepted: bool) -> None:
    message = SIGNED[Algorithm.ED25519]
    if accepted:
        assert verified(message, public(ED), at=NOW + skew)
        return
    with pytest.raises(SignatureRefused, match="301 s") as caught:
        verified(message, public(ED), at=NOW + skew)
    assert caught.value.code == "clock"
    assert "301" in caught.value.text.zh


def test_a_shorter_life_is_kept() -> None:
    headers = Signer(ED, clock=lambda: NOW, window=10).sign(REQUEST, "m-1")
    message = changed(REQUEST, headers={**REQUEST.headers, **headers})
    assert verified(message, public(ED), at=NOW + 10)
    assert refusal(message, at=NOW + 11) == "expired"


def test_a_key_of_another_name_is_not_believed() -> None:
    """Neither an unknown key, nor a known one under the name of another."""
    other = PrivateKey.generate(Algorithm.ED25519, "other")
    assert refusal(signed(REQUEST, other)) == "unknown_key"
    posing = PrivateKey(ED.key_id, other.algorithm, other.native)
    assert refusal(signed(REQUEST, posing), public(ED), public(other)) == "bad_signature"
    message = SIGNED[Algorithm.ED25519]
    renamed = message.headers["signature-input"].replace(f'keyid="{ED.key_id}"', 'keyid="other"')
    moved = changed(message, headers={**message.headers, "signature-input": renamed})
    assert refusal(moved, public(ED), public(other)) == "bad_signature"


def test_the_message_does_not_choose_the_algorithm() -> None:
    message = SIGNED[Algorithm.ED25519]
    for claimed in ("hmac-sha256", "ecdsa-p256-sha256", "none"):
        claiming = message.headers["signature-input"].replace('alg="ed25519"', f'alg="{claimed}"')
        assert refusal(changed(message, headers={**message.headers, "signature-input": claiming})) == "wrong_algorithm"


def test_two_keys_side_by_side_and_each_in_its_time() -> None:
    turn = datetime.fromtimestamp(NOW, UTC)
    fresh = PrivateKey.generate(Algorithm.ED25519, "fresh")
    old = public(ED, valid_until=turn + timedelta(seconds=60))
    new = public(fresh, valid_from=turn - timedelta(seconds=60))
    for key in (ED, fresh):
        assert verified(signed(REQUEST, key), old, new)
    assert refusal(signed(REQUEST, ED, at=NOW + 60), old, new, at=NOW + 60) == "key_not_valid"
    assert refusal(signed(REQUEST, fresh, at=NOW - 61), old, new, at=NOW - 61) == "key_not_valid"


@pytest.mark.parametrize("name", ["created", "expires", "nonce", "keyid", "alg", "tag"])
def test_each_parameter_is_needed(name: str) -> None:
    message = SIGNED[Algorithm.ED25519]
    head, *parameters = message.headers["signature-input"].split(";")
    kept = ";".join([head, *(item for item in parameters if not item.startswith(f"{name}="))])
    assert refusal(changed(message, headers={**message.headers, "signature-input": kept})) in ("incomplete", "unsigned")


def test_signatures_of_others_beside_do_not_matter_but_a_second_of_ours_does() -> None:
    """A proxy may add its own, with its own tag; two with ours would leave open which is meant."""
    message = SIGNED[Algorithm.ED25519]

    def beside(tag: str) -> HttpMessage:
        more = {
            "signature-input": f'{message.headers["signature-input"]}, proxy=("@method");created={NOW};keyid="p";tag="{tag}"',
            "signature": f"{message.headers['signature']}, proxy=:AAAA:",
        }
        return changed(message, headers={**message.headers, **more})

    assert verified(beside("proxy"), public(ED))
    assert refusal(beside("credit301")) == "unsigned"


def test_an_answer_is_of_its_request_and_of_no_other() -> None:
    ours, bank = PrivateKey.generate(Algorithm.ED25519, "platform"), KEYS[Algorithm.SM2]
    first, second = signed(REQUEST, ours), signed(REQUEST, ours)
    receiver = verifier(public(bank, "icbc"), public(ours, "credit301"))
    answer = answered(first, bank, b'{"accepted":true}')
    assert receiver.verify_answer(answer) == Verified(bank.key_id, "icbc", "a-1", NOW)
    parts = {name: getattr(answer, name) for name in ("status", "headers", "body", "request")}
    for wrong in ({"request": second}, {"status": 202}, {"body": b'{"accepted":false}'}):
        with pytest.raises(SignatureRefused):
            receiver.verify_answer(HttpAnswer(**{**parts, **wrong}))


def test_a_request_does_not_pass_for_an_answer_nor_the_other_way() -> None:
    bank = KEYS[Algorithm.ED25519]
    message = SIGNED[Algorithm.ED25519]
    answer = answered(message, bank)
    with pytest.raises(SignatureRefused) as caught:
        verifier(public(bank)).verify_answer(HttpAnswer(200, copy.copy(message.headers), message.body, message))
    assert caught.value.code == "unsigned"
    assert refusal(changed(message, headers=answer.headers, body=answer.body)) == "unsigned"


@pytest.mark.parametrize("message_id", ["", " ", "a b", "é", "x" * 129, "a\r\nb: c"])
def test_a_message_id_is_plain_text(message_id: str) -> None:
    with pytest.raises(SignatureRefused):
        Signer(ED).sign(REQUEST, message_id)


@pytest.mark.parametrize("url", ["", "/only/path", "https://", "https://bank.example/a b", "https://bank.example/\n"])
def test_an_address_that_is_none_is_not_signed(url: str) -> None:
    with pytest.raises(SignatureRefused) as caught:
        Signer(ED).sign(changed(REQUEST, url=url), "m-1")
    assert caught.value.code == "malformed"


def test_a_key_for_sealing_does_not_sign() -> None:
    with pytest.raises(KeyUnusable, match="encryption"):
        Signer(KEYS[Algorithm.X25519])


@given(st.dictionaries(st.sampled_from(COVERED), st.text(max_size=80), min_size=1))
def test_whatever_headers_are_sent_they_are_refused_and_nothing_else_happens(headers: dict[str, str]) -> None:
    message = SIGNED[Algorithm.ED25519]
    assert refusal(changed(message, headers={**message.headers, **headers}))
