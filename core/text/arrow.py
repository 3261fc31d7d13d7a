"""Reader of Parquet and Arrow files, and of the folders that Hugging Face `datasets` saves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import types
from pyarrow.parquet import ParquetFile

from core.errors import InputError, first_line
from core.text.settings import CorpusSettings

PARQUET = b"PAR1"  # the first bytes of a Parquet file
ARROW = b"ARROW1"  # of an Arrow file; `datasets` writes Arrow streams, which have no such mark
BATCH = 1024  # rows in memory


def read_arrow(path: Path, settings: CorpusSettings) -> Iterator[str]:
    """One column of texts: `corpus.column`, the only one with text, or the one named text.

    A row without a text (null) is a blank one.
    """
    try:
        yield from _texts(path, settings.column)
    except (pa.ArrowException, OSError) as error:
        why = f"not a Parquet or Arrow file, or damaged ({first_line(error)})"
        raise InputError(f"{path}: {why}") from None


def _texts(path: Path, wanted: str | None) -> Iterator[str]:
    with path.open("rb") as file:
        beginning = file.read(len(ARROW))
        file.seek(0)
        if beginning.startswith(PARQUET):
            parquet = ParquetFile(file)
            name = _column(path, parquet.schema_arrow, wanted)
            yield from _values(parquet.iter_batches(BATCH, columns=[name]), name)
        elif beginning == ARROW:
            whole = pa.ipc.open_file(file)
            batches = (whole.get_batch(i) for i in range(whole.num_record_batches))
            yield from _values(batches, _column(path, whole.schema, wanted))
        else:
            stream = pa.ipc.open_stream(file)
            yield from _values(stream, _column(path, stream.schema, wanted))


def _column(path: Path, schema: pa.Schema, wanted: str | None) -> str:
    texts = [field.name for field in schema if _is_text(field.type)]
    if not texts:
        raise InputError(f"{path}: no column holds text; there are {schema.names[:20]}")
    name = wanted or (texts[0] if len(texts) == 1 else "text")
    if texts.count(name) != 1:
        raise InputError(
            f"{path}: no column {name!r} with text; set corpus.column (evaluate: --column) to one "
            f"of {', '.join(each[:30] for each in texts[:20])}"
        )
    return name


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain))


def _values(batches: Iterable[Any], name: str) -> Iterator[str]:
    for batch in batches:
        batch.validate(full=True)  # a damaged file must not read other memory
        for value in batch.column(name):
            yield " ".join((value.as_py() or "").split())
