"""What the simulator can be told to do: make the city, and serve it as an exchange."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from credit301.workspace import Workspace

if TYPE_CHECKING:
    from datetime import datetime

CITY = "city"


def city_directory(workspace: Workspace) -> Path:
    """Where the city of a workspace is kept."""
    return workspace.paths.root / CITY


def simulate(
    workspace: Workspace,
    enterprises: Annotated[int, typer.Option(help="Enterprises in the city. 企业数量。", min=1)] = 4000,
    months: Annotated[int, typer.Option(help="Months of history. 历史月数。")] = 36,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes. 随机种子。", min=0)] = 301,
    force: Annotated[bool, typer.Option("--force", help="Replace another city. 替换已有的城市数据。")] = False,
    drops: Annotated[
        Path | None,
        typer.Option(help="Write files of monthly deliveries to DIR instead of a city to serve. 按月输出交付文件。"),
    ] = None,
    increment: Annotated[
        bool, typer.Option("--increment", help="With --drops: one more file of about 1 %. 另加约 1% 的增量文件。")
    ] = False,
) -> dict[str, Any]:
    """Make a city that does not exist: its enterprises, their records, their loans (生成一座模拟城市).

    A city of the same configuration that is already there is kept as it is; one that an earlier version wrote, and that
    nothing was pulled from, is replaced.

    Raises:
        ConfigError: the city cannot be made so, or another one is there and `force` was not given.
        SourceError: what was pulled comes from a city that an earlier version wrote.
    """
    from credit301 import console
    from credit301.errors import ConfigError, NotFound, SourceError
    from simulator.city import BEGIN_ANEW, read_manifest, write_city
    from simulator.config import CityConfig
    from simulator.drops import write_drops

    config = CityConfig(enterprises=enterprises, months=months, seed=seed)
    if increment and drops is None:
        raise ConfigError("--increment is an option of --drops.", hint="Name the directory: --drops DIR --increment.")
    directory = city_directory(workspace) if drops is None else _own_directory(drops)
    try:
        present = read_manifest(directory) if not force else None
    except NotFound:
        present = None
    except SourceError:
        if drops is not None or any(workspace.paths.inbox.glob("*/*")) or any(workspace.paths.landing.glob("*/*")):
            raise
        console.say(
            "replacing a city of another format, from which nothing was pulled 替换旧格式的城市（尚未拉取数据）"
        )
        present = None
    if present and (present["fingerprint"], present["increment"]) != (config.fingerprint, increment):
        raise ConfigError(f"Another city is in {directory}: {present['config']}.", hint=BEGIN_ANEW)
    if not present:
        console.say(f"making {enterprises:,} enterprises with {months} months of history (seed {seed})")
    make = write_city if drops is None else partial(write_drops, increment=increment)
    manifest = present or make(config, directory)
    for source, rows in manifest["records"].items():
        console.say(f"  {source}: {rows:,} records")
    limit = manifest["bayes_auc"]
    console.say(
        f"  {manifest['loans']:,} loans, {manifest['loans_complete']:,} of them with a complete performance window; "
        f"default rate {manifest['default_rate']:.1%}; "
        f"the best that any model can reach (Bayes limit): AUC {'-' if limit is None else f'{limit:.4f}'}"
    )
    return manifest


def advance(
    workspace: Workspace,
    days: Annotated[int, typer.Option(help="Days to let pass. 推进的天数。", min=0)] = 0,
    to: Annotated[str, typer.Option(metavar="DATE", help="Or the day that it shall be. 或推进到的日期。")] = "",
) -> dict[str, Any]:
    """推进模拟城市的时间，其后的记录与还款结果可被拉取。Let time pass in the simulated city, which brings new outcomes.

    Raises:
        ConfigError: `to` is no ISO time, lies in the past, or beyond what records were made for.
        NotFound: no city was made yet.
        SourceError: the exchange answers, but does not follow.
    """
    from datetime import datetime, timedelta

    from credit301 import console
    from credit301.errors import ConfigError
    from simulator.city import clock_of, move_clock

    directory = city_directory(workspace)
    before = clock_of(directory)
    try:
        moment = datetime.fromisoformat(to) if to else before + timedelta(days=days)
    except ValueError as error:
        raise ConfigError(f"--to {to!r} is no ISO time.", hint="For example 2026-11-30.") from error
    last = move_clock(directory, moment)
    told = _tell_exchange(workspace, moment)
    console.say(f"模拟城市时间 {before:%Y-%m-%d} -> {moment:%Y-%m-%d} · the city's time; records end {last:%Y-%m-%d}")
    return {"from": before.isoformat(), "to": moment.isoformat(), "exchange_told": told}


def _tell_exchange(workspace: Workspace, moment: datetime) -> bool:
    """Move the clock of the exchange that runs; false where none does: it looks at the city's when it starts."""
    import httpx

    from credit301.errors import SourceError

    settings = workspace.settings
    try:
        answer = httpx.post(
            f"{settings.exchange_address()}/admin/clock",
            json={"as_of": moment.isoformat()},
            headers={"Authorization": f"Bearer {settings.secret('exchange_admin_token')}"},
            timeout=10.0,
            trust_env=False,
        )
    except httpx.TransportError:
        return False
    if answer.is_error:
        raise SourceError(f"The exchange does not follow: {answer.status_code} {answer.text[:200]}.")
    return True


