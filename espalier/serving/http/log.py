"""The log: one line per request, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

log = logging.getLogger("espalier.serving")


def note(**fields: Any) -> None:
    """One line about a request; what is None is left out."""
    log.info("request", extra={"fields": {name: value for name, value in fields.items() if value is not None}})


class Lines(logging.Formatter):
    """Records as lines of text, or of JSON.

    >>> Lines("json").format(logging.makeLogRecord({"msg": "hi", "fields": {"id": "a"}})).endswith('"id": "a"}')
    True
    """

    def __init__(self, kind: Literal["text", "json"]) -> None:
        super().__init__()
        self.kind = kind

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        error = self.formatException(record.exc_info) if record.exc_info else None
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        if self.kind == "json":
            line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
            return json.dumps(line | ({"traceback": error} if error else {}) | fields, ensure_ascii=False, default=str)
        said = " ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields.items())
        return f"{when} {record.levelname.lower()} {record.getMessage()}{' ' + said if said else ''}" + (
            f"\n{error}" if error else ""
        )


def write_log(kind: Literal["text", "json"]) -> None:
    """Writes the log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(kind))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a full disk under the log is no reason to fail
