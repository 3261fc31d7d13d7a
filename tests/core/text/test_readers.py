"""Formats of files: what is read, what is refused in words; a corpus and `evaluate` agree."""

from __future__ import annotations

import gzip
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.errors import InputError
from core.metrics.files import read_sentences
from core.text.build import build_corpus
from core.text.readers import READERS, kind_of, read_texts, reader_of
from core.text.settings import PLUGINS, CorpusSettings
from core.text.vocabulary import SPECIALS, Vocabulary
from core.types import UNK

CAT, DOG = "The cat sleeps, as ever", "A dog runs home"
READ = {
    "comma.csv": f'id,text\n1,"{CAT}"\n2,{DOG}\n',
    "semicolon.csv": f"label;text\ngood;{CAT}\nbad;{DOG}\n",
    "quoted.csv": f'label;text\ngood;"{CAT}"\nbad;"{DOG}"\n',
    "tab.csv": f"label\ttext\ngood\t{CAT}\nbad\t{DOG}\n",
    "bar.csv": f"label|text\ngood|{CAT}\nbad|{DOG}\n",
    "upper.csv": f'Label,Text\ngood,"{CAT}"\nbad,{DOG}\n',
    "several.csv": f"id|a;b|text\n1|x;y|{CAT}\n2|z;u|{DOG}\n",
    "extra.csv": f'id,text,\n1,"{CAT}",\n2,{DOG},\n',
    "bom.csv": f"\ufefflabel;text\ngood;{CAT}\nbad;{DOG}\n",
    "one.csv": f'body\n"{CAT}"\n{DOG}\n',
    "no_header.csv": f'"{CAT}"\n{DOG}\n',
    "table.tsv": f"label\ttext\ngood\t{CAT}\nbad\t{DOG}\n",
    "quoted.tsv": f'label\ttext\n"good"\t"{CAT}"\n"bad"\t{DOG}\n',
    "table.txt": f"label\ttext\ngood\t{CAT}\nbad\t{DOG}\n",
    "objects.jsonl": f'{{"label": "a", "text": "{CAT}"}}\n\n{{"text": "{DOG}", "label": "b"}}\n',
    "field.json": f'{{"body": "{CAT}"}}\n{{"body": "{DOG}"}}\n',
    "objects.txt": f'{{"label": "a", "text": "{CAT}"}}\n{{"text": "{DOG}"}}\n',
    "lf.txt": f"{CAT}\n{DOG}\n",
    "cr.txt": f"{CAT}\r{DOG}\r",
    "cr_lf.txt": f"{CAT}\r\n{DOG}\r\n",
    "bom.txt": f"\ufeff{CAT}\n{DOG}",
}
REFUSED = {
    "wide.csv": ("id,text\n1,a b\n2,c, d\n", "wide.csv:3: 3 fields, but the first row has 2"),
    "unquoted.csv": ("text\na b, c d\n", "unquoted.csv:2: 2 fields, but the first row has 1"),
    "narrow.csv": ("id,text\n1\n", "narrow.csv:2: no field 2"),
    "names.csv": ("id;body\n1;a b\n", "no column 'text'; set corpus.column (evaluate: --column)"),
    "no_names.csv": (f"good;{DOG}\nbad;{DOG}\n", "or to its number (1 to 2)"),
    "two.csv": ("a,b;c\n1,2;3\n", "the separator is comma or semicolon"),
    "open.csv": ('id,text\n1,"a\n2,b\n', "open.csv:3: not valid CSV"),
    "tabs.txt": (f"good\t{CAT}\nbad\t{DOG}\n", "equally many tabs; name the file .tsv"),
    "field.jsonl": ('{"body": "a", "id": 1}\n', "field.jsonl:1: no text in a field 'text'"),
    "number.jsonl": ('{"text": "a"}\n{"text": 3}\n', "number.jsonl:2: no text"),
    "list.json": ('[{"text": "a b"},\n{"text": "c"}]\n', "list.json:1: not a JSON object"),
    "half.jsonl": ('{"text": "a \\ud800"}\n', "half.jsonl:1: not Unicode"),
}


