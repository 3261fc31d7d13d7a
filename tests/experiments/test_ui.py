"""The MLflow UI as a person meets it: a real server, a real browser, the pages we point to."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tracking.mlflow_client import ui_command
from core.tracking.mlflow_store import MlflowTracker, open_tracker
from experiments.single_run.run import run
from experiments.ui import study_pages
from studies.definition import load_study
from studies.report import publish
from studies.running.execute import begin, work
from studies.running.storage import storage_url
from tests.cluster.studies import TINY
from tests.conftest import ROOT, tiny
from variants import registry

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
WAIT = 60_000  # milliseconds


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[MlflowTracker, str]]:
    """A store with a run and a study, and the address of its UI."""
    tracker = open_tracker()
    run(tiny(), tracker=tracker)
    overrides = [*TINY, "study.seeds=2", "study.axes.next_input=['noise']", "evaluation.every=1",
                 "study.axes.noise_mapping=['full']", "study.name='seen'"]  # fmt: skip
    study = load_study(ROOT / "experiments" / "smoke" / "design_axes.toml", overrides, registry())
    url = storage_url(tracker)
    begin(study, "seen", tracker, url, "textgan study")
    work("seen", tracker, url, run, registry())  # type: ignore[arg-type]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, environment = ui_command(tracker.uri, tracker.store_dir, port)
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if _answers(address):
                break
            time.sleep(0.25)
        yield tracker, address
    finally:
        server.terminate()
        server.wait(20)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_runs_sentences_and_leaderboard_are_there_to_see(
    served: tuple[MlflowTracker, str],
) -> None:
    from playwright.sync_api import expect, sync_playwright

    tracker, address = served
    record = tracker.runs("runs")[0]
    _, link = publish(tracker, "seen")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(WAIT)
        page.goto(f"{address}/{tracker.link('runs', record.run_id)}")
        expect(page.get_by_text(record.name).first).to_be_visible(timeout=WAIT)
        expect(page.get_by_text("updates in", exact=False).first).to_be_visible(timeout=WAIT)

        page.goto(f"{address}/#/experiments/{_experiment(tracker, 'runs')}/runs/"
                  f"{record.run_id}/artifacts/samples.html")  # fmt: skip
        shown = page.frame_locator("iframe").get_by_text("fixed latent", exact=False)
        expect(shown.first).to_be_visible(timeout=WAIT)

        page.goto(f"{address}/{link}")
        expect(page.get_by_text("gumbel_softmax", exact=False).first).to_be_visible(timeout=WAIT)
        expect(page.get_by_text("score_low").first).to_be_visible(timeout=WAIT)
        expect(page.get_by_text("real held-out text").first).to_be_visible(timeout=WAIT)
        heads = [page.locator(f".ag-header-cell[col-id='metrics.`{name}`']").first
                 for name in ("score", "score_low", "score_high")]  # fmt: skip
        places = [int(head.get_attribute("aria-colindex") or 0) for head in heads]
        assert places == [places[0], places[0] + 1, places[0] + 2]
        assert page.get_by_text("seed 0", exact=False).count() == 0, "the view shows variants alone"

        page.goto(f"{address}/{tracker.sentences_link('seen', 'eval/unique', False)}")
        expect(page.get_by_text("last · #00").first).to_be_visible(timeout=WAIT)

        parent = tracker.runs("seen", tags={"level": "study"})[0]
        page.goto(f"{address}/{tracker.link('seen', parent.run_id)}")
        with page.expect_popup() as opened:  # links of a description open a tab
            page.get_by_role("link", name="report", exact=True).click()
        report = opened.value.frame_locator("iframe")
        expect(report.get_by_role("heading", name="Summary")).to_be_visible(timeout=WAIT)
        expect(report.get_by_text("has the highest score on").first).to_be_visible(timeout=WAIT)
        assert report.locator("svg.figure").count() >= 3

        variant = tracker.runs("seen", tags={"rank": "001"})[0]
        page.goto(f"{address}/{tracker.link('seen', variant.run_id)}")
        with page.expect_popup() as opened:
            page.get_by_role("link", name="seed 0", exact=True).click()
        expect(opened.value.get_by_text("textgan reproduce").first).to_be_visible(timeout=WAIT)

        curves = browser.new_page()  # as links of a description open it
        curves.goto(f"{address}/{study_pages(tracker, 'seen')['curves']}")
        first = curves.get_by_role("heading", level=4).first
        expect(first).to_have_text("eval/ms_jaccard_2", timeout=WAIT)
        browser.close()


def _experiment(tracker: MlflowTracker, name: str) -> str:
    return tracker.link(name).split("/")[2]
