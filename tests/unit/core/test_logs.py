"""What servers write to their logs, for people and for machines."""

from __future__ import annotations

import json
import logging
import logging.config

import pytest

from credit301.logs import configuration

USCC = "91420100MA4K000000"


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_of_a_person_or_an_enterprise_is_in_a_line(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(configuration(form))
    try:
        try:
            int(f"{USCC}, 110101199003070011")
        except ValueError:
            logging.getLogger("credit301.test").exception("%s failed", USCC, extra={"client": f"of {USCC}"})
        said = capfd.readouterr().err
    finally:
        logging.getLogger("credit301").handlers.clear()
        logging.getLogger("uvicorn").handlers.clear()
    assert "failed" in said
    assert "ValueError" in said
    assert USCC not in said
    assert "110101199003070011" not in said


def test_a_machine_reads_a_line_as_one_object_with_its_fields(capfd: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(configuration("json"))
    try:
        log = logging.getLogger("credit301.test")
        log.info("decided\non two lines", extra={"request_id": "r1", "outcome": "approve", "unknown": "not said"})
        (line,) = capfd.readouterr().err.splitlines()
    finally:
        logging.getLogger("credit301").handlers.clear()
        logging.getLogger("uvicorn").handlers.clear()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "INFO", "logger": "credit301.test", "message": "decided\non two lines", "request_id": "r1",
        "outcome": "approve",
    }  # fmt: skip
