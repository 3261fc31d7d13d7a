"""Settings of a corpus: its source, how it is cleaned, which sentences are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from core.errors import listed
from core.numbers import representable
from core.plugins import installed

Kind = str  # of a source: a reader, or "generated"
BUILT_IN = ("lines", "fortune", "csv", "tsv", "jsonl", "parquet", "arrow", "shards")  # of ours
PLUGINS = "textgan.readers"  # entry-point group of readers in other packages
Level = Literal["word", "character", "subword"]
GENERATED = ("grammar", "lstm_oracle")
MOST_SUBWORDS = 32_000
DRAWN = 10_000  # sentences drawn from a generated source by default


def _number_in_words(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def plugin_readers() -> dict[str, EntryPoint]:
    """The readers of other packages by name; InputError for a name of ours or of two packages."""
    return installed(PLUGINS, "reader", ("auto", "generated", *BUILT_IN))


# What `max_words` and `vocabulary_limit` count.
UNITS: Mapping[Level, str] = {"word": "words", "character": "characters", "subword": "subwords"}
Column = Annotated[str, BeforeValidator(_number_in_words)]


class CorpusSettings(BaseModel):
    """The `[corpus]` table.

    Fields left out (None, "auto") take the default of their kind of source:

    | kind      | cleaning | min_words | min_kept | duplicates |
    |-----------|----------|-----------|----------|------------|
    | lines     | original | 3         | .9       | drop       |
    | fortune   | original | 3         | .9       | drop       |
    | tsv       | original | 3         | .9       | drop       |
    | jsonl     | original | 3         | .9       | drop       |
    | csv       | original | 10        | .9       | drop       |
    | shards    | original | 10        | .9       | drop       |
    | generated | none     | 1         | 0        | keep       |

    Ten words and .9 are the original's, chosen for its news corpus; captions and fortunes are
    shorter. A generated sample (grammar, lstm_oracle) is kept as drawn, so that its sentences are
    independent and identically distributed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    _numbers = field_validator("*")(representable)

    # grammar, lstm_oracle, or a file, folder, built corpus
    source: Annotated[str, Field(min_length=1)] = "grammar"
    difficulty: Literal["easy", "default", "hard"] = "default"  # of the grammar
    oracle_seed: Annotated[int, Field(ge=0)] = 0  # of the lstm_oracle's weights
    sentences: Annotated[int, Field(ge=1)] | None = None  # number of sentences read; None: all
    # lines, fortune, csv, tsv, jsonl, parquet, arrow, shards or that of a plug-in; auto: one of
    # the former by name and content.
    reader: str = "auto"
    column: Column | None = None  # what to read of a table or of JSON objects: name or number
    level: Level = "word"  # what a token is; vocabulary_limit is the number of subwords
    subwords: Literal["bpe", "unigram"] = "bpe"  # how they are found in the training split
    cleaning: Literal["auto", "original", "none"] = "auto"  # none: split on white space
    min_words: Annotated[int, Field(ge=1)] | None = None  # shorter sentences are dropped
    max_words: Annotated[int, Field(ge=1)] | None = None  # None: model.length - 1
    min_kept: Annotated[float, Field(ge=0, le=1)] | None = None  # least share of tokens kept
    vocabulary_limit: Annotated[int, Field(ge=1, le=10_000_000)] = 70_000  # without special tokens
    unknown: Literal["drop", "unk"] = "drop"  # sentences with words outside the vocabulary
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share, by hash of the sentence
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1  # share, by hash of the sentence
    duplicates: Literal["drop", "keep"] | None = None  # repeated sentences
    in_memory: bool = False  # load the tokens before training instead of mapping the file

    @property
    def fixed_length(self) -> bool:
        """Whether the sentences have one length and no end token."""
        return self.source == "lstm_oracle"

    @field_validator("reader")
    @classmethod
    def _reader_is_known(cls, name: str) -> str:
        if name not in ("auto", *BUILT_IN) and name not in plugin_readers():
            others = listed([*plugin_readers()], "none is installed")
            raise ValueError(f"must be auto, {', '.join(BUILT_IN)} or that of a plug-in ({others})")
        return name

    @model_validator(mode="after")
    def _fields_agree(self) -> CorpusSettings:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must be below 1")
        if self.level != "word" and self.source in GENERATED:
            raise ValueError(f"level = {self.level!r} needs a text; {self.source} has words")
        if self.level == "subword" and self.vocabulary_limit > MOST_SUBWORDS:
            raise ValueError(
                f"level = 'subword' needs the number of subwords: vocabulary_limit = 4000, for "
                f"example (at most {MOST_SUBWORDS})"
            )
        if self.max_words is not None and (self.min_words or 1) > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self


@dataclass(frozen=True)
class Rules:
    """`CorpusSettings` with the defaults of one kind of source filled in."""

    cleaning: Literal["original", "none"]
    min_words: int
    max_words: int | None
    min_kept: float
    drop_duplicates: bool


def rules_for(settings: CorpusSettings, kind: Kind, max_words: int | None) -> Rules:
    """The rules for a kind of source; `max_words` is the model's limit."""
    generated, long = kind == "generated", kind in ("csv", "shards")
    cleaning = settings.cleaning
    if cleaning == "auto":
        cleaning = "none" if generated else "original"
    least = 1 if generated else 10 if long else 3
    limit = settings.max_words or max_words
    duplicates = settings.duplicates or ("keep" if generated else "drop")
    return Rules(
        cleaning,
        settings.min_words or (min(least, limit) if limit else least),
        limit,
        settings.min_kept if settings.min_kept is not None else (0.0 if generated else 0.9),
        duplicates == "drop",
    )
