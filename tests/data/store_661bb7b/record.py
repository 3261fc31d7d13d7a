"""Record the store beside this file, with a checkout of commit 661bb7b.

    git worktree add ../old 661bb7b
    PYTHONPATH=../old .venv/bin/python tests/data/store_661bb7b/record.py

It trains every run in a temporary folder, writes down what the old code says of each
(expected.json), takes machine paths out of the database and packs the folder (store.tar.xz).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent
ROOM = "/recorded"  # what stands in the database for the folder of the store
TINY = [
    "corpus.difficulty=easy", "corpus.sentences=200", "evaluation.sentences=20",
    "evaluation.references=20", "evaluation.shown=3", "train.batch_size=4", "model.length=8",
    "train.log_every=1",
]  # fmt: skip
LSTM = ["generator.width=4", "generator.hidden=8"]
TRANSFORMERS = [
    "generator.width=4", "generator.hidden=8", "generator.heads=2", "generator.noise_blocks=1",
    "generator.output_blocks=1", "discriminator.width=4", "discriminator.hidden=8",
    "discriminator.heads=2", "discriminator.layers_per_block=1", "discriminator.backbone_blocks=1",
    "discriminator.output_blocks=1",
]  # fmt: skip
STACKABLE = [
    *LSTM, "discriminator.width=4", "discriminator.hidden=8", "discriminator.dropout=0",
]  # fmt: skip
RUNS = {
    # Old keys: hide_after_end, fakes, generator_rate, discriminator_rate, rate_decay,
    # discriminator_decay, start_length, grow_until, largest_loss.
    "modern": [
        *LSTM, "discriminator.width=8", "discriminator.hidden=8", "schedule.n_d=2",
        "train.fakes=shared", "train.start_length=4", "train.grow_until=0.5", "train.ema=0.9",
        "train.largest_loss=1e8", "train.updates=6", "train.checkpoint_every=2",
        "train.keep_every=2", "evaluation.every=2", "evaluation.keep_best=eval/ms_jaccard_2",
    ],
    "gan_textgen": [
        *TRANSFORMERS, "noise_mapping.layers=1", "train.updates=3", "schedule.n_d=1",
        "evaluation.every=3",
    ],
    "mle": [
        "generator.width=4", "generator.hidden=8", "generator.heads=2", "generator.output_blocks=1",
        "train.updates=6", "evaluation.every=3",
    ],
    "cot": ["system.width=4", "system.mediator_width=8", "train.updates=4", "evaluation.every=2"],
    "catgan": [
        "system.width=4", "system.head_size=4", "system.discriminator_width=8",
        "system.representations=2", "system.filters=[2,2,2,2]", "system.generator_updates=2",
        "system.n_d=1", "system.rate=1e-3", "train.updates=4", "evaluation.every=2",
    ],
}  # fmt: skip
# Likelihood first (schedule.generator_rate), then adversarial; killed in the second part.
INTERRUPTED = [
    "generator.width=4", "generator.head_size=4", "discriminator.width=8",
    "discriminator.representations=2", "discriminator.filters=[2,2,2,2]", "discriminator.hidden=4",
    "schedule.generator_epochs=0",
    "schedule.generator_updates=3", "schedule.n_d=2", "train.fakes=shared", "train.updates=9",
    "train.checkpoint_every=4", "evaluation.every=3",
]  # fmt: skip
STUDIES = {
    # The study of the original design axes under its old name; Transformers, WGAN-GP.
    "card_axes": """
        [study]
        name = "card_axes"
        kind = "ablation"
        question = "Which choice matters: the sampling?"
        seeds = 2
        metric = "eval/ms_jaccard_2"
        [study.axes]
        sampling = ["detached", "gumbel_softmax"]
    """,
    # Trained two at a time as one program; an old key is an axis.
    "stacked": """
        [study]
        name = "stacked"
        kind = "ablation"
        question = "Which learning rate?"
        seeds = 1
        metric = "eval/ms_jaccard_2"
        [study.axes]
        "train.generator_rate" = [0.001, 0.1]
    """,
    # Old keys are a space that is searched.
    "search_rates": """
        [study]
        name = "search_rates"
        kind = "search"
        question = "Which learning rates?"
        seeds = 1
        trials = 3
        finalists = 1
        metric = "eval/ms_jaccard_2"
        [study.space]
        "train.generator_rate" = true
        "train.discriminator_rate" = [0.0001, 0.01]
    """,
}
KILLED_AT = 7


def textgan(room: Path, *words: str) -> str:
    """What a command of the old code says on standard output."""
    return python(room, "-m", "experiments", *words)


def python(room: Path, *words: str) -> str:
    """What the interpreter says, with the old code."""
    done = subprocess.run(
        [sys.executable, "-P", *words],
        cwd=room, env=environment(), stdout=subprocess.PIPE, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0 or "reproduce" in words, words  # 1: the numbers do not agree
    return done.stdout


def environment() -> dict[str, str]:
    """The old code by its whole path, since commands run in another folder."""
    old = str(Path(os.environ["PYTHONPATH"]).resolve())
    return {**os.environ, "PYTHONPATH": old, "OMP_NUM_THREADS": "1", "TEXTGAN_DEBUG": "1"}


def sets(overrides: list[str]) -> list[str]:
    return [word for each in overrides for word in ("--set", each)]


def study_file(room: Path, name: str) -> str:
    """A study's file: its own tables, and those of a whole system."""
    old = Path(os.environ["PYTHONPATH"]).resolve() / "experiments" / "systems"
    base = (old / f"{'gan_textgen' if name == 'card_axes' else 'scratchgan'}.toml").read_text()
    head = "\n".join(line.strip() for line in STUDIES[name].splitlines())
    (room / f"{name}.toml").write_text(f"{head}\n{base}", encoding="utf-8")
    return f"{name}.toml"


