"""Trials that race over tuning seeds (`studies/tuning.py`)."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks import racing
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from experiments.estimate import Estimate, show_plan
from experiments.loading import resolve_file
from studies.definition import load_study
from studies.plan import Done, Limit
from studies.report import read, sections
from studies.running.execute import resume, work
from studies.running.queue import load_queue
from studies.running.storage import storage_url
from tests.conftest import ROOT
from tests.studies.test_search import Landscape, go, plan, results
from variants import registry

RACE = ("study.tuning_seeds=3", "study.trials=8", "study.finalists=2", "study.pruner='none'",
        "study.sampler='random'")  # fmt: skip


def runs_of_trials(url: str) -> dict[str, list[Done]]:
    """The results of each trial, in the order of its tuning seeds."""
    found: dict[str, list[Done]] = {}
    for each in sorted(results(url), key=lambda each: each.seed):
        if each.settings:
            found.setdefault(each.variant, []).append(each)
    return dict(sorted(found.items()))


def told(url: str) -> list[float]:
    return [trial.value or 0.0 for trial in load_queue("search_smoke / search", url).trials]


def test_trials_race_over_tuning_seeds(tmp_path: Path) -> None:
    tracker, url = go(tmp_path, plan(*RACE), training := Landscape(noise=0.5))
    further = [f"trial 000 · seed {seed}" for seed in (1001, 1002)]
    assert training.names[:4] == ["trial 000", *further, "trial 001"], (
        "the first is the best so far"
    )
    trials = runs_of_trials(url)
    scores = {name: [each.scores["eval/ms_jaccard_2"] or 0.0 for each in runs]
              for name, runs in trials.items()}  # fmt: skip
    for place, (name, own) in enumerate(scores.items()):
        for n in range(1, 4):
            earlier = [s for s in [*scores.values()][:place] if len(s) >= n]
            better = sum(fmean(each[:n]) > fmean(own[:n]) for each in earlier)
            if n < 3:
                assert (better < (len(earlier) + 3) // 3) == (len(own) > n), (name, n)
            if len(own) == n:
                break
    counts = [len(own) for own in scores.values()]
    assert {*counts} >= {1, 3}
    assert all(len({str(each.settings) for each in runs}) == 1 for runs in trials.values())
    assert told(url) == pytest.approx([fmean(own) for own in scores.values()])

    means = {name: (len(own), fmean(own)) for name, own in scores.items()}
    best = sorted(means.keys() - {"trial 000"}, key=lambda name: means[name])[-2:]
    reading = read(tracker, "search_smoke")
    assert {row.variant for row in reading.board.rows} == {"published", *best}
    assert {seed for row in reading.board.rows for seed in row.seed_runs} == {0, 1, 2}
    assert len(reading.trials) == 8
    found = {section.key: section for section in sections(reading)}
    shown = {row[0]: row for row in found["trials"].rows}
    assert [int(shown[name][1]) for name in scores] == counts
    assert float(shown["trial 000"][3]) == pytest.approx(means["trial 000"][1], abs=1e-4)
    assert "1000, 1001, 1002" in found["trials"].explanation
    assert "other seeds" in found["trials"].explanation
    assert found["tuning"].rows[0][1:3] == ["1", f"{fmean(map(fmean, scores.values())):.4f}"]
    resume("search_smoke", url, plan(*RACE))
    work("search_smoke", tracker, url, again := Landscape(), registry())
    assert again.names == []


@pytest.mark.parametrize("at", ["trial 001", "trial 001 · seed 1002"])
def test_a_race_goes_on_after_an_interrupt_as_if_there_was_none(tmp_path: Path, at: str) -> None:
    def interrupt(name: str) -> None:
        if name == at:
            raise KeyboardInterrupt

    results = []
    for place, breaks in (("a", None), ("b", interrupt)):
        (tmp_path / place).mkdir()
        training = Landscape(noise=0.5)
        training.breaks = breaks or training.breaks
        study = plan(*RACE, "study.sampler='tpe'")
        with pytest.raises(KeyboardInterrupt) if breaks else nullcontext():
            go(tmp_path / place, study, training)
        url = storage_url(tracker := MemoryTracker(tmp_path / place))
        if breaks:
            resume("search_smoke", url, study)
            work("search_smoke", tracker, url, Landscape(noise=0.5), registry())
        results.append((told(url), runs_of_trials(url)))
    (values, trials), (values_again, trials_again) = results
    assert values_again == pytest.approx(values)
    assert {n: (len(r), r[0].settings) for n, r in trials.items()} == {
        n: (len(r), r[0].settings) for n, r in trials_again.items()
    }


def test_a_trial_with_a_failed_run_leaves_the_race() -> None:
    kind = plan(*RACE).kind
    metric = "eval/ms_jaccard_2"

    def result(trial: int, seed: int, score: float, outcome: str = "ok") -> Done:
        return Done(f"trial 00{trial}", seed, outcome, {metric: score}, proposal=trial)

    done = [result(0, 1000, 0.9), result(0, 1001, 0.9, "diverged"), result(1, 1000, 0.8)]
    now = kind.plan(done)
    assert [job.key for job in now.jobs if job.key not in {each.key for each in done}] == [
        ("trial 001", 1001)
    ]
    assert [job.key for job in now.ahead] == [(f"trial 00{place}", 1000) for place in range(2, 8)]
    (over,) = now.over
    assert (over.outcome, over.runs, over.scores[metric]) == ("diverged", 2, pytest.approx(0.9))
    assert kind.plan(done[::-1]) == now, "whatever the order of the results"
    # While a trial runs, others do not wait for it. With the time for searching all are over.
    assert kind.plan(done[:1]).ahead[0].key == ("trial 001", 1000)
    closed = kind.plan(done, Limit(closed=True))
    assert [each.runs for each in closed.over] == [2, 1]
    assert {job.variant.name for job in closed.jobs if job.level == "seed"} == {
        "published", "trial 001"
    }  # fmt: skip


def test_systems_of_a_comparison_race_each_for_itself(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\nmetric = "eval/ms_jaccard_2"\n'
        'seeds = 2\ntrials = 4\ntuning_seeds = 2\nsystems = ["mle", "seqgan"]\n'
        "[study.budget]\nupdates = 20\n"
    )
    training = Landscape(noise=0.5)
    tracker, _ = go(tmp_path, load_study(file, [], registry(), resolve_file), training)
    assert training.names[:2] == ["mle · trial 000", "mle · trial 000 · seed 1001"]
    assert training.names[2] == "seqgan · trial 000", "in turn"
    counts = {run.variant: run.tags["runs"] for run in read(tracker, "c").trials}
    assert len(counts) == 8
    assert [counts[f"{arm} · trial 000"] for arm in ("mle", "seqgan")] == ["2", "2"]


def test_a_race_says_how_many_runs_it_expects(capsys: pytest.CaptureFixture[str]) -> None:
    study = plan(*RACE)
    tracker = MemoryTracker(Path())
    show = partial(show_plan, study, Limit(), tracker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.estimate.estimate", lambda *_: Estimate(1.0, 0, "a guess"))
        show(as_json=True)
        found = json.loads(capsys.readouterr().out)
        show(as_json=False)
    # 8 trials, 9 final runs; trial n is among the best third with probability ceil(n / 3) / n.
    second = 1 + 1 / 2 + 1 / 3 + 2 / 4 + 2 / 5 + 2 / 6 + 3 / 7 + 3 / 8
    third = 1 + 1 / 2 + 1 / 3 + 2 / 4
    assert (found["runs"], found["most_runs"]) == (8 + 9 + round(second + third), 3 * 8 + 9)
    assert "(at most 33)" in " ".join(capsys.readouterr().out.split())


def test_only_searches_have_tuning_seeds() -> None:
    with pytest.raises(InputError, match="tuning_seeds"):
        load_study(ROOT / "experiments" / "smoke" / "design_axes.toml", ["study.tuning_seeds=3"],
                   registry(), resolve_file)  # fmt: skip
    objectives = "study.objectives=['eval/ms_jaccard_2', 'eval/self_bleu_2']"
    with pytest.raises(InputError, match="tuning_seeds above 1 needs a single objective"):
        plan(*RACE, objectives, "study.sampler='nsga2'")
    with pytest.raises(InputError, match=r"tuning_seed 1001 is one of study\.seeds"):
        plan(*RACE, "study.seeds=[1001, 5]")


@pytest.mark.parametrize(("ratio", "rivals"), [(1.0, ("one seed",)), (0.3, ("all seeds",))])
def test_racing_chooses_better_settings_with_as_many_runs(
    ratio: float, rivals: tuple[str, ...]
) -> None:
    loss = {rule: racing.simulated("random", ratio, 60, rule)["one"]
            for rule in ("race", *rivals)}  # fmt: skip
    assert all(loss["race"] < 0.9 * loss[rival] for rival in rivals), loss
