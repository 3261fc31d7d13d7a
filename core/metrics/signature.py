"""Signatures: how a number was computed, in one short line, as sacrebleu has them (Post 2018).

The signature of a metric has its name, the version of its definition, and what its value depends
on:

    ms_jaccard_2|v:1|n:1000|refs:1000:ab12cd34|tok:words
    fed|v:2|n:1000|refs:1000:ab12cd34|tok:words|enc:word_order:2:10000:9f8e7d6c

`n`: number of sentences scored. `refs`, `train`: number and fingerprint of the references and of
the training text. `tok`: what a token is. `level`: that of the model, if it writes subwords, of
which the words are scored. `enc`: the encoder, its version, and the text that it was
fitted on. `oracle`: the source of the corpus. `fresh`: what `jsd_bound` of a run has as references
where the corpus distribution is known. `protocol`: the published code that is reproduced. Other
parts (`smooth`, `seed`, ...) belong to the metric's definition.

A document, such as a run or the output of `textgan evaluate`, has one signature, named `textgan`,
with all of these; its part `metrics` is a fingerprint of all definitions. `of_metric` derives the
signature of each number from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from core.metrics.catalogue import CATALOGUE, GROUPS, GroupInfo
from core.metrics.ngrams import Sentence, Text

DOCUMENT = "textgan"
VERSION = "1"  # of the format
FRESH = "fresh"  # part of a document: the references of groups that use the oracle
SAFE = ":/.,+@ ()"  # characters that are not percent-encoded


@dataclass(frozen=True)
class Signature:
    """A name and parts `key:value`, in their order."""

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        pairs = (f"{quote(key, '')}:{quote(value, SAFE)}" for key, value in self.parts.items())
        return "|".join([quote(self.name, SAFE), *pairs])

    @classmethod
    def parse(cls, text: str) -> Signature:
        """The signature that prints as `text`; ValueError for any other text."""
        name, *pairs = text.split("|")
        parts = {}
        for pair in pairs:
            key, colon, value = pair.partition(":")
            if not colon or unquote(key) in parts:
                raise ValueError(f"{text!r} is no signature: {pair!r} is not a new KEY:VALUE")
            parts[unquote(key)] = unquote(value)
        return cls(unquote(name), parts)

    def differences(self, other: Signature, *, size_dependent: bool = True) -> list[str]:
        """Why two values cannot be subtracted, such as "n (1000, 500)"; empty if they can. `n` does
        not count unless the metric is size-dependent.
        """
        keys = [key for key in {**self.parts, **other.parts} if key != "n" or size_dependent]
        pairs = {"metric": (self.name, other.name)} | {
            key: (self.parts.get(key, "-"), other.parts.get(key, "-")) for key in keys
        }
        return [f"{key} ({ours}, {theirs})" for key, (ours, theirs) in pairs.items()
                if ours != theirs]  # fmt: skip


def text_fingerprint(sentences: Iterable[Sentence]) -> str:
    """32 bits of BLAKE2b of the sentences in their order, as hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=4)
    for sentence in sentences:
        digest.update(" ".join(sentence).encode() + b"\n")
    return digest.hexdigest()


def text_signature(sentences: Text) -> str:
    """Their number and fingerprint, as a part of a signature."""
    return f"{len(sentences)}:{text_fingerprint(sentences)}"


def definitions() -> str:
    """Fingerprint of the versions and fixed parts of all metrics of this release."""
    known = [(name, info.group, GROUPS[info.group]) for name, info in CATALOGUE.items()]
    lines = [[name, group, str(info.version), *info.fixed] for name, group, info in known]
    return text_fingerprint(lines)


def of_document(parts: Mapping[str, str]) -> Signature:
    """The signature of a document with these parts."""
    return Signature(DOCUMENT, {"v": VERSION, "metrics": definitions(), **parts})


def of_metric(name: str, document: Signature, group: GroupInfo) -> Signature:
    """The signature of one number of a document, of a metric of `group`."""
    needed = {
        "n": True, "refs": group.references, "train": group.training, "tok": True,
        "level": True, "oracle": group.oracle or group.uses_oracle, "enc": group.encoder,
        "protocol": True,
    }  # fmt: skip
    parts = {key: document.parts[key] for key, is_needed in needed.items()
             if is_needed and key in document.parts}  # fmt: skip
    if group.uses_oracle and FRESH in document.parts:
        parts["refs"] = document.parts[FRESH]
    fixed = dict(part.split(":", 1) for part in group.fixed)
    return Signature(name, {"v": str(group.version), **parts, **fixed})
