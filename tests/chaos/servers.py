"""A real MLflow server on loopback, and a proxy in front of it that misbehaves on demand."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# MLflow's application, served by Werkzeug: the same answers as `mlflow server`, ready in half the
# time.
SCRIPT = """
import sys
from werkzeug.serving import run_simple
from mlflow.server import app
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
"""
FAULTS = ("refused", "reset", "hanging", "500", "html", "slow", "lost")
SLOW_SECONDS = 0.3
PATIENCE = 600  # tries to have a port again


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, database: str = "") -> Iterator[int]:
    """The port of a server whose store is in `folder`, or its tables in another `database`."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": database or f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "server.log").open("wb") as log:
        command = [sys.executable, "-c", SCRIPT, str(port)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if answers(port):
                break
            if process.poll() is not None:
                raise RuntimeError((folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    """Whether the store behind it answers; the first request prepares it, and takes longest."""
    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is what is being tested."""


class FaultyProxy:
    """Forwards to a server, in the way that `fault` says; None: as it should."""

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, free_port()
        self.fault: str | None = None
        self.requests = 0
        self._server: _Server | None = None
        self._listen()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, fault: str | None) -> None:
        """Misbehave from now on, or no longer."""
        self.fault = fault
        if fault == "refused":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _listen(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                proxy.requests += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.handle(self, body)

            def log_message(self, *_: object) -> None: ...

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self._server = self._bound(Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def _bound(self, handler: type[BaseHTTPRequestHandler]) -> _Server:
        """A server on our port, which a connection of somebody else's may have taken meanwhile."""
        for _ in range(PATIENCE):
            try:
                return _Server(("127.0.0.1", self.port), handler)
            except OSError:
                time.sleep(0.1)
        return _Server(("127.0.0.1", self.port), handler)

    def handle(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        fault = self.fault
        if fault == "hanging":
            while self.fault == "hanging":
                time.sleep(0.05)
            return
        if fault in ("reset", "refused"):
            return
        if fault == "500":
            _send(request, 500, b'{"error_code": "INTERNAL_ERROR", "message": "broken"}')
            return
        if fault == "html":
            request.send_response(404)
            request.send_header("Content-Length", "13")
            request.end_headers()
            request.wfile.write(b"<html></html>")
            return
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        upstream = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=30)
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        upstream.request(request.command, request.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault == "lost":  # done there, and nobody hears of it
            return
        _send(request, answer.status, content, answer.getheader("Content-Type") or "text/plain")


def _send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json"
) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
