"""How the platform's servers log: lines for people, or one JSON object a line for machines, masked in both."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from credit301.governance.masking import ScrubbingFilter, scrub
from credit301.telemetry import trace_id

FIELDS = ("request_id", "client", "decision_id", "outcome", "microseconds", "bank", "message_id")
"""What a line may say besides its text: given as ``extra`` of the call."""
_LIBRARIES_QUIET = ("httpx", "httpcore")


class JsonFormatter(logging.Formatter):
    """One object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, ``trace_id``, and :data:`FIELDS`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; what it says besides its text is masked like the text."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if number := trace_id():
            said["trace_id"] = number
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                said[name] = scrub(value) if isinstance(value, str) else value
        # The masking filter has written the trace down.
        if record.exc_text:
            said["exception"] = record.exc_text
        return json.dumps(said, ensure_ascii=False)


def configuration(form: str) -> dict[str, Any]:
    """For ``logging.config.dictConfig``: to standard error, in the ``form`` of the setting ``log_format``."""
    text = {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    handler = {
        "class": "logging.StreamHandler",
        "formatter": form,
        "stream": "ext://sys.stderr",
        "filters": ["scrubbed"],
    }
    logger = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"scrubbed": {"()": f"{ScrubbingFilter.__module__}.{ScrubbingFilter.__name__}"}},
        "formatters": {"text": text, "json": {"()": f"{JsonFormatter.__module__}.{JsonFormatter.__name__}"}},
        "handlers": {"stderr": handler},
        "loggers": {
            "uvicorn": logger,
            "credit301": logger,
            # Their lines name the addresses of others, one for each request.
            **{name: {**logger, "level": "WARNING"} for name in _LIBRARIES_QUIET},
        },
    }
