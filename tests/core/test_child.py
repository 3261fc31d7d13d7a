"""What our processes start runs our code."""

from __future__ import annotations

import subprocess
from pathlib import Path

from core import process


def test_a_folder_of_the_same_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (tmp_path / "experiments" / name).write_text("raise SystemExit('somebody else')\n")
    said = subprocess.run(
        process.command("experiments", "variants", "--help"),
        cwd=tmp_path,
        env=process.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "variants" in said.stdout
