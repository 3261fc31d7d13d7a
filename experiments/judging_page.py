"""`textgan judge --page`: the comparisons on a page of this machine, one at a time.

The server listens on loopback alone. A page elsewhere can make a browser ask it under a foreign
name (DNS rebinding) or send it a form, so requests for other hosts are refused, and so are answers
without the token that only its own page has. Every sentence is escaped. Nothing on the page says
where a sentence is from.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from jinja2 import Environment

from core.errors import InputError
from core.tracking.mlflow_client import LOOPBACK
from studies.judgement import Comparison

LONGEST = 10_000  # bytes of an answer
QUESTIONS = {"better": "Which is better?", "real": "Which did a person write?"}
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
Asked = Sequence[tuple[Comparison, bool]]


class JudgingPage:
    """A server of one rater's comparisons; `say` hears each answer: 0 first, 1 second, None."""

    def __init__(
        self, asked: Asked, kind: str, port: int, say: Callable[[Comparison, int | None], None]
    ) -> None:
        self._left = list(asked)
        self._count = len(self._left)
        self._question = QUESTIONS[kind]
        self._say = say
        self._token = secrets.token_urlsafe(16)
        self._turn = threading.Lock()
        self._stopped = not self._left
        try:
            self._server = ThreadingHTTPServer((LOOPBACK[0], port), self._handler())
        except OSError as error:
            raise InputError(
                f"--port {port}: cannot listen there ({error.strerror}); leave --port out for a "
                f"free one"
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
        """The page as it stands now."""
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
        """Take an answer; False for a form that is not of this page. One that was sent twice
        counts once.
        """
        said = form.get("said", [""])[0]
        if form.get("token") != [self._token] or said not in (*CHOICES, "stop"):
            return False
        with self._turn:
            if said == "stop":
                self._stopped = True
            elif self._left and form.get("number") == [str(self._left[0][0].number)]:
                comparison, swapped = self._left.pop(0)
                side = CHOICES[said]
                self._say(comparison, side if side is None else side ^ int(swapped))
                self._stopped = not self._left
        return True

    def close_when_done(self) -> None:
        """End `serve` after the last answer; not from its own thread, which it would wait for."""
        if self._stopped:
            threading.Thread(target=self._server.shutdown, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self
        hosts = LOOPBACK

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
                    self._reply(403, "this is no answer of this page; load it again")

            def _ours(self) -> bool:
                name = self.headers.get("Host", "")
                if name in [f"{host}:{page.port}" for host in hosts]:
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
                """The terminal stays quiet."""

        return Handler
