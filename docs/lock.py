"""Whether what is installed is what was meant: `make lock` and `make audit`.

`constraints.lock` has every pin of `constraints.txt` with the SHA-256 of each of its files, as the
registry states them; `pip install --require-hashes -r constraints.lock` takes nothing else. The
audit holds lock, pins and what is installed against each other without a network, and then asks for
advisories, which needs one.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINS, LOCK = ROOT / "constraints.txt", ROOT / "constraints.lock"
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")
AUDIT = ("pip_audit", "--requirement", str(LOCK), "--disable-pip", "--format", "json",
         "--progress-spinner", "off")  # fmt: skip
LONGEST_WAIT = 600  # seconds


def pins(text: str) -> dict[str, str]:
    """Version by name, of lines `name==version`."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    pairs = [line.partition("==") for line in lines if "==" in line]
    return {plain(name): version.partition(";")[0].strip() for name, _, version in pairs}


def locked(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by name, of a lock."""
    found = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if "==" in entry:
            ((name, version),) = pins(entry.partition("--hash")[0]).items()
            found[name] = (version, frozenset(HASH.findall(entry)))
    return found


def plain(name: str) -> str:
    """A package's name in its one form."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def disagreements(
    wanted: Mapping[str, str], lock: Mapping[str, tuple[str, frozenset[str]]]
) -> list[str]:
    """Where the lock is not the pins with a hash each."""
    lines = [f"{name}: locked, but not pinned" for name in lock.keys() - wanted.keys()]
    for name, version in wanted.items():
        found, hashes = lock.get(name, (None, frozenset()))
        if found != version:
            lines.append(f"{name}: pinned at {version}, locked at {found or 'nothing'}")
        elif not hashes:
            lines.append(f"{name}: locked without a hash")
    return sorted(lines)


def inconsistencies() -> list[str]:
    """What `pip check` says of the packages that are installed."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip().splitlines() if done.returncode else []


def advisories(answer: str) -> Iterator[str]:
    """Lines for what pip-audit found, from its JSON; ValueError where it could not look at all."""
    found = json.loads(answer)["dependencies"]
    skipped = [each["name"] for each in found if "skip_reason" in each]
    if len(skipped) == len(found):
        raise ValueError("the registry gave no advisories for any package")
    for each in found:
        for vulnerability in each.get("vulns", []):
            mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            yield f"{each['name']} {each['version']}: {vulnerability['id']}, mended in {mended}"
    if skipped:
        yield f"not audited, the registry has no advisories for them: {', '.join(skipped)}"


def ask() -> list[str]:
    """Known vulnerabilities of what is locked; one line in words where nobody could be asked."""
    if importlib.util.find_spec(AUDIT[0]) is None:
        return ["advisories not asked for: pip install -c constraints.txt pip-audit"]
    try:
        done = subprocess.run([sys.executable, "-m", *AUDIT], capture_output=True, text=True,
                              check=False, timeout=LONGEST_WAIT)  # fmt: skip
        return list(advisories(done.stdout))
    except subprocess.TimeoutExpired:
        why = f"no answer in {LONGEST_WAIT} s"
    except (ValueError, KeyError) as error:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        why = str(error) if not isinstance(error, json.JSONDecodeError) else last[:200]
    return [f"advisories not read, so nothing is known of vulnerabilities ({why}); "
            "run it where https://pypi.org answers"]  # fmt: skip


def write() -> int:
    """Ask the registry for the hashes of every pin."""
    if importlib.util.find_spec("uv") is None:
        sys.stderr.write("make lock needs uv: pip install -c constraints.txt uv\n")
        return 1
    command = ["uv", "pip", "compile", "--no-deps", "--generate-hashes", "--no-header",
               "--no-annotate", "--quiet", str(PINS), "--output-file", str(LOCK)]  # fmt: skip
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Write the lock, or audit; exit status 1 where anything is wrong or could not be seen."""
    if "--write" in arguments:
        return write()
    lines = disagreements(pins(PINS.read_text()), locked(LOCK.read_text())) + inconsistencies()
    if "--offline" not in arguments:
        lines += ask()
    sys.stdout.write("\n".join(lines or ["nothing to report"]) + "\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
