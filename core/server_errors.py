"""Why a server does not answer, in words instead of those of HTTP and database clients."""

from __future__ import annotations

import os
import re

from core.errors import MachineError, first_line

# Pattern of a client's message -> the reason, and what to do. The first match counts.
REASONS = {
    r"ProxyError|Unable to connect to proxy": "the proxy that HTTP_PROXY or HTTPS_PROXY names does "
    "not answer; correct it, or add the server to NO_PROXY",
    r"Connection refused|ECONNREFUSED": "nothing listens at this address; start the server, or "
    "correct host and port",
    r"Name or service not known|Temporary failure in name resolution|nodename nor servname"
    r"|failed to resolve host|NameResolutionError": "no machine has this name; correct the address",
    r"No route to host|Network is unreachable": "there is no route to it; check "
    "network and firewall",
    r"password authentication failed": "user or password is wrong",
    r"database \".*\" does not exist": "the server has no such database; create it first",
    r"too many (clients|connections)|remaining connection slots": "the database has too many "
    "connections; use fewer workers, or textgan proxy",
    r"WRONG_VERSION_NUMBER|record layer failure|http_request": "it does not speak https; write "
    "http:// in the address",
    r"CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted on this machine; set "
    "REQUESTS_CA_BUNDLE to the file with the right one",
    r"plain HTTP request was sent to HTTPS": "it speaks https; write https:// in the address",
    r"[Tt]imed out|[Tt]imeout": "no answer in time; the server may be busy, or a firewall may "
    "block it",
    r"RemoteDisconnected|Connection aborted|[Cc]onnection reset|BadStatusLine"
    r"|server closed the connection": "the connection was closed without an answer; if the server "
    "speaks https, write https:// in the address",
    r"not in a valid JSON format": "the answer is not an MLflow server's; correct the address",
    r"Invalid Host header": "the server does not accept this name; start it with --allowed-hosts, "
    "or use another name",
}
STATUS = re.compile(
    r"failed with error code (\d{3})|too many (\d{3}) error|^(\d{3}) (?:Client|Server) Error"
)
ABSENT = "(HTTP status 404)"  # how the reason of a missing page ends
ANSWERS = {  # HTTP status -> the same
    "401": "it asks for a user name and a password; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD",
    "403": "it refuses access; check user and password, and a proxy in front of the server",
    "404": "there is no MLflow server at this address; correct host, port and path",
    "407": "the proxy on the way asks for a user name and a password",
    "413": "a proxy in front of the server refuses requests of this size; raise its limit",
    "429": "too many requests; try again later",
}
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
