"""SM2, SM3 and SM4 against the examples of their standards, and SM2 against a second implementation."""

from __future__ import annotations

import base64

import gmalg
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.signing import sm2
from credit301.signing.algorithms import Sm3
from credit301.signing.errors import KeyUnusable
from credit301.signing.keys import Algorithm, PrivateKey, PublicKey
from credit301.signing.sm2 import USER_ID, Sm2Key

# GM/T 0003.5-2012, annex A and C: the recommended curve, user id 1234567812345678.
SECRET = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
POINT = (
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
SIGNATURE = (
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
C1 = (
    "0404EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
)
C3 = "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
C2 = "21886CA989CA9C7D58087307CA93092D651EFA"


def pair(secret: str, point: str) -> Sm2Key:
    """The key with these numbers, through PKCS #8."""
    der = bytes.fromhex(
        f"308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420{secret}a144034200{point}"
    )
    return Sm2Key.load(_armoured(der, "PRIVATE KEY"), private=True)


def _armoured(der: bytes, label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big") if size > 255 else bytes([0x81, size])
    return bytes([tag]) + length + content


def _asn1_ciphertext(point: bytes, digest: bytes, content: bytes) -> bytes:
    """C1, C3 and C2 in the form of GM/T 0009."""
    coordinates = (int.from_bytes(half, "big") for half in (point[1:33], point[33:]))
    integers = [_der(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in coordinates]
    return _der(0x30, b"".join((*integers, _der(4, digest), _der(4, content))))


def test_the_signature_of_the_standard_is_valid_and_no_other() -> None:
    key = PublicKey.load(pair(SECRET, POINT).public_pem().decode(), "standard", "GM/T 0003.5")
    assert key.verifies(bytes.fromhex(SIGNATURE), b"message digest")
    assert not key.verifies(bytes.fromhex(SIGNATURE), b"message digesT")
    assert not key.verifies(bytes.fromhex(SIGNATURE)[:-1] + b"\xab", b"message digest")


def test_the_ciphertext_of_the_standard_is_opened() -> None:
    ciphertext = _asn1_ciphertext(bytes.fromhex(C1), bytes.fromhex(C3), bytes.fromhex(C2))
    assert pair(SECRET, POINT).decrypt(ciphertext) == b"encryption standard"


def test_sm3_of_the_standard() -> None:
    """GB/T 32905-2016, annex A."""
    assert Sm3(b"abc").digest().hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert Sm3(b"abcd" * 16).digest().hex() == "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"


def test_sm4_of_the_standard() -> None:
    """GB/T 32907-2016, annex A; GCM by RFC 8998, appendix A.1."""
    key = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    block = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305 - the standard's example is one block
    assert block.update(key).hex() == "681edf34d206965e86b3e94f536e4246"
    gcm = Cipher(algorithms.SM4(key), modes.GCM(bytes.fromhex("00001234567800000000ABCD"))).encryptor()
    gcm.authenticate_additional_data(bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2"))
    plain = bytes.fromhex("".join(digit * 16 for digit in "ABCDEFEA"))
    assert gcm.update(plain).hex() == (
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
    )
    gcm.finalize()
    assert gcm.tag.hex() == "83de3541e4c2b58177e065a9bf7b62ec"


@settings(max_examples=5)
@given(st.binary(max_size=300))
def test_a_second_implementation_agrees(data: bytes) -> None:
    """Each believes and opens what the other signed and sealed, over fresh keys; so ZA is the same for both."""
    secret, point = gmalg.SM2().generate_keypair()
    other = gmalg.SM2(secret, USER_ID, point)
    ours = pair(secret.rjust(32, b"\0").hex(), point.hex())
    r, s = decode_dss_signature(ours.sign(data))
    assert other.verify(data, r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    theirs = [int.from_bytes(number, "big") for number in other.sign(data)]
    assert ours.verifies(encode_dss_signature(*theirs), data)
    if data:
        cipher = other.encrypt(data)
        assert ours.decrypt(_asn1_ciphertext(cipher[:65], cipher[65:97], cipher[97:])) == data


def test_no_signature_is_made_twice_alike() -> None:
    """Two signatures with one random number would give the key away."""
    key = pair(SECRET, POINT)
    assert len({decode_dss_signature(key.sign(b"the same"))[0] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    "damaged",
    [b"", b"no pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
)
def test_what_is_no_key_is_refused(damaged: bytes) -> None:
    with pytest.raises(KeyUnusable):
        Sm2Key.load(damaged, private=True)


def test_a_key_of_another_curve_is_none_of_sm2() -> None:
    other = PrivateKey.generate(Algorithm.P256)
    with pytest.raises(KeyUnusable, match="SM2"):
        Sm2Key.load(other.pem().encode(), private=True)


def test_a_point_off_the_curve_is_refused() -> None:
    off = POINT[:-1] + ("0" if POINT[-1] != "0" else "1")
    der = bytes.fromhex(f"3059301306072a8648ce3d020106082a811ccf5501822d034200{off}")
    with pytest.raises(KeyUnusable):
        Sm2Key.load(_armoured(der, "PUBLIC KEY"), private=False)


def test_without_an_openssl_that_has_it_sm2_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python hides its OpenSSL, or it was built without: everything else still works."""
    monkeypatch.setattr(sm2, "_candidates", list)
    sm2._openssl.cache_clear()
    try:
        with pytest.raises(KeyUnusable, match="No OpenSSL with SM2") as caught:
            PrivateKey.generate(Algorithm.SM2)
        assert "ed25519" in caught.value.hint
        assert PrivateKey.generate(Algorithm.ED25519).sign(b"x")
    finally:
        sm2._openssl.cache_clear()
