"""Any script is text: cleaning keeps its words, and a build says what it drops."""

from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path

import pytest

from core.errors import InputError
from core.text.build import build_corpus, prepare_corpus
from core.text.cleaning import clean
from core.text.settings import CorpusSettings

# Invented sentences: each choice of a subject, a verb and an end.
SCRIPTS = {
    "English": ("Our cat|The dog|I don't think he", "sees|hears|isn't", "the moon.|it, or not!"),
    "French": (
        "L'ami d'Anne|L’école|Aujourd'hui il",
        "voit|n'entend pas|est-il à",
        "l'été.|qu'à midi !",
    ),
    "Italian": ("La casa dell'arte|Un'amica|C'è chi", "vede|sente", "all'alba.|l'acqua però."),
    "Spanish": ("¿Dónde el niño|¡Aquí la niña|Mamá", "canta|sueña", "mañana?|¡también!"),
    "German": ("Der „große“ Bär|Die Straße|Müller", "hört|grüßt", "schön.|über Öl – heute."),
    "Vietnamese": ("Con mèo nhỏ|Người bạn|Cô giáo", "đang ngủ|uống nước", "trên ghế.|ở đây."),
    "Turkish": ("İstanbul'da kız|Ankara'nın ırmağı|Işık", "görür|içer", "İzmir’i.|büyük bir çay."),
    "Greek": ("Η γάτα|Ο σκύλος|Ένα πουλί", "κοιμάται|βλέπει", "ήσυχα· ναι.|το φεγγάρι;"),
    "Russian": ("Серая кошка|«Ёжик»|Старый дом", "спит|ждёт|вышла из-под", "у печки.|— сегодня…"),
    "Ukrainian": ("П'ять котів|Моє ім’я|Їжак", "їсть|чекає", "м'яко.|біля річки."),
    "Armenian": ("Կատուն մեծ|Շունը փոքր", "քնում է|վազում է", "այսօր։|տանը։"),
    "Georgian": ("დიდი კატა|პატარა ძაღლი", "ძინავს|დარბის", "დღეს.|სახლში."),
    "Hindi": ("एक बच्चा|मेरी बहन|बूढ़ा शिक्षक", "पानी पीती|गाना गाती", "है।|है, धीरे धीरे ।"),
    "Bengali": ("ছোট পাখি|আমার বোন|র‍্যাব", "গান গায়|জল খায়", "আজ।|ধীরে ধীরে।"),
    "Tamil": ("சிறிய பறவை|என் அக்கா", "பாடுகிறது|குடிக்கிறது", "இன்று.|மெதுவாக!"),
    "Arabic": ("القِطُّ الصغير|أختي|الولدُ", "يشربُ|يرى", "الماءَ، نعم.|القمرَ؟"),
    "Persian": ("یک کودک|خواهر من|معلم پیر", "آب می‌نوشد|کتاب می‌خواند", "امروز.|آرام؟"),
    "Hebrew": ("הַחָתוּל הקטן|הילדה|דני", "יָשֵׁן|רוֹאֶה", "עַל־יַד הבית.|היום, כן?"),
    "Korean": ("고양이가|우리 언니가|작은 새가", "조용히|오늘", "잔다.|노래한다."),
    "Amharic": ("ትንሿ ድመት|ልጁ ዛሬ", "ውሃ|ወተት", "ጠጣች።|ይወዳል።"),
}
UNSPACED = {
    "Chinese": ("我们的邻居|我的姐姐|一个孩子", "每天回家|慢慢地唱歌", "，很高兴。|，「真好」！"),
    "Japanese": (
        "猫は|わたしの姉は|先生は",
        "静かに寝て|ゆっくり歌って",
        "います。|、「はい」と言う。",
    ),
    "Thai": ("เด็ก|พี่สาวของฉัน|ครู", "กินข้าว|ดื่มน้ำ", "ทุกวัน|ช้าๆ"),
}


def sentences(script: str) -> list[str]:
    joiner = " " if script in SCRIPTS else ""
    subjects, verbs, ends = ({**SCRIPTS, **UNSPACED}[script][part].split("|") for part in range(3))
    clauses = [joiner.join(chosen) for chosen in product(subjects, verbs)]
    chosen = product(clauses, [f"{joiner}{clause}{joiner}" for clause in clauses] + [joiner], ends)
    return ["".join(parts) for parts in chosen]


def written(folder: Path, lines: list[str]) -> str:
    file = folder / "text.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("script", [*SCRIPTS, *UNSPACED])
