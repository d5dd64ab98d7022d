"""Supervisor: its configuration out of the table of services, its start and end, and its remote control."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import shlex
import signal
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit301.errors import ConfigError
from credit301.processes import dies_with_its_parent
from credit301.settings import Settings
from credit301.stack import private
from credit301.stack.services import Service, program

MARKER = "CREDIT301_STACK"
USER = "credit301"
RPC_TIMEOUT_SECONDS = 30.0
START_SECONDS = 90.0
STOP_SECONDS = 180.0


@dataclass(frozen=True)
class State:
    """What supervisor knows of a service: its state's name (RUNNING, FATAL, ...), process id and last words."""

    name: str
    pid: int | None
    description: str


class _Transport(xmlrpc.client.Transport):
    """HTTP transport with a time-out: a supervisor that hangs must not hang its caller."""

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection = super().make_connection(host)
        connection.timeout = RPC_TIMEOUT_SECONDS
        return connection


class Supervisor:
    """The supervisor of one home directory."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run = settings.home / "run"
        self.logs = settings.home / "logs"
        self.configuration_file = self.run / "supervisord.conf"
        self.pid_file = self.run / "supervisord.pid"

    def log_file(self, service: str) -> Path:
        """Where the output of ``service`` goes."""
        return self.logs / f"{service}.log"

    # -- its configuration

    def configuration(self, services: Iterable[Service], environment: Mapping[str, str]) -> str:
        """Supervisor's configuration for ``services``; ``environment`` is what they all get."""
        settings = self.settings
        password = settings.secret("supervisor_password")
        head: dict[str, dict[str, object]] = {
            "supervisord": {
                "pidfile": self.pid_file,
                "logfile": self.logs / "supervisord.log",
                "childlogdir": self.logs,
                "nodaemon": "false",
                # Airflow and MLflow keep more files open than many a login shell allows.
                "minfds": 1024,
                **({"user": "root"} if os.geteuid() == 0 else {}),
            },
            "inet_http_server": {
                "port": f"{settings.host}:{settings.supervisor_port}",
                "username": USER,
                # Supervisor takes the hash, so the file does not hold the password.
                "password": _hashed(password),
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        sections = [
            *head.items(),
            *((f"program:{service.name}", self._program(service, environment)) for service in services),
        ]
        return "\n".join(
            "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""])
            for name, values in sections
        )

    def _program(self, service: Service, environment: Mapping[str, str]) -> dict[str, object]:
        variables = {**environment, **service.environment}
        return {
            "command": " ".join(_argument(part) for part in (*dies_with_its_parent(), *service.command)),
            "environment": ",".join(f"{key}={_value(key, value)}" for key, value in sorted(variables.items())),
            "priority": service.stage,
            "autostart": "false",
            "autorestart": "true",
            "startsecs": 1,
            "startretries": 3,
            "stopsignal": service.stop_signal,
            "stopwaitsecs": service.stop_seconds,
            # PostgreSQL's own children must not get its INT, which to them means something else.
            "stopasgroup": "false" if service.stop_signal == "INT" else "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": self.log_file(service.name),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": 2,
        }

    # -- its start and end

    def pid(self) -> int | None:
        """Process id of the running supervisor, ``None`` where none runs."""
        import psutil

        try:
            pid = int(self.pid_file.read_text())
            process = psutil.Process(pid)
            # A pid file that outlived its process may name somebody else's by now.
            return pid if str(self.configuration_file) in process.cmdline() else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def start(self, configuration: str, environment: Mapping[str, str]) -> None:
        """Start supervisor with ``configuration``; its services wait to be told.

        Raises:
            ConfigError: it did not come up.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        private.write(self.configuration_file, configuration)
        done = subprocess.run(
            [program("supervisord"), "-c", str(self.configuration_file)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + START_SECONDS
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.pid() is not None and self.answers():
                return
            time.sleep(0.1)
        reason = (done.stdout + done.stderr).strip() or tail(self.logs / "supervisord.log", 5)
        raise ConfigError(
            f"The process supervisor did not start: {reason}", hint=f"Its log: {self.logs / 'supervisord.log'}"
        )

    def stop(self) -> None:
        """Stop every service, the last stage first, then supervisor itself, and wait for the end of it."""
        import psutil

        pid = self.pid()
        if pid is None:
            return
        process = psutil.Process(pid)
        if self.answers():
            self._proxy().supervisor.shutdown()
        else:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()

    # -- its remote control

    def answers(self) -> bool:
        """Whether the running supervisor is ours and can be talked to."""
        try:
            self._proxy().supervisor.getState()
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False
        return True

    def start_service(self, name: str) -> None:
        """Ask for the start of ``name`` and return at once; nothing happens where it runs already."""
        try:
            self._proxy().supervisor.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if not fault.faultString.startswith(("ALREADY_STARTED", "SPAWN_ERROR", "ABNORMAL_TERMINATION")):
                raise ConfigError(f"The process supervisor cannot start {name}: {fault.faultString}") from fault

    def send(self, name: str, number: signal.Signals) -> None:
        """Send the signal ``number`` to the service ``name``.

        Raises:
            ConfigError: it does not run.
        """
        try:
            self._proxy().supervisor.signalProcess(name, number.name.removeprefix("SIG"))
        except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
            raise ConfigError(f"{name} does not run.", hint="Start it: credit301 up.") from error

    def states(self) -> dict[str, State]:
        """State of each service that supervisor knows; empty where it does not run."""
        if self.pid() is None or not self.answers():
            return {}
        answer: Any = self._proxy().supervisor.getAllProcessInfo()
        return {
            item["name"]: State(item["statename"], item["pid"] or None, item["spawnerr"] or item["description"])
            for item in answer
        }

    def _proxy(self) -> xmlrpc.client.ServerProxy:
        settings = self.settings
        credentials = base64.b64encode(f"{USER}:{settings.secret('supervisor_password')}".encode()).decode()
        transport = _Transport(headers=[("Authorization", f"Basic {credentials}")])
        return xmlrpc.client.ServerProxy(f"http://{settings.host}:{settings.supervisor_port}/RPC2", transport=transport)


def tail(path: Path, lines: int) -> str:
    """The last ``lines`` lines of a log; empty where there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def sweep(home: Path) -> int:
    """End the processes that the stack of ``home`` left behind, known by the mark in their environment; their number.

    Supervisor stops its children's process groups; a child that made a group of its own, or children of a
    supervisor that was killed, are found here and nowhere else.
    """
    import psutil

    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(home) and process.pid != os.getpid():
                process.terminate()
                left.append(process)
        except (psutil.Error, OSError):
            continue
    _, alive = psutil.wait_procs(left, timeout=15)
    for process in alive:
        process.kill()
    return len(left)


def _hashed(password: str) -> str:
    return "{SHA}" + hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest()


def _argument(part: str) -> str:
    """One argument of a command in supervisor's configuration: quoted for its shell-like splitting, ``%`` doubled."""
    return _representable("an argument", shlex.quote(part)).replace("%", "%%")


def _value(key: str, value: str) -> str:
    """One value of ``environment=``, which knows quotes but no escapes.

    Raises:
        ConfigError: the value holds both kinds of quotes, or what no line of the file can hold.
    """
    quote = "'" if '"' in value else '"'
    if quote in value:
        raise ConfigError(f"The value of {key} cannot be passed to a service: it has both kinds of quotes.")
    return _representable(f"the value of {key}", f"{quote}{value}{quote}").replace("%", "%%")


def _representable(what: str, text: str) -> str:
    # In supervisor's file a blank and a semicolon or hash begin a comment, even inside quotes.
    if re.search(r"[\r\n]|\s[;#]", text):
        raise ConfigError(f"{what} cannot be passed to a service: it has a line break, or a blank before ; or #.")
    return text
