"""`textgan judge --page`: the comparisons on a web page of this machine, one at a time.

The server listens on loopback only. A web page elsewhere can make a browser send requests to it,
under a name of its own (DNS rebinding) or as a form. So requests for other hosts are refused, and
so are answers without the token of our own page. Every sentence is escaped, and nothing on the page
tells the source of a sentence.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from jinja2 import Environment

from core.errors import InputError
from core.tracking.mlflow_client import LOOPBACK
from experiments.console import stderr
from experiments.judging import QUESTIONS, OnAnswer, Questions

LONGEST = 10_000  # bytes of an answer
CHOICES = {"first": 0, "second": 1, "neither": None}
PAGE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 17px/1.5 system-ui, sans-serif; margin: 12vh auto; max-width: 44rem; color: #1c2530;
       background: #fff; padding: 0 1rem; }
h1 { font-size: 1.2rem; } p { color: #4a5665; }
button { font: inherit; border: 1px solid #b9c3cd; border-radius: .5rem; background: #f3f6f9;
         color: inherit; padding: .7rem 1rem; cursor: pointer; }
button:hover, button:focus { border-color: #0072b2; outline: 2px solid #0072b2; }
button.sentence { display: block; width: 100%; text-align: left; margin: .8rem 0; min-height: 4rem;
                  overflow-wrap: anywhere; }
kbd { color: #4a5665; margin-right: .8rem; }
.foot { display: flex; gap: .8rem; }
@media (prefers-color-scheme: dark) {
  body { background: #14181d; color: #e6eaee; } p, kbd { color: #9aa7b4; }
  button { background: #1f262e; border-color: #3b4652; } }
</style>
{% if texts %}<h1>{{ question }}</h1><p>{{ place }}</p>
<form method="post" action="/">
<input type="hidden" name="token" value="{{ token }}">
<input type="hidden" name="number" value="{{ number }}">
<button class="sentence" name="said" value="first"><kbd>1</kbd>{{ texts[0] }}</button>
<button class="sentence" name="said" value="second"><kbd>2</kbd>{{ texts[1] }}</button>
<div class="foot"><button name="said" value="neither"><kbd>=</kbd>neither</button>
<button name="said" value="stop"><kbd>q</kbd>stop here</button></div>
</form>
<script>
const keys = {"1": "first", "2": "second", "=": "neither", "q": "stop"};
addEventListener("keydown", (event) => {
  const button = document.querySelector(`button[value="${keys[event.key]}"]`);
  if (button && !event.ctrlKey && !event.metaKey && !event.altKey) button.click();
});
</script>
{% else %}<h1>{{ title }}</h1><p>{{ place }}</p>{% endif %}
</html>
""")


def ask_on_page(asked: Questions, kind: str, port: int, record: OnAnswer) -> None:
    """Serve the questions until the last answer, or until the rater stops or presses Ctrl-C."""
    if not asked:
        stderr.print("every comparison is answered")
        return
    served = JudgingPage(asked, kind, port, record)
    stderr.print(f"{served.address}: {len(asked)} questions; Ctrl-C ends it and keeps the answers")
    with suppress(KeyboardInterrupt):
        served.serve()


class JudgingPage:
    """A server of one rater's questions; `record` is called with each answer."""

    def __init__(self, asked: Questions, kind: str, port: int, record: OnAnswer) -> None:
        self._left = list(asked)
        self._count = len(self._left)
        self._question = QUESTIONS[kind]
        self._record = record
        self._token = secrets.token_urlsafe(16)
        self._lock = threading.Lock()
        self._stopped = not self._left
        try:
            self._server = ThreadingHTTPServer((LOOPBACK[0], port), self._handler())
        except OSError as error:
            raise InputError(
                f"--port {port}: cannot listen on it ({error.strerror}); without --port a free "
                f"one is used"
            ) from None
        self.port = int(self._server.server_address[1])
        self.address = f"http://{LOOPBACK[0]}:{self.port}/"

    def serve(self) -> None:
        """Until the last answer, or until the rater stops."""
        try:
            if not self._stopped:
                self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def page(self) -> str:
        """The current page."""
        if self._stopped:
            done = self._count - len(self._left)
            place = f"{done} of {self._count} answered. This page can be closed."
            return PAGE.render(title="Thank you", place=place)
        comparison, swapped = self._left[0]
        texts = [comparison.first, comparison.second]
        return PAGE.render(
            title=self._question,
            question=self._question,
            place=f"{self._count - len(self._left) + 1} of {self._count}",
            texts=texts[::-1] if swapped else texts,
            number=comparison.number,
            token=self._token,
        )

    def answer(self, form: dict[str, list[str]]) -> bool:
        """Record an answer, once even if it was sent twice; False for a form of another page."""
        said = form.get("said", [""])[0]
        if form.get("token") != [self._token] or said not in (*CHOICES, "stop"):
            return False
        with self._lock:
            if said == "stop":
                self._stopped = True
            elif self._left and form.get("number") == [str(self._left[0][0].number)]:
                comparison, swapped = self._left.pop(0)
                side = CHOICES[said]
                self._record(comparison, side if side is None else side ^ int(swapped))
                self._stopped = not self._left
        return True

    def close_when_done(self) -> None:
        """End `serve` after the last answer, from another thread: `shutdown` waits for `serve`."""
        if self._stopped:
            threading.Thread(target=self._server.shutdown, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self._ours():
                    found = self.path == "/"
                    self._reply(200 if found else 404, page.page() if found else "no such page")

            def do_POST(self) -> None:
                if not self._ours():
                    return
                length = self.headers.get("Content-Length", "")
                size = min(int(length), LONGEST) if length.isdecimal() else 0
                text = self.rfile.read(size).decode("utf-8", "replace")
                if page.answer(parse_qs(text)):
                    self._reply(200, page.page())
                    page.close_when_done()
                else:
                    self._reply(403, "not an answer from this page; load it again")

            def _ours(self) -> bool:
                name = self.headers.get("Host", "")
                if name in [f"{host}:{page.port}" for host in LOOPBACK]:
                    return True
                self._reply(403, f"this page is {page.address}, not {name!r}")
                return False

            def _reply(self, status: int, text: str) -> None:
                body = text.encode("utf-8")
                kind = "text/html" if status == 200 else "text/plain"
                self.send_response(status)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.send_header("X-Frame-Options", "DENY")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing to the terminal."""

        return Handler