def texts(file: Path, **settings: object) -> list[str]:
    """What a corpus reads; `evaluate` must read the same."""
    given = CorpusSettings(source=str(file), **settings)  # type: ignore[arg-type]
    found = list(READERS[kind_of(file, given)](file, given))
    if given.reader == "auto":
        scored = [" ".join(words) for words in read_sentences(file, given.column)]
        assert [text for text in scored if text] == [" ".join(text.split()) for text in found]
    return found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", READ)
def test_a_file_is_read_as_what_it_is(tmp_path: Path, name: str, packed: bool) -> None:
    content = READ[name].encode()
    file = tmp_path / (f"{name}.gz" if packed else name)
    file.write_bytes(gzip.compress(content) if packed else content)
    assert texts(file) == [CAT, DOG]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_does_not_fit_is_refused_by_line(tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    (tmp_path / name).write_text(content)
    for read in (texts, read_sentences):
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        assert words in str(caught.value)


@pytest.mark.parametrize("column", [2, "2", "body"])
def test_a_column_has_a_name_or_a_number(tmp_path: Path, column: int | str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f'label,body\ngood,"{CAT}"\nbad,{DOG}\n')
    assert texts(file, column=column) == [CAT, DOG]
    if column != "body":
        file.write_text(f'good,"{CAT}"\nbad,{DOG}\n')
        assert texts(file, column=column) == [CAT, DOG]
    with pytest.raises(InputError, match="no column '3'"):
        texts(file, column=3)


def test_tables_in_a_folder_are_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(READ["semicolon.csv"])
    (tmp_path / "b.jsonl").write_text(READ["objects.jsonl"])
    (tmp_path / "c").write_text(READ["lf.txt"])
    assert texts(tmp_path) == [CAT, DOG] * 3


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.txt.gz"
    whole = gzip.compress(json.dumps(list(range(9999))).encode())
    for damaged in (whole[:50], whole[:-4], whole[:9], whole[:2]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"t\.txt\.gz: cannot be read"):
            texts(file)


@pytest.mark.parametrize("name", ["lf.txt", "comma.csv", "objects.jsonl"])
def test_files_packed_with_zstd_are_read_or_refused_if_damaged(tmp_path: Path, name: str) -> None:
    whole = pa.Codec("zstd").compress(READ[name].encode(), asbytes=True)
    file = tmp_path / f"{name}.zst"
    file.write_bytes(whole)
    assert texts(file) == [CAT, DOG]
    file.write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"cannot be read|the file is empty"):
        texts(file)


TABLE = pa.table({"id": [1, 2, 3], "text": [CAT, None, DOG], "title": ["a", "b", "c"]})


