"""The one table of the platform's processes.

Supervisor's configuration, the order of starting, the health checks, ``credit301 status`` and the error about a
port in use are all read from it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from credit301.errors import ConfigError
from credit301.features.online_address import OnlineAddress
from credit301.partners.bank import is_simulated, load_banks, reachable_banks, simulated_port, simulated_port_setting
from credit301.settings import PREFIX, Profile, Settings
from credit301.stack import airflow_env, health, postgres, redis_server
from credit301.workspace import Workspace

# Stages: the stores that the others stand on; what needs only them; Airflow, whose database is migrated before.
FOUNDATION, TOOLS, ORCHESTRATION = 1, 2, 3
# A dozen processes start side by side: on a busy machine of two cores for minutes. One that dies is not waited for.
START_SECONDS = 600
SERVING = "serving"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Service:
    """One process: how it starts, where it listens, and how one knows that it is well.

    Args:
        name: supervisor's name for it, and the name of its log file.
        command: program and arguments; secrets travel in ``environment``, never here.
        stage: stages start in order; only the first is waited for before the next starts.
        check: raises :class:`health.UnhealthyError` with the reason while the service is not well.
        here: whether the settings place it on this machine.
        address: what a person opens or connects to; empty where it listens nowhere.
        port: TCP port that must be free before it starts, with the setting that changes it.
        timeout: seconds within which it must be healthy.
        stop_signal: signal that asks it to stop; after ``stop_seconds`` its process group is killed.
        optional: the others can do without it.
    """

    name: str
    command: tuple[str, ...]
    stage: int
    check: health.Check
    timeout: float
    here: bool = True
    address: str = ""
    port: int | None = None
    port_setting: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    optional: bool = False

    def __post_init__(self) -> None:
        if (self.port is None) != (not self.port_setting):
            raise ValueError("a port and the setting that changes it come together")


def table(workspace: Workspace, *, everywhere: bool = False) -> list[Service]:
    """Every process that this machine runs for ``workspace``, in starting order.

    Args:
        workspace: the city or bank.
        everywhere: also those whose address the settings place on another machine.

    Raises:
        ConfigError: outside the embedded profile, with all the variables that are not set.
    """
    require_configuration(workspace)
    services = [*_stores(workspace.settings), *_tools(workspace), *_airflow(workspace.settings), *_platform(workspace)]
    here = [service for service in services if everywhere or service.here]
    return sorted(here, key=lambda service: service.stage)


def require_configuration(workspace: Workspace) -> None:
    """Insist on every address and secret that the stack needs, so that none has a default outside ``embedded``.

    Raises:
        ConfigError: naming all the missing variables at once.
    """
    settings = workspace.settings
    if settings.profile is Profile.EMBEDDED:
        return
    missing = [name for name in ADDRESSES if not getattr(settings, name)]
    tokens = {contract.pull.options.get("token_secret") for contract in workspace.sources.values()}
    for name in (*SECRETS, *sorted(token for token in tokens if token)):
        try:
            settings.secret(name)
        except ConfigError:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"The {settings.profile} profile needs: {', '.join(f'{PREFIX}{name.upper()}' for name in missing)}.",
            hint="Set them in .env (or the file that ENV_FILE names); .env.example lists every variable.",
        )


ADDRESSES = ("postgres_url", "redis_url", "mlflow_url", "exchange_url")
# What the processes of the table read; each is an environment variable outside the embedded profile.
SECRETS = (
    "airflow_password",
    "airflow_fernet_key",
    "airflow_jwt_secret",
    "airflow_api_secret",
    "api_keys",
    "token_keys",
    "identity_key",
    "audit_key",
    "supervisor_password",
)


def is_here(address: str, settings: Settings, port: int) -> bool:
    """Whether ``address`` is the port of this machine that the settings give to the service."""
    parts = urlsplit(address)
    return (parts.hostname in LOOPBACK or parts.hostname == settings.host) and parts.port == port


def program(name: str) -> str:
    """Path of a program of this environment."""
    return str(Path(sys.prefix) / "bin" / name)


def _stores(settings: Settings) -> list[Service]:
    database, online = settings.postgres_address("postgres"), settings.redis_address()
    return [
        Service(
            name="postgres",
            command=postgres.command(settings),
            stage=FOUNDATION,
            check=health.postgres(database),
            timeout=60,
            here=is_here(database, settings, settings.postgres_port),
            address=f"{settings.host}:{settings.postgres_port}",
            port=settings.postgres_port,
            port_setting="postgres_port",
            stop_signal="INT",  # PostgreSQL's fast shutdown; TERM would wait for every client to leave
        ),
        Service(
            name="redis",
            command=redis_server.command(settings),
            stage=FOUNDATION,
            check=health.redis(online),
            timeout=60,
            here=not OnlineAddress.parse(online).cluster and is_here(online, settings, settings.redis_port),
            address=f"{settings.host}:{settings.redis_port}",
            port=settings.redis_port,
            port_setting="redis_port",
        ),
    ]


def _tools(workspace: Workspace) -> list[Service]:
    settings = workspace.settings
    tracking, exchange = settings.mlflow_address(), settings.exchange_address()
    embedded = settings.profile is Profile.EMBEDDED
    identity = settings.identity_address() if settings.identity_url or embedded else ""
    site = f"http://{settings.host}:{settings.site_port}"
    return [
        Service(
            name="mlflow",
            command=_mlflow_command(settings),
            stage=TOOLS,
            check=health.http(f"{tracking}/health"),
            timeout=START_SECONDS,
            here=is_here(tracking, settings, settings.mlflow_port),
            address=tracking,
            port=settings.mlflow_port,
            port_setting="mlflow_port",
            environment={
                "MLFLOW_BACKEND_STORE_URI": settings.postgres_address("mlflow"),
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        ),
        Service(
            name="exchange",
            command=(program("credit301"), "exchange"),
            stage=TOOLS,
            check=health.http(f"{exchange}/healthz"),
            timeout=START_SECONDS,
            here=workspace.definition.simulated and is_here(exchange, settings, settings.exchange_port),
            address=exchange,
            port=settings.exchange_port,
            port_setting="exchange_port",
            optional=True,  # before a city was simulated there is nothing to exchange
        ),
        Service(
            name="identity",
            command=(program("credit301"), "identity-provider"),
            stage=TOOLS,
            check=health.http(f"{identity}/healthz"),
            timeout=START_SECONDS,
            here=workspace.definition.simulated and is_here(identity, settings, settings.identity_port),
            address=identity,
            port=settings.identity_port,
            port_setting="identity_port",
            optional=True,  # only who applies anew must be verified
        ),
        Service(
            name="site",
            command=(
                *(sys.executable, "-m", "http.server", str(settings.site_port)),
                *("--bind", settings.host, "--directory", str(workspace.paths.site)),
            ),
            stage=TOOLS,
            check=health.http(f"{site}/"),
            timeout=START_SECONDS,
            address=site,
            port=settings.site_port,
            port_setting="site_port",
        ),
    ]


def _mlflow_command(settings: Settings) -> tuple[str, ...]:
    # The names under which browsers and clients may ask for it; any other is refused.
    local = {f"{host}:{settings.mlflow_port}" for host in (settings.host, "localhost", "127.0.0.1")}
    names = sorted({*local, urlsplit(settings.mlflow_address()).netloc})
    return (
        *(program("mlflow"), "server", "--host", settings.host, "--port", str(settings.mlflow_port), "--workers", "1"),
        *("--serve-artifacts", "--artifacts-destination", str(settings.home / "mlflow" / "artifacts")),
        *("--allowed-hosts", ",".join(names)),
        *("--cors-allowed-origins", ",".join(f"http://{name}" for name in names)),
    )


def _airflow(settings: Settings) -> list[Service]:
    environment = airflow_env.environment(settings)
    address = airflow_env.address(settings)
    api = Service(
        name="airflow-api",
        command=(program("airflow"), "api-server", "--workers", "1"),
        stage=ORCHESTRATION,
        check=health.http(f"{address}/api/v2/version"),
        timeout=START_SECONDS,
        address=address,
        port=settings.airflow_port,
        port_setting="airflow_port",
        environment=environment,
    )
    scheduler = Service(
        name="airflow-scheduler",
        # The API server reads the task logs from the same disk: no log server, which would listen on every interface.
        command=(program("airflow"), "scheduler", "--skip-serve-logs"),
        stage=ORCHESTRATION,
        check=health.airflow_component(address, "scheduler"),
        timeout=START_SECONDS,
        environment={**environment, **airflow_env.preloading("scheduler")},
        stop_seconds=30,
    )
    worker = Service(
        name="airflow-worker",
        command=(
            program("airflow"),
            "celery",
            "worker",
            "--concurrency",
            str(airflow_env.PARALLELISM),
            "--skip-serve-logs",
        ),
        stage=ORCHESTRATION,
        check=health.process_only,
        timeout=START_SECONDS,
        here=False,  # on one machine the scheduler runs the tasks itself; containers have workers of their own
        environment=environment,
        stop_seconds=60,
    )
    processor = Service(
        name="airflow-dag-processor",
        command=(program("airflow"), "dag-processor"),
        stage=ORCHESTRATION,
        check=health.airflow_component(address, "dag_processor"),
        timeout=START_SECONDS,
        environment={**environment, **airflow_env.preloading("processor")},
    )
    return [api, scheduler, processor, worker]


def _platform(workspace: Workspace) -> list[Service]:
    settings = workspace.settings
    serving = f"http://{settings.host}:{settings.serving_port}"
    return [
        Service(
            name=SERVING,
            command=(program("credit301"), "serve"),
            stage=TOOLS,
            check=health.http(f"{serving}/healthz"),
            timeout=START_SECONDS,
            address=serving,
            port=settings.serving_port,
            port_setting="serving_port",
        ),
        *_banking(workspace),
        Service(
            name="watcher",
            command=(program("credit301"), "watch-promotions"),
            stage=TOOLS,
            check=health.process_only,
            timeout=START_SECONDS,
        ),
    ]


def _banking(workspace: Workspace) -> list[Service]:
    """What carries messages to the banks that have joined, and those of them that are simulated."""
    settings, banks = workspace.settings, load_banks(workspace)
    if not banks:
        return []
    metrics = f"http://{settings.host}:{settings.relay_port}"
    simulated = [
        Service(
            name=f"bank-{name.replace('_', '-')}",
            command=(program("credit301"), "bank", name),
            stage=TOOLS,
            check=health.http(f"http://{settings.host}:{simulated_port(workspace, bank)}/healthz"),
            timeout=START_SECONDS,
            here=is_simulated(workspace, bank),
            address=f"http://{settings.host}:{simulated_port(workspace, bank)}",
            port=simulated_port(workspace, bank),
            port_setting=simulated_port_setting(bank),
            optional=True,  # a message to a bank that is away waits
        )
        for name, bank in banks.items()
    ]
    relay = Service(
        name="relay",
        command=(program("credit301"), "relay"),
        stage=TOOLS,
        check=health.http(f"{metrics}/metrics"),
        timeout=START_SECONDS,
        here=bool(reachable_banks(workspace)),
        address=metrics,
        port=settings.relay_port,
        port_setting="relay_port",
        stop_seconds=30,  # what is under way to a bank is finished
    )
    return [relay, *simulated]
