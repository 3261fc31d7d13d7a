"""Constraints of searches: what is refused, who becomes a finalist, what Optuna and reports say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from core.errors import InputError
from experiments.loading import resolve_file
from experiments.single_run.run import run
from studies.definition import load_study
from studies.plan import Done
from studies.report import build, document, read, register, sections
from studies.running.execute import begin
from studies.running.proposals import Proposals
from studies.running.queue import load_queue, progress
from studies.tuning import TuningTable, finalists
from tests.conftest import ROOT
from tests.studies.test_search import Landscape, go, plan, results
from variants import registry

STUDIES = ROOT / "experiments" / "smoke"
# In the landscape the score is best at a rate of 2e-3, and self_bleu_2 falls with the rate: these
# rates are at most 6.3e-4.
LOW = "eval/self_bleu_2 >= 0.55"
SETTLED = ("study.pruner='none'", "study.trials=16", "study.finalists=2")


def constrained(*given: str, more: tuple[str, ...] = SETTLED) -> Any:
    return plan(f"study.constraints={json.dumps(given)}", *more)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("eval/copid <= 0.05", "no metric 'eval/copid'; did you mean 'eval/copied'?"),
        ("copied <= 0.05", "no metric 'copied'; did you mean 'eval/copied'?"),
        ("test/copied <= 0.05", "did you mean 'eval/copied'?"),
        ("eval/lm <= 3", "only `textgan evaluate` does"),
        ("eval/copied < 0.05", "must be a metric, <= or >=, and a number, as in 'eval/copied <="),
        ("eval/copied == 0.05", "must be a metric, <= or >=, and a number"),
        ("0.05 >= eval/copied", "'eval/copied' is not a number"),
        ("eval/copied <= 5%", "'5%' is not a number"),
        ("eval/copied <= nan", "'nan' is not a number"),
        ("eval/length <= inf", "'inf' is not a number"),
        ("eval/unique >= 90", "eval/unique is between 0 and 1"),
        ("eval/jsd <= 0.1", "study.constraints = 'eval/jsd'"),
    ],
)
def test_a_constraint_that_cannot_be_checked_is_refused(constraint: str, words: str) -> None:
    further = ("corpus.source='my.txt'",) if "jsd" in constraint else ()
    with pytest.raises(InputError) as caught:
        constrained(constraint, more=further)
    assert words in str(caught.value)
    assert "study.constraints" in str(caught.value)


def test_constraints_are_a_list_without_repetitions() -> None:
    with pytest.raises(InputError, match=r"'eval/unique >= 0\.9' is listed twice"):
        constrained("eval/unique >= 0.9", "eval/unique>=.90")
    with pytest.raises(InputError, match="must be a list"):
        plan("study.constraints='eval/unique >= 0.9'")
    study = constrained("eval/unique>=.5", "eval/unique <= 9e-1")
    assert [*map(str, study.table.constraints)] == ["eval/unique >= 0.5", "eval/unique <= 0.9"]
    assert "Finalists keep `eval/unique >= 0.5` and" in study.kind.describe()
    race = plan("study.tuning_seeds=2", "study.pruner='none'").kind.describe()
    assert race.startswith("6 trials (tpe, pruning: none), each with 1 to 2 tuning seeds (")


@pytest.mark.parametrize("sampler", ["random", "quasi_random", "cma_es"])
def test_a_sampler_that_ignores_constraints_is_refused(sampler: str) -> None:
    with pytest.raises(InputError, match=f"{sampler}' cannot use constraints; use 'tpe', 'gp' or"):
        constrained(LOW, more=(f"study.sampler='{sampler}'",))


@pytest.mark.parametrize(
    ("file", "key", "others"),
    [
        ("design_axes.toml", "constraints=['eval/unique >= 0.9']", "'comparison' and 'search'"),
        ("design_axes.toml", "tuning_seeds=3", "'comparison' and 'search'"),
        ("search.toml", "axes={}", "'ablation'"),
        ("design_axes.toml", "from='mle'", "'path'"),
    ],
)
def test_a_key_of_other_kinds_is_named_with_its_kinds(file: str, key: str, others: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(STUDIES / file, [f"study.{key}"], registry(), resolve_file)
    assert f"study.{key.partition('=')[0]}: not a key of kind" in str(caught.value)
    assert f"only of kind {others}" in str(caught.value)


def test_finalists_keep_the_constraints_as_long_as_a_trial_does(tmp_path: Path) -> None:
    study = constrained(LOW, "eval/ms_jaccard_2 <= 1")
    tracker, url = go(tmp_path, study, Landscape())
    reading = read(tracker, "search_smoke")
    trials = document(reading)["trials"]
    keeping = [each for each in trials if not each["breaks"]]
    assert 2 < len(keeping) < 16
    assert trials[: len(keeping)] == keeping, "before the others"
    for each in trials:
        kept = each["metrics"]["eval/self_bleu_2"] >= 0.55
        assert each["breaks"] == ([] if kept else [LOW])
        assert kept == (each["settings"]["train.generator_lr"] <= 2e-3 * 10**-0.5)
    excess = [-each["metrics"]["eval/self_bleu_2"] for each in trials[len(keeping) :]]
    assert excess == sorted(excess), "those that break them least are before the others"
    scores = [each["metrics"]["eval/ms_jaccard_2"] for each in keeping]
    assert scores == sorted(scores, reverse=True)
    assert max(each["metrics"]["eval/ms_jaccard_2"] for each in trials) > scores[0]
    best = [each["trial"] for each in keeping if each["trial"] != "trial 000"][:2]
    assert {row.variant for row in reading.board.rows} == {"published", *best}

    found = {section.key: section for section in sections(reading)}
    table = [dict(zip(found["trials"].columns, row, strict=True)) for row in found["trials"].rows]
    assert [row["breaks"] for row in table] == [
        ", ".join(each["breaks"]) or "none" for each in trials
    ]
    assert {row[1] for row in found["tuning"].rows} >= {"1", "16"}
    (last,) = (row for row in found["tuning"].rows if row[1] == "16")
    assert float(last[2]) == pytest.approx(scores[0], abs=1e-3), "no broken trial is the best"
    assert "keep all constraints" in found["constraints"].explanation
    assert f"{len(keeping)} of 16 trials" in found["constraints"].explanation
    assert not found["constraints"].findings

    # What Optuna's samplers and optuna-dashboard read.
    optuna = load_queue("search_smoke / search", url)
    by_trial = {each.variant: each for each in results(url) if each.settings}
    for each in by_trial.values():
        stored = optuna.trials[each.proposal].system_attrs["constraints"]
        scores = each.scores
        assert stored == pytest.approx([
            0.55 - (scores["eval/self_bleu_2"] or 0), (scores["eval/ms_jaccard_2"] or 0) - 1
        ])  # fmt: skip
    assert optuna.best_trial.value == max(each["metrics"]["eval/ms_jaccard_2"] for each in keeping)
    state = progress(load_queue("search_smoke", url), study.table)
    assert state.best_variant in {*best, "published"}, "also in the progress"


def test_the_best_row_that_keeps_the_constraints_is_registered(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    tracker, _ = go(tmp_path, constrained(LOW), Landscape())
    first, second, *_ = read(tracker, "search_smoke").board.rows
    for run_id in (*first.seed_runs.values(), *second.seed_runs.values()):
        tracker.continue_run(run_id).log_model(tmp_path / "weights")
    assert register(read(tracker, "search_smoke"), "writer")[0] in first.seed_runs.values()
    for run_id in first.seed_runs.values():
        tracker.continue_run(run_id).log_metrics({"test/self_bleu_2": 0.1}, 1000)
    assert register(read(tracker, "search_smoke"), "writer")[0] in second.seed_runs.values()


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 16), ("gp", 8), ("nsga2", 16)])
def test_samplers_learn_from_constraints(sampler: str, trials: int, tmp_path: Path) -> None:
    rates = []
    for place, study in (("free", plan), ("kept", constrained)):
        (tmp_path / place).mkdir()
        more = ("study.pruner='none'", f"study.trials={trials}", f"study.sampler='{sampler}'",
                "study.seeds=1")  # fmt: skip
        made = study(*more) if place == "free" else study(LOW, more=more)
        _, url = go(tmp_path / place, made, Landscape())
        done = sorted((each for each in results(url) if each.settings), key=lambda e: e.proposal)
        rates.append([each.settings["train.generator_lr"] for each in done])
    free, kept = rates
    assert free[:2] == kept[:2], "before there is anything to learn"
    limit = 2e-3 * 10**-0.5
    assert sum(rate <= limit for rate in kept) > sum(rate <= limit for rate in free)


def test_without_a_trial_that_keeps_them_finalists_break_constraints_least(tmp_path: Path) -> None:
    study = constrained("eval/self_bleu_2 >= 0.9", "eval/nll_gen <= 3")
    tracker, url = go(tmp_path, study, Landscape())
    assert progress(load_queue("search_smoke", url), study.table).best is None
    reading = read(tracker, "search_smoke")
    trials = document(reading)["trials"]
    assert all(each["breaks"] == ["eval/self_bleu_2 >= 0.9", "eval/nll_gen <= 3 (no value)"]
               for each in trials)  # fmt: skip
    with pytest.raises(InputError, match="no row keeps its constraints"):
        register(reading, "writer")
    report = build(reading)
    assert any("No trial keeps all constraints; its finalists are those that break them least" in s
               for s in report.findings)  # fmt: skip
    rows = {section.key: section.rows for section in report.sections}["constraints"]
    assert all("(broken)" in cell for row in rows for cell in row[1:])
    assert {row[2] for row in rows} == {"no value (broken)"}


def result(trial: int, score: float, unique: float | None, **given: Any) -> Done:
    metrics = {"eval/ms_jaccard_2": score, "eval/unique": unique}
    seed = given.pop("seed", 1000)
    return Done(f"trial 00{trial}", seed, given.pop("outcome", "ok"), metrics, proposal=trial,
                **given)  # fmt: skip


UNIQUE = "eval/unique >= 0.9"


def table(*more: str) -> TuningTable:
    found = constrained(UNIQUE, more=more).table
    assert isinstance(found, TuningTable)
    return found


def test_who_is_a_finalist() -> None:
    ours = table("study.finalists=3")
    good, better = result(1, 0.5, 0.9), result(2, 0.6, 1.0)
    broken, unknown = result(3, 0.9, 0.89), result(4, 0.9, None)
    collapsed = result(5, 0.9, 1.0, outcome="collapsed")
    every = [good, better, broken, unknown, collapsed]
    assert finalists(every, ours) == [better, good]
    assert finalists([unknown, broken, result(6, 0.1, 0.895)], ours) == [
        result(6, 0.1, 0.895), broken, unknown
    ], "the least violation"  # fmt: skip
    published = result(0, 0.1, 1.0, published=True)
    assert finalists([broken, published], ours) == [], "the published settings run again anyway"
    assert finalists([broken, replace(published, outcome="diverged")], ours) == [broken]
    raced = replace(broken, runs=3), replace(good, runs=2), better
    assert finalists(raced, ours) == [raced[1], better]


def test_of_several_objectives_the_front_is_of_trials_that_keep_the_constraints() -> None:
    names = "['eval/ms_jaccard_2', 'eval/bleu_2']"
    ours = table(f"study.objectives={names}", "study.sampler='nsga2'", "study.pruner='none'",
                 "study.finalists=2")  # fmt: skip
    trials = [
        replace(each, scores={**each.scores, "eval/bleu_2": bleu})
        for each, bleu in (
            (result(1, 0.5, 0.9), 0.5), (result(2, 0.6, 0.9), 0.3), (result(3, 0.9, 0.8), 0.9),
            (result(4, 0.4, 0.9), 0.4),
        )
    ]  # fmt: skip
    assert [each.proposal for each in finalists(trials, ours)] == [2, 1]
    worse = replace(trials[2], proposal=5, scores={**trials[2].scores, "eval/bleu_2": 0.1,
                                                   "eval/unique": 0.85})  # fmt: skip
    assert [each.proposal for each in finalists([trials[2], worse], ours)] == [5, 3]


def test_trials_that_keep_the_constraints_win_the_race() -> None:
    kind = constrained(UNIQUE, more=("study.tuning_seeds=3", "study.trials=8",
                                     "study.pruner='none'")).kind  # fmt: skip

    def next_seeds(*done: Done) -> set[tuple[str, int]]:
        ended = {each.key for each in done}
        return {job.key for job in kind.plan(done).jobs if job.key not in ended}

    first = result(0, 0.9, 0.8)
    assert next_seeds(first) == {("trial 000", 1001)}, "the best so far"
    assert next_seeds(first, result(1, 0.2, 0.95)) == {("trial 000", 1001), ("trial 001", 1001)}
    assert next_seeds(first, result(1, 0.99, 0.7)) == {("trial 000", 1001)}
    # The mean over seeds counts: .95 and .80 are .875.
    seeds = result(1, 0.2, 0.95), result(1, 0.2, 0.80, seed=1001)
    again = result(0, 0.9, 0.80), result(0, 0.9, 0.96, seed=1001)
    assert next_seeds(*again, *seeds) == {("trial 000", 1002)}
    over = kind.plan([*again, *seeds]).over
    assert [each.scores["eval/unique"] for each in over] == pytest.approx([0.875])


def test_of_trials_that_break_constraints_alike_the_best_is_first(tmp_path: Path) -> None:
    training = Landscape()
    training.further = lambda distance: {"eval/unique": float(distance < 0)}
    tracker, _ = go(tmp_path, constrained(UNIQUE), training)
    trials = document(read(tracker, "search_smoke"))["trials"]
    broken = [each["metrics"]["eval/ms_jaccard_2"] for each in trials if each["breaks"]]
    assert 1 < len(broken) < 16
    assert broken == sorted(broken, reverse=True)


def test_in_the_table_kept_constraints_are_worth_more_than_seeds(tmp_path: Path) -> None:
    study = constrained(LOW, more=("study.tuning_seeds=2", "study.trials=9", "study.pruner='none'",
                                   "train.generator_lr=5e-3"))  # fmt: skip
    tracker, _ = go(tmp_path, study, Landscape())
    trials = document(read(tracker, "search_smoke"))["trials"]
    (first,) = (each for each in trials if each["trial"] == "trial 000")
    assert (first["tuning_seeds"], first["breaks"]) == (2, [LOW])
    assert not trials[0]["breaks"]
    assert [bool(each["breaks"]) for each in trials] == sorted(bool(e["breaks"]) for e in trials)
    alone = [each for each in trials if not each["breaks"] and each["tuning_seeds"] == 1]
    assert alone, "before the first trial, which has more seeds"


def test_optuna_is_told_of_failed_and_pruned_trials(tmp_path: Path) -> None:
    study = constrained(UNIQUE)
    _, url = go(tmp_path, constrained("eval/self_bleu_2 >= 0.1"), Landscape())
    arm = study.kind.arms()[0]
    proposals = Proposals("s", arm, url)
    proposals.begin()
    for place in range(5):
        proposals.ask(place)
    proposals.tell(0, [0.5], [2.5], stopped=False)
    proposals.tell(1, [None], [-0.1], stopped=False)  # collapsed: its text may well be unique
    proposals.tell(2, [0.6], [float("inf")], stopped=False)
    proposals.tell(3, [0.6], [0.2], stopped=True)
    proposals.tell(4, [0.6], [float("inf")], stopped=True)
    trials = load_queue("s / search", url).trials
    assert [trial.system_attrs.get("constraints") for trial in trials] == [
        [2.5], [2.5], [2.5], [0.2], None
    ]  # fmt: skip
    assert [trial.state for trial in trials[2:]] == [TrialState.COMPLETE, *[TrialState.PRUNED] * 2]


def test_a_warm_start_needs_the_same_constraints(tmp_path: Path) -> None:
    tracker, url = go(tmp_path, constrained(LOW, more=(*SETTLED, "study.trials=6")), Landscape())
    warm = (*SETTLED, "study.warm_start='search_smoke'")
    with pytest.raises(InputError, match="does not have the same constraints"):
        begin(constrained("eval/self_bleu_2 >= 0.5", more=warm), "other", tracker, url, "")
    begin(constrained(LOW, more=warm), "second", tracker, url, "")
    begin(plan(*warm), "third", tracker, url, "")
    found = {
        name: [trial.constraints for trial in load_queue(f"{name} / search", url).trials
               if trial.state == TrialState.COMPLETE]
        for name in ("second", "third")
    }  # fmt: skip
    assert [len(each) for each in found["second"]] == [1] * 6
    assert found["third"] == [{}] * 6


def test_a_system_of_a_comparison_takes_what_keeps_the_constraints(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        '[study]\nname = "c"\nkind = "comparison"\nmetric = "eval/ms_jaccard_2"\n'
        'seeds = 1\ntrials = 8\nconstraints = ["eval/self_bleu_2 >= 0.55"]\n'
        'systems = ["mle", {system = "mle", label = "low", set = {"train.generator_lr" = 1e-5}}]\n'
        "[study.budget]\nupdates = 20\n"
    )
    tracker, _ = go(tmp_path, load_study(file, [], registry(), resolve_file), Landscape())
    reading = read(tracker, "c")
    rates = {row.variant: float(reading.runs_of(row)[0].params.get("train.generator_lr", 0))
             for row in reading.board.rows}  # fmt: skip
    assert rates
    found = {section.key: section for section in sections(reading)}
    assert [row[0] for row in found["constraints"].rows] == [*rates]
    settings = dict(zip(found["settings"].columns, found["settings"].rows[0], strict=True))
    assert float(settings["mle"]) <= 6.4e-4, "its published rate of 2e-3 has a better score"
    assert float(settings["low"]) <= 6.4e-4


def test_a_search_that_really_trains_keeps_its_constraints(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[study]\nname = "search_smoke"\nkind = "search"\nbase = "mle"\n'
        "trials = 3\nfinalists = 1\nseeds = 1\n"
        'metric = "eval/ms_jaccard_2"\nlikelihood = false\nsampler = "nsga2"\n'
        'constraints = ["eval/copied <= 0.05", "eval/length >= 5"]\n'
        '[study.space]\n"train.generator_lr" = true\n'
        '[corpus]\nsentences = 300\ndifficulty = "easy"\n'
        "[generator]\nwidth = 16\nhidden = 32\nheads = 2\n"
        "[train]\nupdates = 2\nbatch_size = 8\n"
        "[evaluation]\nevery = 2\nsentences = 20\nreferences = 20\ngradients = 2\n"
    )
    study = load_study(file, [], registry(), resolve_file)
    tracker, url = go(tmp_path, study, run)  # type: ignore[arg-type]
    for trial in load_queue("search_smoke / search", url).trials:
        (own,) = (each for each in results(url) if each.proposal == trial.number and each.settings)
        stored = own.scores["eval/copied"] or 0.0, 5 - (own.scores["eval/length"] or 0.0)
        assert [*trial.constraints.values()] == pytest.approx([stored[0] - 0.05, stored[1]])
    trials = document(read(tracker, "search_smoke"))["trials"]
    assert all(each["metrics"]["eval/length"] > 0 for each in trials)
    keeps = [each["metrics"]["eval/copied"] <= 0.05 and each["metrics"]["eval/length"] >= 5
             for each in trials]  # fmt: skip
    assert keeps == [not each["breaks"] for each in trials]