def write_arrow(file: Path, table: pa.Table = TABLE) -> Path:
    """As Parquet, as an Arrow file (.feather), or as the stream that `datasets` saves."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(table, file)
        return file
    new = pa.ipc.new_file if file.suffix == ".feather" else pa.ipc.new_stream
    with new(file, table.schema) as out:
        out.write_table(table)
    return file


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_a_column_of_a_parquet_or_arrow_file_is_read(tmp_path: Path, suffix: str) -> None:
    file = write_arrow(tmp_path / f"t{suffix}")
    assert texts(file) == [CAT, DOG]
    assert texts(file, column="title") == ["a", "b", "c"]
    only = pa.table({"id": [1, 2], "body": pa.array([CAT, DOG]).dictionary_encode()})
    assert texts(write_arrow(file, only)) == [CAT, DOG]
    kind = "parquet" if suffix == ".parquet" else "arrow"
    assert texts(file.rename(tmp_path / "without_suffix"), reader=kind) == [CAT, DOG]
    with pytest.raises(InputError, match=r"no column 'id' with text; .* one of text, title"):
        texts(write_arrow(file), column="id")
    with pytest.raises(InputError, match=r"no column holds text; there are \['id'\]"):
        texts(write_arrow(file, TABLE.select(["id"])))
    whole = write_arrow(file).read_bytes()
    for damaged in (whole[:40], whole[:-100], b""):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=f"t{suffix}: not a Parquet or Arrow file"):
            texts(file)


def test_a_folder_that_hugging_face_datasets_saved_is_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_arrow(tmp_path / split / "data-00000-of-00001.arrow")
        (tmp_path / split / "state.json").write_text('{"_split": "train"}')
        (tmp_path / split / "dataset_info.json").write_text('{"features": {}}')
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert texts(tmp_path) == [CAT, DOG] * 2


def test_another_encoding_is_named_with_the_command_that_converts(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    for written, said in (
        ("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("latin-1", "CP1252"), ("gb18030", "CP1252"),
        ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"),  # without a byte order mark
    ):  # fmt: skip
        file.write_bytes("un caf\u00e9\nun th\u00e9\n".encode(written))
        with pytest.raises(InputError, match=f"iconv -f {said} -t UTF-8 t.txt > utf8_t.txt"):
            texts(file)


def test_an_empty_line_stays_a_sentence_of_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "samples.txt").write_text(f"{DOG}\n\n{DOG}\n")
    assert read_sentences(tmp_path / "samples.txt")[1] == []


@pytest.mark.parametrize("marker", SPECIALS)
def test_names_of_special_tokens_are_words_or_refused(tmp_path: Path, marker: str) -> None:
    vocabulary = Vocabulary.from_counts({"cat": 1}, 10)
    assert vocabulary.encode(["cat", marker]).tolist() == [4, UNK]
    file = tmp_path / "t.txt"
    file.write_text("".join(f"{marker} the cat number {'x' * n} sleeps\n" for n in range(1, 99)))
    with pytest.raises(InputError, match=f"the word {marker} in '{marker} the cat"):
        build_corpus(CorpusSettings(source=str(file), cleaning="none"), tmp_path / "none")
    corpus = build_corpus(CorpusSettings(source=str(file)), tmp_path / "original")
    assert min(corpus.train.ids) > UNK
    assert marker[1:-1] in corpus.vocabulary


@pytest.mark.parametrize(
    "sentences",
    [
        ["A wise man waits.", 'He said "go!"', "Two roads meet at 5 p.m. today?", "(Yes.)"],
        ["Élise dort.", "Été, hiver !", "Où ?"],
        ["Кошка спит.", "Ёж ждёт!", "Где?"],
        ["एक बच्चा गाता है।", "वह पानी पीती है।"],
        ["هل ترى القمر؟", "نعم."],
        ["我很高兴。", "他说：「好。」真的？", "是！"],
    ],
)
def test_an_entry_of_fortunes_is_split_into_sentences(tmp_path: Path, sentences: list[str]) -> None:
    file = tmp_path / "fortunes"
    joiner = "" if "我" in sentences[0] else " "
    file.write_text(f"{joiner.join(sentences)}\n%\n{DOG}\n", encoding="utf-8")
    assert [text.rstrip('"') for text in texts(file)] == [s.rstrip('"') for s in [*sentences, DOG]]


def test_a_percent_sign_among_many_sentences_is_no_separator(tmp_path: Path) -> None:
    file = tmp_path / "samples.txt"
    sentences = [f"the cat sees {number} birds" for number in range(100)]
    sentences[50] = "%"
    file.write_text("\n".join(sentences) + "\n")
    assert list(read_texts(file)) == sentences


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("odd", "math:sqrt", "file.txt: plug-in math:sqrt, reader 'odd': TypeError: "),
        ("odd", "nowhere_at_all:read", "reader 'odd': ModuleNotFoundError: No module named"),
        ("odd", "builtins:divmod", "reader 'odd': TypeError: "),
        ("lines", "math:sqrt", "plug-in math:sqrt: there is a reader 'lines' already"),
        ("auto", "math:sqrt", "there is a reader 'auto' already"),
        ("Odd-1", "math:sqrt", "'Odd-1' is no reader's name; use a-z, 0-9 and _"),
    ],
)
def test_a_reader_of_another_package_that_fails_is_named(
    name: str, value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [EntryPoint(name, value, PLUGINS)]
    monkeypatch.setattr("core.plugins.entry_points", lambda group: points)
    file = tmp_path / "file.txt"
    file.write_text(f"{CAT}\n")
    with pytest.raises(InputError) as caught:
        list(reader_of("odd")(file, CorpusSettings(source=str(file), reader="odd")))
    assert words in str(caught.value)


def test_an_unknown_reader_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValidationError, match=r"must be auto, lines, fortune, csv, .* a plug-in"):
        CorpusSettings(reader="odd")
