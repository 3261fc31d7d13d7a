"""Why a server does not answer, in words instead of those of HTTP and database clients."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from core.errors import MachineError, first_line

TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
REASONS: Mapping[str, str] = TABLES["reasons"]  # by pattern of a client's message
ANSWERS: Mapping[str, str] = TABLES["statuses"]  # by HTTP status
STATUS = re.compile(
    r"failed with error code (\d{3})|too many (\d{3}) error|^(\d{3}) (?:Client|Server) Error"
)
ABSENT = "(HTTP status 404)"  # how the reason of a missing page ends
OF_TRACKING = ("mlflow", "requests", "urllib3")
CLIENTS = dict.fromkeys(OF_TRACKING, "the tracking server") | dict.fromkeys(
    ("sqlalchemy", "psycopg", "optuna", "grpc"), "the database"
)
FAILED = "the server, or a proxy in front of it, has failed; read its log, and try again"


def server_reason(text: str) -> str | None:
    """Why a server does not answer, from a client's message; None if the message is of another
    kind, such as an answer of the server itself.
    """
    for said, reason in REASONS.items():
        if re.search(said, text):
            return reason
    found = STATUS.search(text)
    if found is None:
        return None
    status = next(filter(None, found.groups()))
    reason = ANSWERS.get(status, FAILED if status >= "500" else "it refuses the request")
    return f"{reason} (HTTP status {status})"


def in_words(error: BaseException) -> str:
    """`server_reason`, or else the first line of the error's own message."""
    return server_reason(str(error)) or first_line(error)


def server_error(error: BaseException) -> MachineError | None:
    """An error that a client of a server raised, in words; None if it is of another kind."""
    client = type(error).__module__.partition(".")[0]
    reason = server_reason(str(error)) if client in CLIENTS else None
    if reason is None:
        return None
    from core.addresses import shown  # imports SQLAlchemy

    address = shown(os.environ.get("MLFLOW_TRACKING_URI") or "")
    known = client in OF_TRACKING and address
    return MachineError(f"{address if known else CLIENTS[client]}: {reason}")
