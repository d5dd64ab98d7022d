"""Keys: read from what banks send, refused with what is wrong, never shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from credit301.signing.errors import KeyUnusable
from credit301.signing.keys import Algorithm, KeyRing, PrivateKey, PublicKey
from tests.unit.signing.parties import KEYS, SEALING, SIGNING, public

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_key_survives_its_file(algorithm: Algorithm, tmp_path: Path) -> None:
    key = KEYS[algorithm]
    again = PrivateKey.load(key.pem(), key.key_id)
    (tmp_path / "bank-2026.pem").write_text(key.public_pem(), encoding="ascii")
    read = PublicKey.read(tmp_path / "bank-2026.pem", "icbc")
    assert again.algorithm is read.algorithm is algorithm
    assert again.thumbprint == read.thumbprint == key.thumbprint
    assert (read.key_id, read.owner) == ("bank-2026", "icbc")
    if algorithm.signs:
        assert read.verifies(again.sign(b"x"), b"x")
        assert len(again.sign(b"x")) == 64


@pytest.mark.parametrize("algorithm", SIGNING)
def test_there_is_one_way_to_write_a_signature(algorithm: Algorithm) -> None:
    key = public(KEYS[algorithm])
    signature = KEYS[algorithm].sign(b"x")
    assert key.verifies(signature, b"x")
    for other in (signature[:32] + b"\0" + signature[32:], b"\0" + signature, signature + b"\0", signature[:-1], b""):
        assert not key.verifies(other, b"x")
    assert not key.verifies(bytes(64), b"x")
    assert not key.verifies(b"\xff" * 64, b"x")


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_private_key_does_not_show_itself(algorithm: Algorithm) -> None:
    shown = f"{KEYS[algorithm]!r} {KEYS[algorithm]}"
    assert shown.count(KEYS[algorithm].key_id) == 2
    assert "native" not in shown


def _pem(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden).decode()


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    rsa_key = _pem(rsa.generate_private_key(65537, 2048))
    for pem in (
        "",
        "nonsense",
        KEYS[Algorithm.ED25519].public_pem(),
        rsa_key,
        _pem(ec.generate_private_key(ec.SECP384R1())),
    ):
        with pytest.raises(KeyUnusable):
            PrivateKey.load(pem, "bank")
    with pytest.raises(KeyUnusable, match="password"):
        PrivateKey.load(_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "bank")
    with pytest.raises(KeyUnusable, match=r"missing\.pem"):
        PublicKey.read(tmp_path / "missing.pem", "bank")
    (tmp_path / "private.pem").write_text(KEYS[Algorithm.P256].pem(), encoding="ascii")
    with pytest.raises(KeyUnusable, match=r"private\.pem"):
        PublicKey.read(tmp_path / "private.pem", "bank")


@pytest.mark.parametrize("key_id", ["", "../x", "a/b", 'a"b', "a b", "é"])
def test_a_key_id_is_a_plain_name(key_id: str) -> None:
    with pytest.raises(KeyUnusable, match="key id"):
        PrivateKey.load(KEYS[Algorithm.ED25519].pem(), key_id)


def test_times_are_a_span_with_zones() -> None:
    key = KEYS[Algorithm.ED25519]
    with pytest.raises(KeyUnusable, match="time zone"):
        public(key, valid_from=datetime(2026, 1, 1))
    with pytest.raises(KeyUnusable, match="never valid"):
        public(key, valid_from=NOON, valid_until=NOON)
    usable = public(key, valid_from=NOON, valid_until=NOON + timedelta(days=1))
    moments = [NOON - timedelta(seconds=1), NOON, NOON + timedelta(hours=23), NOON + timedelta(days=1)]
    assert [usable.valid_at(moment) for moment in moments] == [False, True, True, False]


def test_one_id_names_one_key() -> None:
    key = KEYS[Algorithm.ED25519]
    with pytest.raises(KeyUnusable, match="twice"):
        KeyRing([public(key, "icbc"), public(key, "ccb")])


def test_what_is_sealed_goes_to_a_key_that_seals_and_lasts() -> None:
    ring = KeyRing(
        [
            public(KEYS[Algorithm.ED25519]),
            public(KEYS[Algorithm.P256], valid_until=NOON + timedelta(days=1)),
            public(KEYS[Algorithm.SM2], valid_until=NOON + timedelta(days=9)),
            public(KEYS[Algorithm.X25519], "other"),
        ]
    )
    assert ring.sealing("bank", SEALING, NOON).algorithm is Algorithm.SM2
    assert ring.sealing("bank", (Algorithm.X25519, Algorithm.P256), NOON).algorithm is Algorithm.P256
    with pytest.raises(KeyUnusable, match="no valid key"):
        ring.sealing("bank", SEALING, NOON + timedelta(days=9))
    with pytest.raises(KeyUnusable, match="no valid key"):
        ring.sealing("other", (Algorithm.SM2,), NOON)
