"""The one place that resolves the profile, the addresses and the secrets of a run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from credit301.errors import ConfigError

PREFIX = "CREDIT301_"


class Profile(StrEnum):
    """Where the platform runs: one machine without installation, servers, or a cluster."""

    EMBEDDED = "embedded"
    PRODUCTION = "production"
    CLUSTER = "cluster"


class Warehouse(StrEnum):
    """The engine that the warehouse runs on."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    SPARK = "spark"


class LogFormat(StrEnum):
    """How servers write their logs: for people, or for machines."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """Settings of a run, read from ``CREDIT301_*`` variables and a ``.env`` file beside the project.

    An address that is left empty gets the embedded profile's default on loopback; the other profiles
    insist on being told.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore")

    profile: Profile = Profile.EMBEDDED
    home: Path = Field(default=Path("var"), description="where everything that a run writes is kept")
    workspace: Path = Field(default=Path("workspaces/wuhan"), description="the workspace used where none is named")
    data_dir: Path = Field(default=Path("../shared/data"), description="where file-drop workspaces look for real data")
    host: str = "127.0.0.1"

    serving_port: int = 8301
    mlflow_port: int = 8302
    airflow_port: int = 8303
    exchange_port: int = 8304
    site_port: int = 8305
    redis_port: int = 8306
    postgres_port: int = 8307
    supervisor_port: int = 8308
    identity_port: int = 8309
    bank_platform_port: int = 8310
    bank_standard_port: int = 8311
    relay_port: int = 8312

    public_url: str = Field(default="", description="address by which clients reach the API; the issuer of its tokens")
    serving_workers: int = Field(default=1, ge=1, description="processes of the API; two or more are replaced in turn")
    serving_at_once: int = Field(default=16, ge=1, description="decisions that a worker of the API makes at once")
    serving_wait_ms: int = Field(default=50, ge=1, description="longest expected wait for a decision before refusals")

    log_format: LogFormat = Field(default=LogFormat.TEXT, description="text, or json: one object a line")

    redis_url: str = ""
    postgres_url: str = ""
    mlflow_url: str = ""
    exchange_url: str = ""
    identity_url: str = ""

    tls_certificate: Path | None = Field(
        default=None, description="PEM chain of the decision endpoint; unset means that it speaks plain HTTP"
    )
    tls_key: Path | None = Field(default=None, description="PEM private key of tls_certificate")
    tls_client_ca: Path | None = Field(
        default=None, description="PEM authorities of clients; set, nobody connects without a certificate of theirs"
    )

    signing_key_file: Path | None = Field(
        default=None, description="PEM of the key that messages to banks are signed with; its name is the key's id"
    )
    partner_certificate: Path | None = Field(
        default=None, description="PEM chain by which banks with mutual TLS know the platform"
    )
    partner_certificate_key: Path | None = Field(default=None, description="PEM private key of partner_certificate")
    partner_ca: Path | None = Field(
        default=None, description="PEM authorities of banks' servers; unset means those of the machine"
    )

    threads: int = Field(default=0, description="threads of the warehouse and of training; 0 means all cores")
    warehouse: Warehouse | None = Field(
        default=None, description="duckdb, postgres or spark; unset means duckdb, and spark in the cluster profile"
    )
    warehouse_memory_gib: float = Field(
        default=0, description="memory of the warehouse before it spills to disk; 0 means a third of the machine's"
    )
    ingest_memory_gib: float = Field(
        default=0, description="memory that the way in takes before it spills to disk; 0 means a sixth of the machine's"
    )

    training_memory_gib: float = Field(
        default=0, description="memory that training may take; 0 means half of the machine's"
    )
    training_cluster: str = Field(
        default="", description="address of a Dask scheduler on whose workers trees are grown"
    )

    def model_post_init(self, _context: object, /) -> None:
        """Make paths absolute, so that a verb may be called from any directory."""
        self.home = self.home.expanduser().resolve()
        self.workspace = self.workspace.expanduser()
        self.data_dir = self.data_dir.expanduser()

    @property
    def cpu_threads(self) -> int:
        """Threads to use: the setting, or every core of this machine."""
        return self.threads or os.cpu_count() or 1

    @property
    def warehouse_engine(self) -> Warehouse:
        """The engine of the warehouse: the setting, else the profile's."""
        return self.warehouse or (Warehouse.SPARK if self.profile is Profile.CLUSTER else Warehouse.DUCKDB)

    @property
    def warehouse_memory(self) -> float:
        """GiB that the warehouse may use: the setting, or a third of this machine's memory, at least one."""
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return self.warehouse_memory_gib or max(1.0, there / 3)

    @property
    def ingest_memory(self) -> float:
        """GiB to use on the way in: the setting, or a sixth of this machine's memory, at least one."""
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return self.ingest_memory_gib or max(1.0, there / 6)

    @property
    def training_memory(self) -> float:
        """GiB that training may use: the setting, or half of this machine's memory, at least one."""
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return self.training_memory_gib or max(1.0, there / 2)

    def redis_address(self) -> str:
        """URL of the online store.

        Raises:
            ConfigError: outside the embedded profile, when ``CREDIT301_REDIS_URL`` is not set.
        """
        return self._address(
            "redis_url", lambda: f"redis://:{self.secret('redis_password')}@{self.host}:{self.redis_port}/0"
        )

    def public_address(self) -> str:
        """Address by which clients reach the API: the setting, or that of this machine."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.serving_port}"

    def mlflow_address(self) -> str:
        """URL of the MLflow tracking server and registry."""
        return self._address("mlflow_url", lambda: f"http://{self.host}:{self.mlflow_port}")

    def exchange_address(self) -> str:
        """Base URL of the data exchange that HTTP sources are pulled from."""
        return self._address("exchange_url", lambda: f"http://{self.host}:{self.exchange_port}")

    def identity_address(self) -> str:
        """Base URL of the provider that verifies telephones and recognises faces."""
        return self._address("identity_url", lambda: f"http://{self.host}:{self.identity_port}")

    def postgres_address(self, database: str) -> str:
        """``postgresql://`` URL of one of the platform's databases."""
        address = self._address(
            "postgres_url",
            lambda: f"postgresql://credit301:{self.secret('postgres_password')}@{self.host}:{self.postgres_port}",
        )
        return f"{address.rstrip('/')}/{database}"

    def _address(self, name: str, embedded: Callable[[], str]) -> str:
        # Asked for only where it is needed: the embedded address of a server may make that server's password.
        value = str(getattr(self, name))
        if value:
            return value
        if self.profile is not Profile.EMBEDDED:
            raise ConfigError(
                f"{PREFIX}{name.upper()} is not set.",
                hint=f"The {self.profile} profile needs it; .env.example lists every variable.",
            )
        return embedded()

    def secret(self, name: str) -> str:
        """A secret by name: from ``CREDIT301_<NAME>``, else (embedded profile only) made once and kept.

        Raises:
            ConfigError: outside the embedded profile, when the variable is not set.
        """
        variable = f"{PREFIX}{name.upper()}"
        value = os.environ.get(variable) or self._dotenv().get(variable)
        if value:
            return value
        if self.profile is not Profile.EMBEDDED:
            raise ConfigError(f"{variable} is not set.", hint="Secrets have no default outside the embedded profile.")
        path = self.home / "secrets" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return self._wait_for(path)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(24))
        return self._wait_for(path)

    @staticmethod
    def _wait_for(path: Path) -> str:
        # Another process may have created the file and not yet written it.
        for _ in range(100):
            if value := path.read_text(encoding="ascii").strip():
                return value
            os.sched_yield()
        raise ConfigError(f"The secret in {path} is empty.", hint="Delete the file; it is made anew.")

    @staticmethod
    def _dotenv() -> dict[str, str]:
        from dotenv import dotenv_values

        return {key: value for key, value in dotenv_values(".env").items() if value}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process."""
    return Settings()