def two_processes(room: Path) -> None:
    """Train one run with two processes."""
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "experiments"]
    python(room, *launch, "run", "mle", *sets([*TINY, *RUNS["mle"], "name=two_processes"]))


def kill(room: Path) -> None:
    """Train a run that kills itself, as kill -9 does, after its checkpoint."""
    code = f"""
import os, signal, sys
from experiments import load, run

def report(step, total, values):
    if step == {KILLED_AT} and "train/generator_loss" in values:
        os.kill(os.getpid(), signal.SIGKILL)

run(load("relgan", sys.argv[1:]), name="interrupted", report=report)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *TINY, *INTERRUPTED], cwd=room, env=environment(),
        check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.returncode


def expected(room: Path) -> dict[str, object]:
    """What the old code says of everything in the store; what trains does so in a copy."""
    rows = json.loads(textgan(room, "runs", "--json"))
    ended = [row["run_id"] for row in rows if row["outcome"] in ("ok", "collapsed")]
    interrupted = next(row["run_id"] for row in rows if row["variant"] == "interrupted")
    found = {
        "processor": processor(),
        "runs": rows,
        "samples": {run_id: sentences(room, run_id) for run_id in ended},
        "leaderboards": {name: json.loads(textgan(room, "report", name, "--json"))
                         for name in STUDIES},
    }  # fmt: skip
    summaries = room.parent / "summaries"
    for name in STUDIES:
        textgan(room, "report", name, "--summary", str(summaries / f"{name}.json"))
    python(room, "-m", "studies.results", str(summaries), str(HERE / "reports.md"),
           "--pictures", str(room.parent / "pictures"))  # fmt: skip
    copy = room.parent / "copy"
    shutil.copytree(room, copy)
    move(copy / "mlruns", str(room), str(copy))
    resumed = json.loads(textgan(copy, "run", "--resume", interrupted, "--json"))
    found["resumed"] = {**resumed, "samples": sentences(copy, interrupted)}
    grown = json.loads(
        textgan(copy, "study", "search_rates", "--resume", "--trials", "5", "--json")
    )
    columns = "variant,seed,outcome,train.generator_rate,train.discriminator_rate"
    found["continued"] = {
        "leaderboard": grown["leaderboard"],
        "runs": [
            {key: row[key] for key in columns.split(",")}
            for row in json.loads(textgan(copy, "runs", "search_rates", "--json"))
        ],
    }
    found["reproduced"] = {
        run_id: json.loads(textgan(copy, "reproduce", run_id, "--json"))["verdict"]
        for run_id in ended
    }
    return found


def sentences(room: Path, run_id: str) -> dict[str, list[str]]:
    """Five sentences of seed 7 of a run's model, and of each checkpoint that it kept."""
    kept = sorted((room / "mlruns" / "runs" / run_id / "kept").glob("*.safetensors"))
    words = ["sample", run_id, "--seed", "7", "-n", "5", "--json"]
    drawn = {"end": textgan(room, *words)}
    drawn |= {file.stem: textgan(room, *words, "--at", file.stem) for file in kept}
    return {at: json.loads(text)["sentences"] for at, text in drawn.items()}


def processor() -> str:
    """The name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def move(store: Path, old: str, new: str) -> None:
    """Rewrite the folder of a store that was copied, in MLflow's database and its models."""
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        tables = [name for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'")]  # fmt: skip
        for table in tables:
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT", "CLOB")):
                    database.execute(
                        f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                        f'WHERE "{column}" LIKE ?',
                        (old, new, f"%{old}%"),
                    )
        database.commit()
        database.execute("VACUUM")


def pack(room: Path) -> None:
    """The store as one archive, without PNG copies of vector figures, locks, and the checkpoints
    that `textgan runs gc` removes once a run has ended.
    """
    store = room / "mlruns"
    for result in store.glob("runs/*/result.json"):
        for spare in result.parent.glob("checkpoint.*"):
            spare.unlink()
    move(store, str(room), ROOM)
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("PRAGMA journal_mode=DELETE")
    for file in [*store.rglob("*.png"), *store.rglob("*.lock"), store / ".reached"]:
        file.unlink()
    with tarfile.open(HERE / "store.tar.xz", "w:xz", preset=9) as archive:
        archive.add(store, "mlruns")


def main() -> None:
    """Record, ask, pack."""
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder) / "room"
        room.mkdir()
        for system, overrides in RUNS.items():
            textgan(room, "run", system, *sets([*TINY, *overrides]), "--seed", "3")
        for name in STUDIES:
            size = TRANSFORMERS if name == "card_axes" else STACKABLE
            words = ["--stack-seeds", "2"] if name == "stacked" else []
            small = ["train.updates=4", "evaluation.every=2", "noise_mapping.layers=1"]
            small = small if name == "card_axes" else small[:2]
            textgan(room, "study", study_file(room, name), *sets([*TINY, *size, *small]), *words)
        two_processes(room)
        kill(room)
        document = expected(room)
        text = json.dumps(document, indent=0, sort_keys=True, ensure_ascii=False)
        (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
        pack(room)


if __name__ == "__main__":
    main()
