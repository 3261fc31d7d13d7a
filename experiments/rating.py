"""`textgan rate`: comparisons of a study's sentences, in the terminal or on a web page of this
machine, and results on record.

The page's server listens on loopback only. A web page elsewhere can make a browser send requests to
it, under a name of its own (DNS rebinding) or as a form. So requests for other hosts are refused,
and so are answers without the token of our own page. Every sentence is escaped, and nothing on the
page tells the source of a sentence.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import typer
from rich.markdown import Markdown

from core.errors import InputError
from core.plural import count
from core.tracking.mlflow_client import LOOPBACK
from core.tracking.protocol import ENDED, RunRecord, RunTracker, Tracker, study_run
from experiments.console import stderr, stdout, table
from experiments.corpora import corpus_of
from studies import ratings
from studies.leaderboard import seed_runs, variant_runs
from studies.ratings import Answer, SentencePair
from studies.report import environment
from studies.sections import last_samples

Questions = Sequence[tuple[SentencePair, bool]]  # the flag: show the second sentence first
OnAnswer = Callable[[SentencePair, int | None], None]  # the preferred side, None for neither
QUESTIONS = {"better": "Which is better?", "real": "Which did a person write?"}
SIDES: dict[str, int | None] = {"1": 0, "2": 1, "=": None}
STOP = "q"
LONGEST = 10_000  # bytes of an answer on the page
PAGE = environment().get_template("rating.html")


def sources(tracker: Tracker, study: str, kind: str) -> dict[str, list[str]]:
    """The sentences of each variant at its runs' last step, and for `kind` "real" those of
    held-out real text. InputError for an unknown study, or one without sentences.
    """
    experiment = study_run(tracker, study).experiment
    found: dict[str, list[str]] = {}
    trained = None
    for run in seed_runs(tracker, experiment):
        if run.outcome not in ENDED:
            continue
        if "imported" not in run.tags:
            trained = run
        texts = [each["text"] for each in last_samples(tracker, run.run_id)]
        kept = [text for text in texts if text.strip()]
        found.setdefault(run.variant, []).extend(kept)
    if not found:
        raise InputError(f"study {study!r} has no sentences yet; wait for a run to end")
    if kind == "real":
        if trained is None:
            raise InputError(f"study {study!r}: all its runs are imported, without real text")
        corpus = corpus_of(tracker, trained.run_id)
        found[ratings.REAL] = [" ".join(words) for words in corpus.test.sentences(500)]
    return found


def questions(tracker: Tracker, study: str, kind: str, rater: str, n: int) -> Questions:
    """The comparisons that a rater has not answered yet, in the rater's order."""
    given = ratings.answers(tracker.store_dir, study)
    done = {each.number for each in given if (each.rater, each.kind) == (rater, kind)}
    made = ratings.comparisons(study, kind, sources(tracker, study, kind), n)
    order = ratings.session(made, rater)
    return [(each, swapped) for each, swapped in order if each.number not in done]


def recorder(tracker: Tracker, study: str, kind: str, rater: str) -> OnAnswer:
    """A function that keeps a rater's answers."""

    def record(comparison: SentencePair, side: int | None) -> None:
        first, second = comparison.first_source, comparison.second_source
        preferred = ratings.TIE if side is None else (first, second)[side]
        answer = Answer(study, kind, rater, comparison.number, first, second, preferred)
        ratings.keep(tracker.store_dir, answer)

    return record


def ask_in_terminal(asked: Questions, kind: str, record: OnAnswer) -> None:
    """Ask until the last question or until the rater stops."""
    for number, (comparison, swapped) in enumerate(asked, start=1):
        stderr.print(f"\n{number} of {len(asked)}")
        texts = [comparison.first, comparison.second]
        for key, text in zip("12", texts[::-1] if swapped else texts, strict=True):
            stderr.print(f"  {key}  {text}", markup=False)
        said = ""
        while said not in (*SIDES, STOP):
            prompt = f"{QUESTIONS[kind]} 1, 2, = for neither, q to stop"
            said = typer.prompt(prompt, err=True).strip().lower()
        if said == STOP:
            return
        side = SIDES[said]
        record(comparison, side if side is None else side ^ int(swapped))