def _own_directory(drops: Path) -> Path:
    """The directory for deliveries, absolute: it is replaced as a whole, so ConfigError where other files are in it."""
    from credit301.errors import ConfigError
    from simulator.city import MANIFEST

    directory = drops.resolve()
    if directory.exists() and not (directory / MANIFEST).exists() and (directory.is_file() or any(directory.iterdir())):
        raise ConfigError(f"{directory} holds other files.", hint="Name a new or an empty directory after --drops.")
    return directory


def exchange(
    workspace: Workspace,
    port: Annotated[int, typer.Option(help="Port; 0 takes the configured one. 端口，0 为默认。", min=0)] = 0,
    faults: Annotated[
        Literal["none", "demo"], typer.Option(help="Faults to inject: none, or small rates of all. 注入故障。")
    ] = "demo",
    as_of: Annotated[
        str, typer.Option(help="ISO time to hold the clock at, instead of the city's own. 截止时间。")
    ] = "",
) -> None:
    """Serve the city as a government data exchange and a bank, until interrupted (启动模拟的数据交换平台).

    Raises:
        ConfigError: `as_of` is no ISO time.
        NotFound: no city was made yet.
    """
    from datetime import datetime

    import uvicorn

    from credit301 import console
    from credit301.errors import ConfigError
    from credit301.settings import get_settings
    from simulator.exchange import Tokens, create_app
    from simulator.faults import Faults

    settings = get_settings()
    tokens = Tokens(*(settings.secret(name) for name in ("government_token", "bank_token", "exchange_admin_token")))
    try:
        held = datetime.fromisoformat(as_of) if as_of else None
    except ValueError as error:
        raise ConfigError(f"--as-of {as_of!r} is no ISO time.", hint="For example 2026-03-31T00:00:00.") from error
    app = create_app(city_directory(workspace), tokens, Faults.demo() if faults == "demo" else Faults(), held)
    address = port or settings.exchange_port
    console.say(f"exchange on http://{settings.host}:{address} (faults: {faults})")
    uvicorn.run(app, host=settings.host, port=address, log_level="warning", timeout_graceful_shutdown=2)


def identity_provider(
    workspace: Workspace,
    port: Annotated[int, typer.Option(help="Port; 0 takes the configured one. 端口，0 为默认。", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of its lots and codes. 随机种子。")] = 301,
    perfect: Annotated[bool, typer.Option("--perfect", help="Answer at once and never fail. 无延迟、无失败。")] = False,
) -> None:
    """Verify telephones and faces of people who do not exist, until interrupted (启动模拟的身份核验服务)."""
    import uvicorn

    from credit301 import console
    from simulator.identity_provider import Behaviour, Provider

    settings = workspace.settings
    behaviour = Behaviour.perfect() if perfect else Behaviour()
    provider = Provider(settings.secret("identity_token"), behaviour, seed)
    address = port or settings.identity_port
    console.say(f"identity provider on http://{settings.host}:{address}")
    uvicorn.run(provider.app(), host=settings.host, port=address, log_level="warning", timeout_graceful_shutdown=2)


def bank(
    workspace: Workspace,
    name: Annotated[str, typer.Argument(help="A bank of the workspace, for example demo. 银行名称。")] = "demo",
    port: Annotated[int, typer.Option(help="Port; 0 takes the configured one. 端口，0 为默认。", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of its lots. 随机种子。")] = 301,
    perfect: Annotated[bool, typer.Option("--perfect", help="Answer at once and never fail. 无延迟、无失败。")] = False,
) -> None:
    """Be one of the simulated banks, until interrupted (启动模拟银行).

    Raises:
        NotFound: the workspace has no such bank.
    """
    import uvicorn

    from credit301 import console
    from credit301.partners.bank import find_bank, simulated_port
    from credit301.partners.keys import platform_ring, sealed_to, simulated_key
    from simulator.bank import Habits, SimulatedBank

    settings, described = workspace.settings, find_bank(workspace, name)
    made = SimulatedBank(
        name=name,
        key=simulated_key(workspace, described),
        platform=platform_ring(workspace),
        inbox=f"{settings.public_address()}/v1/partners/messages",
        token=settings.secret("bank_control_token"),
        habits=Habits.perfect() if perfect else Habits(),
        seed=seed,
        seals_to=sealed_to(workspace, described),
    )
    address = port or simulated_port(workspace, described)
    console.say(f"{described.title.zh} {described.title.en}: http://{settings.host}:{address}")
    uvicorn.run(made.app(), host=settings.host, port=address, log_level="warning", timeout_graceful_shutdown=2)
