"""Old configuration keys are read as today's, and a warning names the new one."""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path

import pytest
import tomli_w

from core.config import override, parse
from core.config.renamed import (
    HASH_TAG,
    KEYS,
    comparable,
    current_study,
    current_tables,
    current_text,
    hash_of,
)
from core.tracking.protocol import Columns, RunRecord
from experiments import load
from studies.definition import from_definition, load_study, same_definition
from variants import registry


def test_old_keys_mean_the_new_ones_everywhere_in_a_study() -> None:
    new = current_tables(
        {
            "train": {"fakes": "shared", "grow_until": 0.5},
            "study": {
                "axes": {"train.fakes": ["fresh", "shared"], "train.rate_decay": [0.1, 1]},
                "systems": [{"system": "modern", "set": {"train.discriminator_rate": 1e-3}}],
                "contrasts": [{"axis": "train.fakes", "level": "true", "reference": "false"}],
            },
            "systems": {"modern": {"train": {"generator_rate": 1e-3}}},
        }
    )
    assert new["train"] == {"reuse_fakes": True, "curriculum_end": 0.5}
    axes = {"train.reuse_fakes": [False, True], "train.lr_decay": [0.1, 1]}
    assert new["study"]["axes"] == axes
    assert new["study"]["systems"][0]["set"] == {"train.discriminator_lr": 1e-3}
    assert new["study"]["contrasts"][0]["axis"] == "train.reuse_fakes"
    assert new["systems"]["modern"]["train"] == {"generator_lr": 1e-3}


def test_a_file_with_old_keys_loads_with_a_warning_that_names_each_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = Path(__file__).parents[2] / "experiments" / "smoke" / "design_axes.toml"
    text = base.read_text(encoding="utf-8").replace("generator_lr", "generator_rate")
    file = tmp_path / "old.toml"
    file.write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        study = load_study(file, [], registry())
    assert study.variants[0].config.train.generator_lr == 1e-3
    assert "train.generator_rate is now called train.generator_lr" in caplog.text


def test_an_old_key_on_the_command_line_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    config = load("mle", ["train.generator_rate=0.5", "train.grow_until=0.25"])
    assert (config.train.generator_lr, config.train.curriculum_end) == (0.5, 0.25)
    assert "--set: train.grow_until is now called train.curriculum_end" in caplog.text
    assert override({}, ["train.fakes=shared"]) == {"train": {"reuse_fakes": True}}


def test_no_new_name_is_an_old_one() -> None:
    assert not set(KEYS) & set(KEYS.values())
    assert current_study("card_axes_captions") == "design_axes_captions"
    assert current_study("card_axes-2") == "design_axes-2"
    assert current_study("discard_axes") == "discard_axes"


def test_a_stored_question_or_command_is_shown_with_todays_names() -> None:
    command = (
        "textgan study experiments/studies/card_axes.toml --set study.name=card_axes_captions "
        "--set train.fakes=shared --set train.generator_rate=1e-3"
    )
    assert current_text(command) == (
        "textgan study experiments/studies/design_axes.toml --set study.name=design_axes_captions "
        "--set train.reuse_fakes=true --set train.generator_lr=1e-3"
    )
    question = "Which of the card's choices matters?"
    assert current_text(question) == "Which of the original design axes matters?"
    assert current_text("my_card_axes, mytrain.generator_rate") == (
        "my_card_axes, mytrain.generator_rate"
    )


def test_a_run_of_a_store_has_todays_parameters_and_is_asked_for_by_both_names() -> None:
    old = {"train.fakes": "shared", "train.rate_decay": "0.1", "model.length": "8"}
    record = RunRecord("1", "runs", "r", "FINISHED", params=old)
    assert record.params == {
        "train.reuse_fakes": "True", "train.lr_decay": "0.1", "model.length": "8",
    }  # fmt: skip
    wanted = Columns(params=("train.lr_decay", "model.length")).of("params")
    assert wanted == ("train.lr_decay", "train.rate_decay", "model.length")


def test_a_configuration_is_known_by_the_hash_of_either_version() -> None:
    config = load("modern")
    assert len(config.stored_hashes()) == 2
    assert config.model_copy(update={"kernels": "torch"}).config_hash() != config.config_hash()
    assert config.model_copy(update={"seed": 5}).config_hash() == config.config_hash()
    assert load("mle").config_hash() == "701a09feb875c6db", "a hash holds evaluation.patience"
    assert load("mle", ["evaluation.patience=7"]).evaluation.collapse_patience == 7
    assert hash_of({"likeness": "a"}) == "a"
    assert hash_of({"likeness": "a", HASH_TAG: "b"}) == "b"


def test_rows_of_a_stored_study_keep_their_names_and_a_new_study_has_todays(
    tmp_path: Path,
) -> None:
    study = """[study]
        kind = "ablation"
        question = "Which?"
        [study.axes]
        "train.fakes" = ["fresh", "shared"]
        "train.rate_decay" = [0.1, 1.0]
    """
    text = "\n".join(line.strip() for line in study.splitlines())
    stored = {**load("modern").tables(), **tomllib.loads(text)}
    begun = from_definition(json.dumps(stored), registry())
    assert begun.variants[-1].name == "fakes=shared · rate_decay=1.0"
    assert begun.variants[-1].config.train.reuse_fakes
    assert json.loads(begun.definition()) == stored
    file = tmp_path / "s.toml"
    file.write_text(tomli_w.dumps(stored), encoding="utf-8")
    # The stored study ranks by the default metric of its time, a new one by today's.
    made = load_study(file, ["study.metric=eval/ms_jaccard_2"], registry())
    assert made.variants[-1].name == "reuse_fakes=True · lr_decay=1.0"
    assert same_definition(
        json.dumps({**json.loads(made.definition()), "name": "modern"}), begun.definition()
    )
    assert begun.table.metric == "eval/ms_jaccard_2"
    assert load_study(file, [], registry()).table.metric == "eval/jsd_bound"


def test_a_path_of_a_stored_study_keeps_its_names() -> None:
    ends = {
        name: {**load("modern").tables(), "name": name, "train": {"updates": 1, **train}}
        for name, train in (
            ("a", {"rate_decay": 1.0, "entropy": 0.1, "generator_rate": 1e-3}),
            ("b", {"rate_decay": 0.1, "entropy": 0.0, "generator_rate": 2e-3}),
        )
    }
    table = {"kind": "path", "question": "Which?", "from": "a", "to": "b"}
    study = from_definition(json.dumps({"study": table, "systems": ends}), registry())
    (changed,) = {v.values["changed"] for v in study.variants if v.name == "b"}
    assert changed == "train.entropy, train.generator_rate, train.rate_decay"


def test_a_removed_key_is_read_without_effect_and_stays_in_the_hash(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load("modern")
    tables = config.tables()
    for value, warnings in (("steps", 0), ("graph", 1)):
        stored = parse({**tables, "train": {**tables["train"], "rollout": value}}, registry())
        assert stored == config
        assert len(caplog.records) == warnings
    assert "train.rollout = 'graph' is ignored" in caplog.text
    assert comparable(tables)["train"]["rollout"] == "steps"
