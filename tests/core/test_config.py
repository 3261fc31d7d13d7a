"""Configuration: what is refused, in which words, and that what is written is read again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.config import override, parse, read_toml
from core.config.parsing import parse_override
from core.config.schema import flatten
from core.errors import InputError
from experiments.loading import load, resolve_file, systems
from studies.definition import load_study
from tests.conftest import SMOKE, tiny
from variants import registry


@pytest.mark.parametrize("name", sorted(systems()))
def test_a_configuration_survives_toml(name: str, tmp_path: Path) -> None:
    config = load(name)
    file = tmp_path / "again.toml"
    file.write_text(config.toml())
    assert load(str(file)) == config


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.updatez=3", "unknown key; did you mean 'updates'"),
        ("trian.updates=3", "unknown key; did you mean 'train'"),
        ("sampling.name=gumbel", "did you mean 'gumbel_softmax'"),
        ("generator.heads=5", "must be a multiple of heads 5"),
        ("train.batch_size=1", "train.batch_size = 1: must be 2 or more"),
        ("train.updates=many", "train.updates = 'many': must be a whole number"),
        ("train.updates=1.5", "train.updates = 1.5: must be a whole number"),
        ("train.beta1=1", "train.beta1 = 1: must be below 1"),
        ("train.reuse_fakes=maybe", "train.reuse_fakes = 'maybe': must be true or false"),
        ("corpus.source=2024", 'corpus.source = 2024: must be text; write it in quotes: "2024"'),
        ("corpus.column=true", 'corpus.column = true: must be text; write it in quotes: "true"'),
        ("corpus.source=''", "corpus.source = '': must not be empty"),
        ("device=gpu", "device = 'gpu': must be 'auto', 'cpu' or 'cuda'"),
        ("train.updates={a=1}", "[train.updates]: must be a whole number, not a table"),
        ("sampling.name=categorical", "sampling.name = 'categorical' needs score function"),
        ("schedule.name=mle", "has no meaning; remove it"),
        ("train.generator_lr=nan", "finite"),
        ("corpus.min_words=30", "min_words"),
        ("train.micro_batch=3", "[train]: batch_size 4 must be a multiple of micro_batch 3"),
        ("generator.heads=5", "[generator]: "),
        ("train=3", "train = 3: must be a table of settings"),
    ],
)
def test_faults_are_sentences_that_name_the_key(setting: str, words: str) -> None:
    extra = ["corpus.max_words=10"] if "min_words" in setting else []
    with pytest.raises(InputError) as caught:
        tiny(setting, *extra)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_folder_names_are_understood_as_slots() -> None:
    tables = read_toml(SMOKE)
    tables["objectives"] = tables.pop("objective")
    assert parse(tables, registry()) == parse(read_toml(SMOKE), registry())


def test_another_strategy_starts_its_table_anew() -> None:
    tables = {"noise_mapping": {"name": "full", "layers": 3}}
    assert override(tables, ["noise_mapping.name=none"]) == {"noise_mapping": {"name": "none"}}
    assert tables["noise_mapping"]["layers"] == 3


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError):
        tiny().seed = 3  # type: ignore[misc]


@given(st.text())
def test_overrides_parse_or_say_why(text: str) -> None:
    try:
        path, _ = parse_override(text)
    except InputError as error:
        assert "--set" in str(error)
    else:
        assert all(path)


@given(st.binary(max_size=200))
def test_any_bytes_as_toml_give_tables_or_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.mktemp("toml") / "x.toml"
    file.write_bytes(data)
    try:
        assert isinstance(flatten(read_toml(file)), dict)
    except InputError as error:
        assert str(file) in str(error)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def test_a_file_is_on_top_of_the_file_that_it_extends(tmp_path: Path) -> None:
    write(
        tmp_path / "shared",
        base=systems()["mle"].read_text(encoding="utf-8"),
        middle='extends = "base.toml"\n[train]\nbeta1 = 0.3\nkeep_at = [1, 2]\n',
    )
    write(
        tmp_path,
        top='extends = "shared/middle.toml"\n[train]\nkeep_at = [3]\nupdates = 700\n'
        '[train.stop]\nmetric = "eval/bleu_4"\npatience = 2\n[generator]\nname = "gru"\n',
    )
    config, base = load(str(tmp_path / "top.toml")), load("mle")
    train = config.train
    assert (train.updates, train.beta1, train.keep_at) == (700, 0.3, [3])
    assert train.batch_size == base.train.batch_size
    assert config.generator == load("mle", ["generator.name=gru"]).generator, "begun anew"
    assert config.name == "top"
    assert "extends" not in config.toml(), "what is stored is resolved"


def test_old_keys_of_an_extended_file_are_todays(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="[train]\ngenerator_rate = 0.5\nupdates = 1\n",
        top='extends = "base.toml"\n[train]\ngenerator_lr = 0.25\n',
    )
    assert read_toml(tmp_path / "top.toml")["train"] == {"generator_lr": 0.25, "updates": 1}


def test_extends_in_another_place_is_told_where_it_belongs() -> None:
    belongs = "unknown key; it belongs at the top of a TOML file, before its tables"
    for key in ("extends", "train.extends"):
        with pytest.raises(InputError, match=f"--set {key}=a.toml: {key}: {belongs}"):
            load("mle", [f"{key}=a.toml"])


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ('extends = "absent.toml"', "top.toml -> HERE/absent.toml: no such file"),
        ('extends = "loop.toml"', "top.toml -> HERE/loop.toml -> HERE/top.toml: a file cannot"),
        ('extends = "top.toml"', "top.toml -> HERE/top.toml: a file cannot extend itself"),
        ('extends = "broken.toml"', "top.toml -> HERE/broken.toml: not valid TOML: "),
        ("extends = 3", "top.toml: extends = 3: must be the name of a TOML file"),
        ('extends = ["a.toml"]', "must be the name of a TOML file"),
        ('extends = ""', "top.toml -> HERE: no such file"),
    ],
)
def test_what_cannot_be_extended_is_named_with_its_chain(
    top: str, words: str, tmp_path: Path
) -> None:
    write(tmp_path, top=top, loop='extends = "top.toml"', broken="[train")
    with pytest.raises(InputError) as caught:
        load(str(tmp_path / "top.toml"))
    assert words.replace("HERE", str(tmp_path)) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_study_extends_a_study(tmp_path: Path) -> None:
    write(
        tmp_path,
        base='[study]\nbase = "mle"\nseeds = 2\n[study.axes]\n"train.beta1" = [0.0, 0.5]\n',
        top='extends = "base.toml"\n[study]\nseeds = [4]\n[study.axes]\n"train.beta1" = [0.9]\n',
    )
    study = load_study(tmp_path / "top.toml", [], registry(), resolve_file)
    assert (study.table.seed_list(), [v.config.train.beta1 for v in study.variants]) == ([4], [0.9])
    assert not {"extends", "base"} & {*study.tables, *study.tables["study"]}
