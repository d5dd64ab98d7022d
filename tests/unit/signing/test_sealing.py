"""Sealed bodies: for the owner of one key, and only whole."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OKPKey

from credit301.signing.errors import KeyUnusable, SignatureRefused
from credit301.signing.keys import Algorithm, PrivateKey
from credit301.signing.sealing import open_by_any, open_sealed, seal
from tests.unit.signing.parties import KEYS, SEALING, public

SEALED = {algorithm: seal(b'{"amount":"1.00"}', public(KEYS[algorithm])) for algorithm in SEALING}


@pytest.mark.parametrize("algorithm", SEALING)
@pytest.mark.parametrize("body", [b"", b"\0", b"x" * 1_000_000])
def test_what_was_sealed_is_opened(algorithm: Algorithm, body: bytes) -> None:
    sealed = seal(body, public(KEYS[algorithm]))
    assert body not in sealed or not body
    assert open_sealed(sealed, KEYS[algorithm]) == body


@pytest.mark.parametrize("algorithm", SEALING)
def test_another_key_does_not_open_it(algorithm: Algorithm) -> None:
    other = PrivateKey.generate(algorithm, KEYS[algorithm].key_id)
    with pytest.raises(SignatureRefused) as caught:
        open_sealed(SEALED[algorithm], other)
    assert caught.value.code == "unsealable"


@given(st.sampled_from(SEALING), st.data())
def test_a_changed_byte_is_noticed(algorithm: Algorithm, data: st.DataObject) -> None:
    whole = SEALED[algorithm]
    index = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[index]))
    with pytest.raises(SignatureRefused):
        open_sealed(whole[:index] + bytes([byte]) + whole[index + 1 :], KEYS[algorithm])


@pytest.mark.parametrize("algorithm", SEALING)
def test_there_is_one_way_to_write_a_sealed_body(algorithm: Algorithm) -> None:
    """The last character of a part may have bits that decoding would overlook."""
    parts = SEALED[algorithm].split(b".")
    for place, part in enumerate(parts):
        for character in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.":
            if character != part[-1]:
                other = [*parts[:place], part[:-1] + bytes([character]), *parts[place + 1 :]]
                with pytest.raises(SignatureRefused):
                    open_sealed(b".".join(other), KEYS[algorithm])


@pytest.mark.parametrize("algorithm", SEALING)
def test_while_a_key_is_changed_for_another_either_opens(algorithm: Algorithm) -> None:
    new = PrivateKey.generate(algorithm, "new")
    for to in (new, KEYS[algorithm]):
        assert open_by_any(seal(b"{}", public(to)), [new, KEYS[algorithm]]) == b"{}"
    with pytest.raises(SignatureRefused, match="key new"):
        open_by_any(seal(b"{}", public(PrivateKey.generate(algorithm, "third"))), [new, KEYS[algorithm]])


@pytest.mark.parametrize("algorithm", SEALING)
@pytest.mark.parametrize("header", [b"[" * 5000, b'{"alg":' * 3000, b"[]", b"null", b'{"alg":[],"enc":{}}', b"\xff"])
def test_a_header_of_another_form_is_refused(algorithm: Algorithm, header: bytes) -> None:
    first = base64.urlsafe_b64encode(header).rstrip(b"=")
    with pytest.raises(SignatureRefused):
        open_sealed(b".".join((first, *SEALED[algorithm].split(b".")[1:])), KEYS[algorithm])


@pytest.mark.parametrize("algorithm", SEALING)
def test_the_message_does_not_choose_the_algorithm(algorithm: Algorithm) -> None:
    """Another algorithm of JOSE, which the key could do as well, or one without a key, is refused."""
    for header in ({"alg": "ECDH-ES", "enc": "A128GCM"}, {"alg": "dir", "enc": "A256GCM"}, {"alg": "none"}):
        first = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
        with pytest.raises(SignatureRefused):
            open_sealed(b".".join((first, *SEALED[algorithm].split(b".")[1:])), KEYS[algorithm])


def test_weaker_algorithms_of_the_same_key_are_refused() -> None:
    key = KEYS[Algorithm.X25519]
    weak = jwe.encrypt_compact(
        {"alg": "ECDH-ES", "enc": "A128CBC-HS256"},
        b"{}",
        OKPKey.import_key(key.public_pem()),
        algorithms=["ECDH-ES", "A128CBC-HS256"],
    )
    with pytest.raises(SignatureRefused):
        open_sealed(weak.encode(), key)


def test_a_compressed_body_is_refused() -> None:
    """A small message that grows without bound when it is opened."""
    key = KEYS[Algorithm.X25519]
    bomb = jwe.encrypt_compact(
        {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "zip": "DEF"},
        b"\0" * 200_000,
        OKPKey.import_key(key.public_pem()),
        algorithms=["ECDH-ES+A256KW", "A256GCM", "DEF"],
    )
    with pytest.raises(SignatureRefused):
        open_sealed(bomb.encode(), key)


@given(st.binary(max_size=200))
def test_anything_else_is_refused(body: bytes) -> None:
    for algorithm in SEALING:
        with pytest.raises(SignatureRefused):
            open_sealed(body, KEYS[algorithm])


def test_a_key_that_only_signs_does_not_seal() -> None:
    key = KEYS[Algorithm.ED25519]
    with pytest.raises(KeyUnusable, match="only signs"):
        seal(b"{}", public(key))
    with pytest.raises(KeyUnusable, match="only signs"):
        open_sealed(b"{}", key)
