"""What is written for the process supervisor is what the supervisor reads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from credit301.errors import ConfigError
from credit301.settings import Settings
from credit301.stack import health
from credit301.stack.services import Service
from credit301.stack.supervisor import Supervisor

# Blanks, quotes and signs that mean something to the file are as frequent as they are dangerous.
texts = st.text(st.sampled_from(" abZ09%;#'\"\\$=,:/@~{}"), min_size=1).filter(
    lambda text: not re.search(r"(^|\s)[;#]", text) and text.strip() == text
)


def read_back(
    directory: Path, command: tuple[str, ...], environment: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the one service, as supervisor itself understands the file."""
    service = Service("one", command, 1, health.process_only, 10, environment=environment)
    supervisor = Supervisor(Settings(home=directory))
    for folder in (supervisor.logs, supervisor.run):
        folder.mkdir(parents=True, exist_ok=True)
    file = directory / "supervisord.conf"
    file.write_text(supervisor.configuration([service], {}), encoding="utf-8")
    options = ServerOptions()
    options.realize(["-c", str(file)])
    process = options.process_group_configs[0].process_configs[0]
    return shlex.split(process.command)[-len(command) :], process.environment


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=texts.filter(lambda text: not ("'" in text and '"' in text) and text.strip("'\"") == text))
def test_the_value_of_a_variable_arrives_as_it_was(tmp_path: Path, value: str) -> None:
    _, environment = read_back(tmp_path, ("/bin/true",), {"VALUE": value})
    assert environment["VALUE"] == value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=texts)
def test_an_argument_of_a_command_arrives_as_it_was(tmp_path: Path, argument: str) -> None:
    command, _ = read_back(tmp_path, ("/bin/echo", argument), {})
    assert command == ["/bin/echo", argument]


@pytest.mark.parametrize("value", ["both ' and \"", "two\nlines", "a ;comment", "a #comment"])
def test_a_value_that_supervisor_cannot_hold_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="VALUE"):
        read_back(tmp_path, ("/bin/true",), {"VALUE": value})


def test_the_password_of_the_remote_control_is_not_in_the_file(tmp_path: Path) -> None:
    run = Settings(home=tmp_path)
    assert run.secret("supervisor_password") not in Supervisor(run).configuration([], {})
