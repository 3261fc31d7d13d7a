"""Signatures: printed, parsed, compared, and derived from that of a document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics.catalogue import CATALOGUE, GROUPS, TEXT_GROUPS
from core.metrics.signature import Signature, of_metric, text_fingerprint
from core.metrics.suite import Suite
from core.text.grammar import grammar

PARTS = st.dictionaries(st.text(), st.text(), max_size=5)
A, B = [["a", "b"], ["c"]], [["c"], ["a", "b"]]


@given(st.text(), PARTS)
def test_a_printed_signature_is_parsed_to_itself(name: str, parts: dict[str, str]) -> None:
    signature = Signature(name, parts)
    again = Signature.parse(str(signature))
    assert again == signature
    assert list(again.parts) == list(parts)
    assert not again.differences(signature)


@given(PARTS, PARTS)
def test_the_differences_are_the_keys_of_unequal_values(
    a: dict[str, str], b: dict[str, str]
) -> None:
    a, b = ({key: value or "x" for key, value in parts.items()} for parts in (a, b))
    unequal = {key for key in {*a, *b} if a.get(key, "-") != b.get(key, "-")}
    ours, theirs = Signature("m", a), Signature("m", b)
    assert {each.rpartition(" (")[0] for each in ours.differences(theirs)} >= {
        key for key in unequal if "(" not in a.get(key, "") + b.get(key, "")
    }
    assert len(ours.differences(theirs)) == len(unequal) == len(theirs.differences(ours))
    assert Signature("k", a).differences(ours) == ["metric (k, m)"]


@pytest.mark.parametrize("text", ["a|b", "a|b:1|b:2", "a|", "a|b:1||c:2"])
def test_another_text_is_no_signature(text: str) -> None:
    with pytest.raises(ValueError, match="is no signature"):
        Signature.parse(text)


def test_the_number_of_samples_counts_only_where_values_depend_on_it() -> None:
    few, many = (Signature("m", {"v": "1", "n": n}) for n in ("10", "20"))
    assert few.differences(many) == ["n (10, 20)"]
    assert few.differences(many, size_dependent=False) == []


def test_a_fingerprint_is_of_words_and_their_order() -> None:
    texts = [A, B, [["a"], ["b", "c"]], [["ab"], ["c"]], [["a", "b", "c"]], []]
    found = [text_fingerprint(text) for text in texts]
    assert len({*found}) == len(texts)
    assert found[0] == text_fingerprint([("a", "b"), ("c",)])


def test_each_number_names_what_it_depends_on_and_no_more() -> None:
    document = Suite(A, B, grammar("easy")).signature([["a"]] * 3, tok="words")
    assert document == Signature.parse(str(document))
    refs, train = f"2:{text_fingerprint(A)}", f"2:{text_fingerprint(B)}"
    encoder = f"word_order:2:{train}"
    expected = {
        "valid": "v:1|n:3|tok:words|oracle:grammar:easy",
        "copied": f"v:1|n:3|train:{train}|tok:words",
        "bleu_2": f"v:1|n:3|refs:{refs}|tok:words|smooth:method1",
        "ms_jaccard_2": f"v:1|n:3|refs:{refs}|tok:words",
        "c2st": f"v:1|n:3|refs:{refs}|tok:words|seed:0",
        "fed": f"v:2|n:3|refs:{refs}|tok:words|enc:{encoder}",
    }
    for name, parts in expected.items():
        found = of_metric(name, document, GROUPS[CATALOGUE[name].group])
        assert str(found) == f"{name}|{parts}"


def test_other_inputs_change_the_signatures_of_what_depends_on_them() -> None:
    def changed(suite: Suite, **parts: str) -> set[str]:
        documents = Suite(A, B).signature(A, **parts), suite.signature(A)
        return {
            info.group
            for name, info in CATALOGUE.items()
            if info.group in TEXT_GROUPS
            and (first := of_metric(name, documents[0], GROUPS[info.group])).differences(
                of_metric(name, documents[1], GROUPS[info.group])
            )
            and first.name == name
        }

    assert changed(Suite(A, B)) == set()
    assert changed(Suite(B, B)) == {g for g in TEXT_GROUPS if GROUPS[g].references}
    with_text = {g for g in TEXT_GROUPS if GROUPS[g].training or GROUPS[g].encoder}
    assert changed(Suite(A, A)) == with_text
    assert changed(Suite(A, B, grammar("easy"))) == {"oracle", "jsd_bound"}
    assert changed(Suite(A, B), tok="characters") == set(TEXT_GROUPS)


def test_a_run_whose_corpus_distribution_is_known_has_fresh_references_for_the_judge() -> None:
    document = Suite(A, B, grammar("easy")).signature(A, fresh="oracle")
    found = {name: of_metric(name, document, GROUPS[name]).parts["refs"]
             for name in ("jsd_bound", "c2st")}  # fmt: skip
    assert found["jsd_bound"] == "oracle"
    assert found["c2st"] == document.parts["refs"] != "oracle"