def test_a_corpus_of_any_script_loses_no_sentence(tmp_path: Path, script: str) -> None:
    lines = sentences(script)
    level = "word" if script in SCRIPTS else "character"
    settings = CorpusSettings(
        source=written(tmp_path, lines), level=level, min_kept=1.0, duplicates="keep"
    )  # type: ignore[arg-type]
    manifest = build_corpus(settings, tmp_path / "c").manifest
    assert (manifest.kept, manifest.dropped, manifest.warnings) == (len(lines), {}, ())


@pytest.mark.parametrize("script", UNSPACED)
def test_a_script_without_spaces_is_proposed_characters(tmp_path: Path, script: str) -> None:
    source = written(tmp_path, sentences(script))
    with pytest.raises(InputError, match=r"has no spaces.*corpus\.level = 'character', or give"):
        build_corpus(CorpusSettings(source=source, min_words=5), tmp_path / "a")
    for cleaning in ("original", "none"):
        settings = CorpusSettings(source=source, cleaning=cleaning, min_words=1)  # type: ignore[arg-type]
        (said,) = build_corpus(settings, tmp_path / cleaning).manifest.warnings
        assert "corpus.level = 'character'" in said


def test_segmented_text_of_such_a_script_is_text(tmp_path: Path) -> None:
    source = written(tmp_path, [" ".join(words) for words in product(("我们", "邻居"), repeat=6)])
    settings = CorpusSettings(source=source)
    assert build_corpus(settings, tmp_path / "c").manifest.warnings == ()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("I don’t think he’s here", "I don't think he's here"),
        ("we´re sure", "we're sure"),
        ("the old tea\u00adcher", "the old teacher"),
        ("\ufeffone\u200b two\u2060 \u200ethree\u202c", "one two three"),
        ("„one“ «two» ‘three’", "one two three"),
        ("one，two。three！four…five—six", "one two three four five six"),
        ("می‌نوشد‌ ‌آب", "می‌نوشد آب"),
        ("İSTANBUL güzel", "istanbul güzel"),
        ("L’AMI d’Anne", "l'ami d'anne"),
        ("Qu'est-ce que c'est", "qu'est ce que c'est"),
        (unicodedata.normalize("NFD", "déjà vu là"), "déjà vu là"),
    ],
)
def test_ways_to_write_the_same_words(text: str, same: str) -> None:
    found, expected = (clean(each, "original", "word") for each in (text, same))
    assert found.words == expected.words
    assert found.kept == expected.kept == 1


@pytest.mark.parametrize(
    ("text", "words", "counted"),
    [
        ("It's five o'clock in the D'Angelo house", "it five in the house", 7),
        ("the well-known ma'am, I'd say, is not y'all's", "the i say is not", 8),
        ("O'Brien's rock'n'roll", "", 2),
        ("A shell's take-off", "a shell", 3),
    ],
)
def test_english_is_cleaned_as_ever(text: str, words: str, counted: int) -> None:
    found = clean(text, "original", "word")
    assert found.words == words.split()
    assert found.kept == pytest.approx(len(found.words) / counted)


LONG = "a quiet river runs under the old stone bridge every single day"
LOSSES = [  # the rule, what it drops, which cleaning has it, and the remedy
    ("corpus.min_words = 3", "two words", "original none", "corpus.min_words = 1"),
    ("corpus.max_words = 9", LONG, "original none", "corpus.max_words and model.length"),
    ("corpus.min_kept = 0.9", "1 2 3 4 and a word", "original", "corpus.min_kept = 0"),
    ("corpus.cleaning = 'original'", "1 2 3", "original", "corpus.cleaning = 'none'"),
    ("corpus.duplicates = 'drop'", "one again and again", "original none", "= 'keep'"),
    ("corpus.vocabulary_limit = 9", "a rare word", "original none", "corpus.unknown = 'unk'"),
]


@pytest.mark.parametrize(
    ("rule", "lost", "cleaning", "remedy"),
    [(rule, lost, each, remedy) for rule, lost, both, remedy in LOSSES for each in both.split()],
)
def test_a_build_says_which_rule_took_a_tenth(
    tmp_path: Path, rule: str, lost: str, cleaning: str, remedy: str
) -> None:
    settings = {"max_words": 9, "cleaning": cleaning}
    kept = [" ".join(words) for words in product("abc", "def", "ghi", "abc")]
    if "vocabulary" in rule:
        settings, kept = {**settings, "vocabulary_limit": 9, "duplicates": "keep"}, kept * 2
    warnings = []
    for times in (30, 5):
        source = written(tmp_path, kept + [lost] * times)
        given = CorpusSettings(source=source, **settings)  # type: ignore[arg-type]
        warnings += [prepare_corpus(given, tmp_path / "c", max_words=20).manifest.warnings]
    (said,), few = warnings
    assert all(part in said for part in (rule, repr(lost), remedy))
    assert few == ()
