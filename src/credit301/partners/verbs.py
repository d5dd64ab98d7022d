"""Banks: who has joined, carrying messages to them, the published schemas. 银行接入：名录、报文投递、报文格式。"""

from __future__ import annotations

import asyncio
import logging.config
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def relay(
    workspace: Workspace,
    port: Annotated[
        int, typer.Option(help="Port of the metrics; 0 takes the configured one. 指标端口，0 为默认。", min=0)
    ] = 0,
) -> None:
    """Carry messages to the banks, until interrupted. 向各银行投递报文，直至中断。

    Raises:
        NotFound: the workspace has no bank.
        ConfigError: a bank's address, the platform's key or a certificate is missing.
    """
    from credit301.logs import configuration
    from credit301.partners.relaying import carry

    logging.config.dictConfig(configuration(workspace.settings.log_format))
    address = port or workspace.settings.relay_port
    console.say(f"relay: metrics on http://{workspace.settings.host}:{address}/metrics")
    asyncio.run(carry(workspace, address))


def banks(workspace: Workspace) -> dict[str, Any]:
    """Show the banks that have joined, what they get and by which keys. 查看已接入的银行及其权限与密钥。

    Returns:
        How many there are.
    """
    from credit301.partners.bank import address_of, load_banks
    from credit301.partners.keys import keys_of

    found = load_banks(workspace)
    ring = keys_of(workspace, found.values())
    console.show_table(
        "银行 banks",
        (
            "名称 name",
            "标题 title",
            "方式 modes",
            "地址 address",
            "密钥 keys",
            "加密 sealed",
            "数据 data",
            "特征组 groups",
        ),
        [
            (
                name,
                f"{bank.title.zh} {bank.title.en}",
                ", ".join(bank.modes),
                address_of(workspace, bank),
                ", ".join(f"{key.key_id} ({key.algorithm}, {key.thumbprint})" for key in ring.of(name)),
                f"{bank.encryption}, 双向 both ways" if bank.must_seal else bank.encryption,
                ", ".join(bank.entitled.data),
                ", ".join(bank.entitled.dimensions),
            )
            for name, bank in found.items()
        ],
    )
    return {"banks": len(found)}


def schemas(
    workspace: Workspace,  # noqa: ARG001 - every verb has it
    folder: Annotated[Path, typer.Argument(help="Where the files go. 输出目录。")],
) -> dict[str, Any]:
    """Write the JSON Schemas of all messages to a folder. 导出全部报文的 JSON Schema。

    Returns:
        The names of the files.
    """
    from credit301.partners import published

    return {"files": [path.name for path in published.write(folder)]}
