"""Files to begin with: `textgan study init` and `textgan variants new`."""

from __future__ import annotations

import json
import keyword
import re
from pathlib import Path

from core.config.slots import slot_name
from core.errors import InputError
from core.files import write_atomically
from core.process import ROOT
from variants import registry

STUDY = Path(__file__).with_name("study_init.toml")
TEST = '''"""What only {slot}.{name} promises."""

from variants import registry
from variants.conformance import check


def test_{name}_keeps_the_rules() -> None:
    """Replace this by a comparison of the strategy with its plain definition."""
    assert check(registry(), "{slot}", "{name}").__name__ == "{title}"
'''


def new_study(path: Path) -> None:
    """Write a study file that runs as it is, named as the file."""
    if path.suffix != ".toml" or not path.stem:
        raise InputError(f"{path}: the name of a study file must end in .toml")
    name = json.dumps(path.stem, ensure_ascii=False)  # a string of TOML too
    _write({path: STUDY.read_text(encoding="utf-8").replace('"NAME"', name)})


def new_strategy(slot: str, name: str) -> list[Path]:
    """Write a strategy, a copy of a short one of its slot, and a test of it; the files.

    InputError for an unknown slot, or a name that is taken or is none.
    """
    slot = slot_name(slot)
    taken = registry().names(slot)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"{slot}.{name}: a name has a-z, 0-9 and _, and is no Python keyword")
    if name in taken:
        raise InputError(f"{slot}.{name}: there is a strategy of this name; take another")
    if not (ROOT / "tests" / "variants").is_dir():
        raise InputError(
            f"{ROOT}: no checkout of textgan-lab; copy docs/example_plugin for a package of yours"
        )
    ours = [file for file in (ROOT / "variants" / slot).glob("*.py") if file.stem in taken]
    model = min(ours, key=lambda file: (file.stat().st_size, file.stem))  # complete, and short
    old, title = registry().strategy(slot, model.stem).__name__, name.title().replace("_", "")
    text = model.read_text(encoding="utf-8")
    text = re.sub(rf"(?<=^class ){old}(?=\()|\b{old}(?=\.)", title, text, flags=re.MULTILINE)
    note = f"# A copy of {slot}.{model.stem}: change docstrings, `paper` and what it computes.\n"
    end = text.index('"""', 3) + 4  # of the module's docstring
    files = {
        ROOT / "variants" / slot / f"{name}.py": f"{text[:end]}\n{note}{text[end:]}",
        ROOT / "tests" / "variants" / f"test_{slot}_{name}.py": TEST.format(
            slot=slot, name=name, title=title
        ),
    }
    _write(files)
    return list(files)


def _write(files: dict[Path, str]) -> None:
    """Write new files; InputError if there is one of these names, before any is written."""
    for path in files:
        if path.exists():
            raise InputError(f"{path}: exists already; give another name")
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
    for path, text in files.items():
        write_atomically(path, text)
