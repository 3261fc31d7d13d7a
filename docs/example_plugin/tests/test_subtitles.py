"""What only this reader promises."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from textgan_subtitles import read

from core.errors import InputError
from core.text.settings import CorpusSettings


def test_a_cue_is_a_sentence() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "film.srt"
        file.write_text("1\n0:01 --> 0:02\nWho is\nthere?\n\n2\n0:03 --> 0:04\nNobody.\n")
        settings = CorpusSettings(source=str(file))
        assert [*read(file, settings)] == ["Who is there?", "Nobody."]
        file.write_text("Who is\nthere?\n")
        with pytest.raises(InputError, match="film.srt:2: no times"):
            [*read(file, settings)]
