"""Keys for messages with banks: make and show them. 银行报文密钥：生成与查看。"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import ConfigError
from credit301.settings import PREFIX, Profile
from credit301.signing.keys import Algorithm, PrivateKey
from credit301.stack import private

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class Choice(StrEnum):
    """Algorithms by the names that people type."""

    ED25519 = "ed25519"
    P256 = "p256"
    SM2 = "sm2"
    X25519 = "x25519"


def new(
    workspace: Workspace,
    bank: Annotated[str, typer.Option(help="Whose key it is; its name begins the key's id. 密钥属于哪家银行。")],
    algorithm: Annotated[
        Choice, typer.Option(help="ed25519, p256 or sm2 to sign; x25519 (or p256, sm2) to encrypt to. 算法。")
    ] = Choice.ED25519,
    public: Annotated[
        Path | None,
        typer.Option(help="Also write the public key into this folder, such as banks/NAME/keys. 公钥写入的目录。"),
    ] = None,
) -> dict[str, Any]:
    """Make a pair of keys and print the public one. 生成密钥对并打印公钥。

    Returns:
        The pair's ``key_id``, ``algorithm``, and where the ``private_key`` is, which only its owner may read.

    Raises:
        KeyUnusable: the bank's name cannot begin a key's id, or this Python cannot make such a key.
    """
    made = PrivateKey.generate(Algorithm[algorithm.name])
    key = PrivateKey.load(made.pem(), f"{bank}-{made.thumbprint}")
    path = workspace.settings.home / "secrets" / "keys" / f"{key.key_id}.pem"
    private.write(path, key.pem())
    if public is not None:
        public.mkdir(parents=True, exist_ok=True)
        (public / f"{key.key_id}.pem").write_text(key.public_pem(), encoding="ascii")
    sys.stdout.write(key.public_pem())
    return {"key_id": key.key_id, "algorithm": key.algorithm.value, "private_key": str(path)}


def show(workspace: Workspace) -> dict[str, Any]:
    """Show the platform's public keys, to be given to banks, and the keys of every bank. 查看本平台与各银行的公钥。

    Returns:
        ``keys``: of each its owner, id, algorithm, thumbprint, validity and public PEM, and the banks that may seal
        their messages to it. The platform's own are printed in PEM: the one that it signs with, then the others.

    Raises:
        ConfigError: outside the embedded profile, where a key of the platform is not set.
        KeyUnusable: a file is missing or holds no key.
        ContractError: a bank's file says something that cannot be.
    """
    from credit301.partners.bank import load_banks
    from credit301.partners.keys import keys_of, platform_ring, published_keys

    nobody: tuple[str, ...] = ()
    ours = [*((key, nobody) for key in platform_ring(workspace)), *published_keys(workspace)]
    theirs = [(key, nobody) for key in keys_of(workspace, load_banks(workspace).values())]
    rows: list[dict[str, Any]] = [
        {
            "owner": key.owner,
            "key_id": key.key_id,
            "algorithm": key.algorithm.value,
            "thumbprint": key.thumbprint,
            "valid_from": key.valid_from and key.valid_from.isoformat(),
            "valid_until": key.valid_until and key.valid_until.isoformat(),
            "sealed_to_by": list(sealers),
            "public_key": key.pem(),
        }
        for key, sealers in (*ours, *theirs)
    ]
    console.show_table(
        "公钥 public keys",
        (
            *("所有者 owner", "编号 key id", "算法 algorithm", "指纹 thumbprint", "起 from", "止 until"),
            "供其加密 sealed to by",
        ),
        [[*list(row.values())[:-2], ", ".join(row["sealed_to_by"])] for row in rows],
    )
    sys.stdout.write("".join(row["public_key"] for row in rows[: len(ours)]))
    return {"count": len(rows), "keys": rows}


def tls(
    workspace: Workspace,
    bank: Annotated[
        list[str] | None, typer.Option(help="A bank that gets a client certificate; may be repeated. 银行，可多次。")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address of the server besides loopback. 服务器名或地址。")
    ] = None,
) -> dict[str, Any]:
    """Make certificates for mutual TLS on this machine; for development only. 生成开发用的双向 TLS 证书。

    Returns:
        Paths: of the authority, ``ca``; the server's, to be set as the variables that are printed; of each bank.

    Raises:
        ConfigError: outside the embedded profile, where certificates come from an authority that both sides trust.
    """
    from credit301.signing.development import DevelopmentCa

    if workspace.settings.profile is not Profile.EMBEDDED:
        raise ConfigError(
            "Development certificates are for the embedded profile only. 开发证书仅用于 embedded 配置。",
            hint="Get certificates from an authority that both sides trust; docs/signing.md says which.",
        )
    ca = DevelopmentCa(workspace.settings.home / "secrets" / "tls")
    certificate, key = ca.server(hosts=("localhost", "127.0.0.1", "::1", *(host or ())))
    made = {"ca": str(ca.certificate_file), "certificate": str(certificate), "key": str(key)}
    for name in bank or ():
        made[f"client {name}"] = str(ca.client(name)[0])
    console.say(f"{PREFIX}TLS_CERTIFICATE={certificate}")
    console.say(f"{PREFIX}TLS_KEY={key}")
    console.say(f"{PREFIX}TLS_CLIENT_CA={ca.certificate_file}")
    return made
