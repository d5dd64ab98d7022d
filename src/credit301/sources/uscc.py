"""The unified social credit code (GB 32100-2015) in vectorised SQL.

Seventeen characters weighted by powers of 3 modulo 31, and the character that brings the sum to a multiple of 31. The
same codes are accepted as by python-stdnum, but only as registers write them: upper case, without separators.
"""

from __future__ import annotations

from credit301.identity.uscc import ALPHABET, WEIGHTS

MACRO = "uscc_is_valid"
WRONG = "wrong_codes"


def macro() -> str:
    """Statement that defines ``uscc_is_valid(text) -> BOOLEAN`` on a DuckDB connection (NULL for NULL)."""
    terms = " + ".join(
        f"{weight} * (strpos('{ALPHABET}', code[{position}]) - 1)" for position, weight in enumerate(WEIGHTS, 1)
    )
    check = f"substr('{ALPHABET}', CAST((31 - ({terms}) % 31) % 31 AS INTEGER) + 1, 1)"
    form = "^[0-9]{8}[0-9A-HJ-NPQRTUWXY]{10}$"
    return f"CREATE OR REPLACE MACRO {MACRO}(code) AS (regexp_matches(code, '{form}') AND code[18] = {check})"


def looked_up() -> str:
    """Statement that makes ``uscc_is_valid`` look its argument up in the table ``wrong_codes`` (``wrong``)."""
    return f"CREATE OR REPLACE MACRO {MACRO}(code) AS (code NOT IN (SELECT wrong FROM {WRONG}))"