def publish(tracker: Tracker, study: str) -> dict[str, Any]:
    """Log the results to the study's run and to its variants' runs, which stay as they are: running
    or ended, with their outcome.
    """
    found = ratings.results(tracker, study)
    own = study_run(tracker, study)
    given: list[Answer] = ratings.answers(tracker.store_dir, own.study)
    parent = tracker.continue_run(own.run_id)
    lines = "\n".join(json.dumps(vars(answer), ensure_ascii=False) for answer in given)
    parent.log_text(lines + "\n", "ratings/answers.jsonl")
    parent.log_text(json.dumps(found, indent=2, ensure_ascii=False), "ratings/results.json")
    for name in ("agreement", "kappa"):
        if found[name] is not None:
            parent.log_metrics(_metrics(f"human/{name}", found[name]), len(given))
    _leave(parent, own)
    for name, variant in variant_runs(tracker, own.experiment).items():
        if name in found["preferred"] and not variant.deleted:
            record = tracker.continue_run(variant.run_id)
            values = _metrics("human/preferred", found["preferred"][name])
            record.log_metrics(values, len(given))
            _leave(record, variant)
    return found


def _leave(run: RunTracker, before: RunRecord) -> None:
    """Stop writing a run and give it back the status that it had."""
    if before.status == "RUNNING":
        run.flush()
    else:
        run.end(before.status)


def _metrics(name: str, found: dict[str, float]) -> dict[str, float | None]:
    return {name: found["value"], f"{name}_low": found["low"], f"{name}_high": found["high"]}


def show(found: dict[str, Any]) -> None:
    """Print the sections of the report on preferences, agreement and correlations."""
    for section in ratings.sections_of(found):
        rows = [list(row) for row in section.rows]
        stdout.print(table(list(section.columns), rows, f"{found['study']}: {section.title}"))
        stdout.print(Markdown(section.explanation))


def ask_on_page(asked: Questions, kind: str, port: int, record: OnAnswer) -> None:
    """Serve the questions until the last answer, or until the rater stops or presses Ctrl-C."""
    if not asked:
        stderr.print("every comparison is answered")
        return
    page = RatingPage(asked, kind, port, record)
    stderr.print(
        f"{page.address}: {count(len(asked), 'question')}; Ctrl-C ends it and keeps the answers"
    )
    with suppress(KeyboardInterrupt):
        page.serve()


class RatingPage:
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
        with self._lock:
            left, stopped = list(self._left), self._stopped
        done = self._count - len(left)
        if stopped:
            place = f"{done} of {self._count} answered. This page can be closed."
            return PAGE.render(title="Thank you", place=place)
        comparison, swapped = left[0]
        texts = [comparison.first, comparison.second]
        return PAGE.render(
            title=self._question,
            question=self._question,
            place=f"{done + 1} of {self._count}",
            texts=texts[::-1] if swapped else texts,
            number=comparison.number,
            token=self._token,
        )

    def answer(self, form: dict[str, list[str]]) -> bool:
        """Record an answer, once even if it was sent twice; False for a form of another page. After
        an error the question is asked again.
        """
        said = form.get("said", [""])[0]
        if form.get("token") != [self._token] or said not in (*SIDES, STOP):
            return False
        with self._lock:
            if said == STOP:
                self._stopped = True
            elif self._left and form.get("number") == [str(self._left[0][0].number)]:
                comparison, swapped = self._left[0]
                side = SIDES[said]
                self._record(comparison, side if side is None else side ^ int(swapped))
                del self._left[0]
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
                try:
                    is_ours = page.answer(parse_qs(text))
                except OSError as error:
                    self._reply(500, f"the answer was not kept ({error}); go back and repeat it")
                    return
                if is_ours:
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
