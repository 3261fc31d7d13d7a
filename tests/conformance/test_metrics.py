"""Every metric, built in or a plug-in, on odd texts: a number within its bounds or None."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from core.errors import InputError
from core.metrics import plugins
from core.metrics.catalogue import CATALOGUE, GROUPS, TEXT_GROUPS
from core.metrics.conformance import check, odd_texts
from core.metrics.encoders import BagOfWords, WordOrder
from core.metrics.files import Inputs, chosen_groups, evaluate
from core.metrics.plugins import PluginMetric
from core.metrics.signature import Signature
from core.metrics.suite import Suite
from core.text.grammar import grammar

ODD = {what: (samples, references) for what, samples, references in odd_texts()}
TRAINING = grammar("easy").sample(200, 4)
ENCODER = BagOfWords(TRAINING, 8)
# Their halves, groups or pairs are places in the sample.
BY_PLACE = {"c2st", "c2st_p", "fed", "mmd"}


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, PluginMetric], None]:
    """Registers a metric until the test ends."""

    def registered(name: str, metric: PluginMetric) -> None:
        for known in (CATALOGUE, GROUPS, plugins.PLUGINS):
            monkeypatch.setitem(known, name, None)  # type: ignore[arg-type]
        plugins.register(name, metric)

    return registered


@pytest.mark.parametrize("what", ODD)
def test_built_in_metrics_give_numbers_within_their_bounds_or_none(what: str) -> None:
    samples, references = copy.deepcopy(ODD[what])
    suite = Suite(references, TRAINING, grammar("easy"), ENCODER)
    found = suite.measures(samples)
    assert set(found) == {name for name, info in CATALOGUE.items() if info.group in TEXT_GROUPS}
    for name, measure in found.items():
        low, high = CATALOGUE[name].bounds
        bounds = measure.interval()
        if measure.value is None:
            assert bounds is None, name
        else:
            assert math.isfinite(measure.value), name
            assert low - 1e-9 <= measure.value <= high + 1e-9, name
        assert bounds is None or all(map(math.isfinite, bounds)), name
    assert (samples, references) == ODD[what]
    again = suite.measures(samples[::-1])
    for name, measure in found.items():
        if measure.value is None:
            assert again[name].value is None, name
        elif name not in BY_PLACE:
            assert again[name].value == pytest.approx(measure.value, rel=1e-9, abs=1e-12), name


def constant(value: object, **settings: object) -> PluginMetric:
    """A metric that returns the value."""
    return PluginMetric(lambda *_, **__: value, "a value", "higher", **settings)  # type: ignore[arg-type, return-value]


def raising(*_: object) -> float:
    raise RuntimeError("cannot do\nthat")


def changing(samples: list[list[str]], references: list[list[str]]) -> float:
    references.append(samples[0])
    return 1.0


BROKEN: dict[str, tuple[PluginMetric, str]] = {
    "raises": (PluginMetric(raising, "a", "higher"), "RuntimeError: cannot do"),
    "nan": (constant(math.nan), "ValueError: its value is nan"),
    "infinite": (constant(math.inf), "ValueError: its value is inf"),
    "outside": (constant(2.0, bounds=(0.0, 1.0)), "ValueError: its value is 2.0, and its bounds"),
    "words": (constant("much"), "ValueError: could not convert"),
    "changes": (PluginMetric(changing, "a", "higher"), "AttributeError: 'tuple' object"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_has_no_value_but_a_reason_and_harms_no_other(
    name: str, register: Callable[[str, PluginMetric], None]
) -> None:
    metric, reason = BROKEN[name]
    register(name, metric)
    register("sound", constant(0.5))
    groups = chosen_groups([name, "length", "sound"])
    assert groups == ["length", name, "sound"]
    samples, references = ODD["ordinary text"]
    found = evaluate(Inputs(samples, references), groups)
    row = found.metrics[name]
    assert (row.value, row.low) == (None, None)
    assert row.reason is not None
    assert row.reason.startswith(reason)
    assert f"no {name}: {row.reason}" in found.warnings
    assert found.metrics["length"].value is not None
    assert found.metrics["sound"].value == 0.5
    assert found.model_dump_json().count("NaN") == 0
    with pytest.raises(InputError, match=f"{name}: ordinary text: {reason[:20]}"):
        check(name, metric)


def test_a_plugin_gets_what_it_needs_and_nothing_where_that_is_missing(
    register: Callable[[str, PluginMetric], None],
) -> None:
    def seen(samples: object, references: object, *, training: object, oracle: object,
             encoder: object) -> float:  # fmt: skip
        return len(training) + oracle.entropy + encoder.dimensions  # type: ignore[arg-type, attr-defined, no-any-return]

    needs = frozenset({"training", "oracle", "encoder"})
    register("wants", PluginMetric(seen, "a", "near", needs=needs, version=3))  # type: ignore[arg-type]

    class Fixed:
        name, dimensions = "fixed:1", 5

    samples, references = ODD["ordinary text"]
    source = grammar("easy")
    suite = Suite(references, TRAINING, source, Fixed())  # type: ignore[arg-type]
    expected = len(TRAINING) + source.entropy + 5
    assert suite.measures(samples, ["wants"])["wants"].value == pytest.approx(expected)
    lacking = Suite(references, TRAINING).measures(samples, ["wants"])["wants"]
    assert (lacking.value, lacking.reason) == (None, "needs an oracle")
    inputs = Inputs(samples, references, train=TRAINING, oracle=source, encoder=Fixed())  # type: ignore[arg-type]
    signature = Signature.parse(evaluate(inputs, ["wants"]).metrics["wants"].signature)
    assert [*signature.parts] == ["v", "n", "refs", "train", "tok", "oracle", "enc"]
    assert (signature.parts["v"], signature.parts["enc"]) == ("3", "fixed:1")


def test_a_missing_input_is_a_reason_and_no_warning() -> None:
    found = evaluate(Inputs(*ODD["ordinary text"]), ["copied", "oracle"])
    assert found.metrics["copied"].reason == "needs the training text"
    assert found.metrics["valid"].reason == "needs an oracle"
    assert not any(row.reason in each for row in found.metrics.values() for each in found.warnings)


def test_the_rules_are_checked() -> None:
    def first(samples: list[list[str]], references: object) -> float:
        return float(len(samples[0]))

    calls = iter(range(1000))
    cases = {
        "of the samples in another order": PluginMetric(first, "a", "higher"),
        "in a second call": PluginMetric(lambda *_: float(next(calls)), "a", "higher"),
        "direction is 'up'": PluginMetric(first, "a", "up"),  # type: ignore[arg-type]
        "summary must be one line": PluginMetric(first, "", "higher"),
        "bounds are 1 and 0": PluginMetric(first, "a", "higher", (1, 0)),
        "version must be": PluginMetric(first, "a", "higher", version=0),
        r"needs \['money'\]": PluginMetric(first, "a", "higher", needs=frozenset({"money"})),  # type: ignore[arg-type]
    }
    for said, metric in cases.items():
        with pytest.raises(InputError, match=said):
            check("m", metric)
    check("m", PluginMetric(lambda samples, _: float(len(samples)), "a", "higher"))


def test_a_plugin_that_cannot_be_loaded_is_listed_without_a_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def installed(*points: EntryPoint) -> None:
        monkeypatch.setattr("core.plugins.entry_points", lambda group: points)

    for known in (CATALOGUE, GROUPS, plugins.PLUGINS):
        for name in ("lost", "number"):
            monkeypatch.setitem(known, name, None)  # type: ignore[arg-type]
    monkeypatch.setattr(plugins, "PLUGINS", plugins.PLUGINS)
    installed(EntryPoint("lost", "nowhere_at_all:METRIC", plugins.ENTRY_POINTS),
              EntryPoint("number", "math:pi", plugins.ENTRY_POINTS))  # fmt: skip
    plugins.load()
    assert plugins.load().keys() >= {"lost", "number"}
    samples, references = ODD["ordinary text"]
    found = evaluate(Inputs(samples, references), ["lost", "number"]).metrics
    assert found["lost"].reason == (
        "nowhere_at_all:METRIC cannot be loaded: ModuleNotFoundError: No module named "
        "'nowhere_at_all'"
    )
    assert found["number"].reason == "math:pi is no PluginMetric"
    for name, said in (("bleu", "there is a metric 'bleu' already"), ("A-1", "no metric's name")):
        installed(EntryPoint(name, "math:pi", plugins.ENTRY_POINTS))
        with pytest.raises(InputError, match=said):
            plugins.load()


@pytest.mark.slow
def test_mauve_is_the_packages_and_high_for_real_text_alone() -> None:
    package = pytest.importorskip("mauve", reason="needs mauve-text: the extra `mauve`")
    drawn = grammar("easy").sample(400, 1)
    encoder = WordOrder(TRAINING)
    suite = Suite(drawn[:200], TRAINING, encoder=encoder)
    assert "mauve" not in TEXT_GROUPS
    found = suite.measures(drawn[200:], ["mauve"])["mauve"].value
    shuffled = suite.measures([s[::-1] for s in drawn[200:]], ["mauve"])["mauve"].value
    assert found is not None
    assert shuffled is not None
    assert found > 0.7 > shuffled
    expected = [
        package.compute_mauve(p_features=encoder(drawn[:200]), q_features=encoder(drawn[200:]),
                              kmeans_num_redo=1, kmeans_max_iter=100, seed=seed).mauve
        for seed in range(5)
    ]  # fmt: skip
    assert found == pytest.approx(sum(expected) / 5)
    for what, (samples, references) in ODD.items():
        measure = Suite(references, TRAINING, encoder=ENCODER).measures(samples, ["mauve"])["mauve"]
        assert measure.value is None or 0 <= measure.value <= 1, what
        assert measure.value is not None or "needs 20 sentences" in measure.reason, what


def test_mauve_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mauve", None)
    text = ODD["ordinary text"][0]
    found = Suite(text, TRAINING, encoder=ENCODER).measures(text, ["mauve"])["mauve"]
    assert (found.value, found.reason) == (
        None, "needs the package mauve-text; pip install 'textgan-lab[mauve]'"
    )  # fmt: skip
