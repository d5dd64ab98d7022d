"""Unified social credit codes (GB 32100-2015), many at once, with both check characters right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit301.identity.uscc import ALPHABET, WEIGHTS

if TYPE_CHECKING:
    from simulator.config import Ints, Text

_CHARACTERS = np.array(list(ALPHABET))
# Values of the same characters in GB 11714, where letters count on from 10 without gaps.
_ORGANISATION_VALUES = np.array([int(character, 36) for character in ALPHABET])
_ORGANISATION_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2])
_CREDIT_WEIGHTS = np.array(WEIGHTS)
_SERIALS = 31**6
# An odd multiplier prime to 31 walks through all serials once, so that neighbours do not look alike.
_STRIDE = 387_420_489


def credit_codes(serial: Ints, division: Text, individual: np.ndarray) -> Text:
    """One valid code per enterprise.

    `serial` (n distinct numbers from 0) decides the organisation code, `division` (n six-digit texts) the place,
    `individual` (n booleans) the category: 92 for individual businesses, 91 for enterprises, as the market
    regulator issues them. Returns n texts of 18 characters, all different.
    """
    count = len(serial)
    walked = (serial * _STRIDE + 1_357_911) % _SERIALS
    body = np.empty((count, 8), dtype=np.int64)
    body[:, :2] = ALPHABET.index("M"), ALPHABET.index("A")
    for place in range(7, 1, -1):
        walked, body[:, place] = np.divmod(walked, 31)
    remainder = (-(_ORGANISATION_VALUES[body] @ _ORGANISATION_WEIGHTS)) % 11
    organisation_check = np.where(remainder == 10, ALPHABET.index("X"), remainder)  # noqa: PLR2004
    digits = np.empty((count, 17), dtype=np.int64)
    digits[:, 0] = 9
    digits[:, 1] = np.where(individual, 2, 1)
    digits[:, 2:8] = division.astype("U6").view("U1").reshape(count, 6).astype(np.int64)
    digits[:, 8:16] = body
    digits[:, 16] = organisation_check
    check = (-(digits @ _CREDIT_WEIGHTS)) % 31
    characters = _CHARACTERS[np.column_stack([digits, check])]
    return np.ascontiguousarray(characters).view("U18").reshape(count)
