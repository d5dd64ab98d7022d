"""The published schemas of all messages: JSON Schema 2020-12, made of the types and held to them by a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from credit301.partners import messages

FOLDER = Path(__file__).with_name("schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES: dict[str, Any] = {
    "application-package": messages.ApplicationPackage,
    "disbursement-instruction": messages.DisbursementInstruction,
    "acceptance": messages.Acceptance,
    "withdrawal": messages.Withdrawal,
    "bank-message": messages.FromBank,
    "receipt": messages.Receipt,
}
NAMES = tuple(f"{name}-{messages.VERSION}" for name in TYPES)


def made(name: str) -> dict[str, Any]:
    """The schema of messages called ``name``, without its version, as the types have it now."""
    schema = msgspec.json.schema(TYPES[name])
    return {"$schema": DIALECT, "$id": f"/v1/schemas/{name}-{messages.VERSION}", **schema}


def published(name: str) -> bytes | None:
    """The published schema called ``name`` with its version, say ``receipt-1.0``; ``None``: there is none."""
    return (FOLDER / f"{name}.json").read_bytes() if name in NAMES else None


def text(name: str) -> str:
    """The schema of messages called ``name`` as its file holds it."""
    return json.dumps(made(name), ensure_ascii=False, indent=1) + "\n"


def write(folder: Path) -> list[Path]:
    """Write every schema to ``folder``; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in TYPES:
        files.append(folder / f"{name}-{messages.VERSION}.json")
        files[-1].write_text(text(name), encoding="utf-8")
    return files
