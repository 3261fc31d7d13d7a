"""Disks that fill: a file system of its own, with a random number of bytes left."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.chaos import runs
from tests.chaos.children import child
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World, longest

TRIES = 4  # runs for one that meets the end of its disk


def full_disks(world: World, times: int, say: Say) -> Tally:
    """The disk fills at a random moment; after room was made the run goes on."""
    world.prepare()
    tally = Tally("full disk")
    # Children must find the world where the template's experiment keeps its artifacts.
    with _small_disk(world.store_dir) as fill:
        if fill is None:
            tally.note("not tried: no small file system may be mounted here")
            return tally
        for _ in range(TRIES * times):
            if tally.tried == times:
                break
            world.fresh()
            fill(world.rng.randint(1, world.bytes))
            ended = [child(partial(runs.work, world.uri), world.folder)]
            fill(None)
            if not ended[0].words:
                tally.note("runs had room enough")
                continue
            ended.append(child(partial(runs.work, world.uri), world.folder))
            tally.took(longest(ended))
            tally.count(world.check(ended))
            say(tally)
    return tally


@contextmanager
def _small_disk(place: Path) -> Iterator[Callable[[int | None], None] | None]:
    """A file system of its own at `place`; the callable leaves so many bytes free, None: all. None
    where this user may not mount one.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if mounted and not _fills(place):
        subprocess.run(["umount", str(place)], check=False)
        mounted = False
    if not mounted:
        yield None
        return
    try:
        yield lambda room: _ballast(place, room)
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(place)], check=False).returncode == 0:
                break
            time.sleep(0.1)


def _fills(place: Path) -> bool:
    """Whether the file system has an end; some sandboxes mount one without."""
    file = place / "ballast"
    try:
        with file.open("wb") as out:
            for _ in range(80):
                out.write(bytes(1 << 20))
    except OSError:
        return True
    else:
        return False
    finally:
        file.unlink()


def _ballast(place: Path, room: int | None) -> None:
    file = place / "ballast"
    file.unlink(missing_ok=True)
    if room is not None:
        free = shutil.disk_usage(place).free
        with file.open("wb") as out:
            left = max(0, free - room)
            while left > 0:
                left -= out.write(b"\0" * min(left, 1 << 20))
