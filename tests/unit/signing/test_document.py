"""A bank that follows docs/signing.md to the letter, without our code, is believed; and its sealed answers are read."""

from __future__ import annotations

import re
import time
from typing import Any

from joserfc import jwe
from joserfc.jwk import OKPKey

from credit301.signing.algorithms import Sm3
from credit301.signing.keys import Algorithm
from credit301.signing.message import HttpMessage
from credit301.signing.sealing import open_sealed, seal
from tests.conftest import REPOSITORY
from tests.unit.signing.parties import KEYS, public, verified

DOCUMENT = REPOSITORY / "docs" / "signing.md"
BODY = '{"金额":"200000.00"}'.encode()
URL = "https://API.platform.example/v1/partner/messages?of=A-1"


def _by_hand() -> dict[str, Any]:
    """What the document's text in Python defines."""
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found, "the document has no Python any more"
    names: dict[str, Any] = {}
    exec(found.group(1), names)  # noqa: S102 - our own document
    return names


def test_what_the_document_signs_is_believed() -> None:
    key = KEYS[Algorithm.ED25519]
    headers = _by_hand()["sign"](key.native, key.key_id, "POST", URL, "application/json", BODY, "b-1")
    found = verified(HttpMessage("POST", URL, headers, BODY), public(key, "icbc"), at=time.time())
    assert (found.owner, found.message_id) == ("icbc", "b-1")


def test_the_document_holds_for_the_national_algorithms() -> None:
    """The same text with SM2 for the signature and SM3 for the digest."""
    key = KEYS[Algorithm.SM2]
    names = _by_hand()
    text = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert text
    names["hashlib"] = type("National", (), {"sha256": Sm3})
    national = text.group(1).replace("import hashlib\n", "").replace("sha-256=", "sm3=").replace("ed25519", "sm2-sm3")
    exec(national, names)  # noqa: S102 - our own document
    headers = names["sign"](key, key.key_id, "PUT", URL, "application/json", BODY, "b-2")
    assert headers["content-digest"].startswith("sm3=:")
    assert verified(HttpMessage("PUT", URL, headers, BODY), public(key), at=time.time()).message_id == "b-2"


def test_any_jose_library_seals_and_opens() -> None:
    """As the document's table says it: by algorithm names, and nothing of ours."""
    key = KEYS[Algorithm.X25519]
    names = ["ECDH-ES+A256KW", "A256GCM"]
    header = {"alg": names[0], "enc": names[1]}
    sealed = jwe.encrypt_compact(header, BODY, OKPKey.import_key(key.public_pem()), algorithms=names)
    assert open_sealed(sealed.encode(), key) == BODY
    ours = jwe.decrypt_compact(seal(BODY, public(key)), OKPKey.import_key(key.pem()), algorithms=names)
    assert ours.plaintext == BODY
    assert ours.protected == {**header, "kid": key.key_id, "epk": ours.protected["epk"]}
