"""Draws by lot that nobody can steer and anybody with the key can repeat."""

from __future__ import annotations

import hmac

_BITS = 53
"""As many as a float holds exactly."""


def draw(key: bytes, purpose: str, who: str) -> float:
    """A number in [0, 1), the same whenever ``who`` is drawn for ``purpose``: asking again does not change the lot.

    Numbers of different purposes are independent; without the ``key`` none can be told beforehand.
    """
    digest = hmac.digest(key, f"{purpose}\n{who}".encode(), "sha256")
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / 2.0**_BITS
