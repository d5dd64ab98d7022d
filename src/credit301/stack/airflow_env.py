"""Airflow's configuration, as environment variables, and the state of its database."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

from credit301.errors import ConfigError
from credit301.settings import Settings
from credit301.stack import private

USER = "admin"
PARALLELISM = 2


def project_root() -> Path:
    """Folder of the checkout that this package is installed from.

    Raises:
        ConfigError: it is not installed from a checkout, so that there are no DAGs beside it.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "dags").is_dir():
        raise ConfigError(
            f"There are no DAGs in {root}.", hint="Install the project from its checkout: make demo does."
        )
    return root


def address(settings: Settings) -> str:
    """Base URL of Airflow's pages and API."""
    return f"http://{settings.host}:{settings.airflow_port}"


def home(settings: Settings) -> Path:
    """``AIRFLOW_HOME``."""
    return settings.home / "airflow"


def passwords_file(settings: Settings) -> Path:
    """The file that Airflow's simple authentication reads its passwords from."""
    return home(settings) / "passwords.json"


def environment(settings: Settings) -> dict[str, str]:
    """Everything that Airflow is told, on top of its own defaults."""
    base = address(settings)
    # Fernet wants 32 bytes in URL-safe base64; a hash makes them of a secret of any form.
    fernet = base64.urlsafe_b64encode(hashlib.sha256(settings.secret("airflow_fernet_key").encode()).digest())
    options = {
        "core__dags_folder": str(project_root() / "dags"),
        "core__load_examples": "False",
        "core__executor": "LocalExecutor",
        "core__parallelism": str(PARALLELISM),
        "core__fernet_key": fernet.decode(),
        "core__execution_api_server_url": f"{base}/execution/",
        "core__simple_auth_manager_users": f"{USER}:admin",
        "core__simple_auth_manager_passwords_file": str(passwords_file(settings)),
        "database__sql_alchemy_conn": settings.postgres_address("airflow").replace(
            "postgresql://", "postgresql+psycopg2://"
        ),
        "api__host": settings.host,
        "api__port": str(settings.airflow_port),
        "api__base_url": base,
        "api__secret_key": settings.secret("airflow_api_secret"),
        "api_auth__jwt_secret": settings.secret("airflow_jwt_secret"),
        "dag_processor__parsing_processes": "1",
        "dag_processor__refresh_interval": "60",
        "dag_processor__min_file_process_interval": "60",
        "logging__base_log_folder": str(home(settings) / "logs"),
    }
    variables = {f"AIRFLOW__{key.upper()}": value for key, value in options.items()}
    return {"AIRFLOW_HOME": str(home(settings)), **variables}


def preloading(process: str) -> dict[str, str]:
    """What a process is told besides that forks others: these find loaded what ``dags/<process>`` names."""
    return {"PYTHONPATH": str(project_root() / "dags" / process)}


def prepare(settings: Settings) -> None:
    """Write the password file that the API server reads."""
    private.write(passwords_file(settings), json.dumps({USER: settings.secret("airflow_password")}))


def migrate(settings: Settings, airflow: str, base: dict[str, str], log: Path) -> bool:
    """Bring Airflow's database to the installed version; true where there was something to do.

    Args:
        settings: the run's.
        airflow: path of the ``airflow`` program.
        base: environment of the command besides Airflow's own variables.
        log: file that gets the command's output.

    Raises:
        ConfigError: the migration failed; the message has the end of the log.
    """
    marker = home(settings) / "migrated.json"
    installed = version("apache-airflow-core")
    if marker.exists() and json.loads(marker.read_text()) == {"airflow": installed, "revision": _revision(settings)}:
        return False
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [airflow, "db", "migrate"],
            env={**base, **environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise ConfigError(f"Airflow's database could not be migrated:\n{tail}", hint=f"The whole log: {log}")
    marker.write_text(json.dumps({"airflow": installed, "revision": _revision(settings)}))
    return True


def _revision(settings: Settings) -> str:
    """Alembic revision of Airflow's database; empty where it has no tables yet."""
    import psycopg

    with psycopg.connect(settings.postgres_address("airflow")) as connection:
        try:
            row = connection.execute("select version_num from alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return ""
    return str(row[0]) if row else ""
