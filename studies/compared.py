"""Two studies compared: rows of both whose scores have the same signature and whose runs had the
same budget.

The partner of a row is the row of the other study with the same settings or, if there is none, the
row with the same name. Partners are compared, and what differs between them is named. Every other
row is listed with the reason why it is not compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import InputError
from core.metrics.catalogue import GROUPS, metric_info
from core.metrics.signature import Signature
from core.tracking.protocol import Tracker
from studies.adaptive import Looks
from studies.analysis.contrasts import Comparison, Effect, adjusted, judged
from studies.leaderboard import Leaderboard, Row
from studies.report import check_has_rows, read
from studies.sections import Reading
from studies.table import SPENT

TUNING = ("trials", "tuning_seeds")
BUDGET = (*(f"train.{key}" for key in SPENT), *(f"study.{key}" for key in ("tokens", *TUNING)))
MADE_WITH = ("git_commit", "versions", "device")  # tags of runs
OWN = ("seed", "name")  # settings in which equal rows may differ
Values = Mapping[str, str]
Differences = dict[str, tuple[str, str]]  # what: in the first row, in the second


@dataclass(frozen=True, eq=False)
class Side:
    """A row of one of the studies."""

    board: Leaderboard
    row: Row
    settings: Values  # what all its runs share, by dotted name; trials and tokens of the study
    made_with: Values

    @property
    def name(self) -> str:
        """Of the row among those of both studies."""
        return f"{self.row.variant} in {self.board.study}"

    @property
    def signature(self) -> str:
        """Of the row's score; empty for an older version's."""
        return self.board.other_signatures.get(self.row.variant, self.board.signature) or ""


def compare(tracker: Tracker, first: str, second: str) -> dict[str, Any]:
    """The document of two studies of a store. InputError for an unknown study, for the same one
    twice, and if no row has a partner.
    """
    readings = read(tracker, first), read(tracker, second)
    for reading in readings:
        check_has_rows(reading)
    studies = [reading.board.study for reading in readings]
    if studies[0] == studies[1]:
        raise InputError(f"{first!r} and {second!r} are the same study; give two")
    ours, theirs = map(_sides, readings)
    partners = [(a, b) for a in ours if (b := _partner(a, theirs))]
    if not partners:
        raise InputError(
            f"studies {studies[0]!r} and {studies[1]!r} have no common row: none has the settings "
            f"or the name of a row of the other"
        )
    why = {pair: _why_not(*pair) for pair in partners}
    pairs = [pair for pair in partners if not why[pair]]
    compared = {side for pair in pairs for side in pair}
    reasons = dict.fromkeys((*ours, *theirs), "no row with its settings or its name")
    reasons |= {side: why[pair] for pair in partners for side in pair}
    return {
        "studies": studies,
        "metric": readings[0].board.metric,
        "compared": [
            {**effect.document(), "a": a.row.variant, "b": b.row.variant,
             "scores": [a.row.score, b.row.score], "differs": differences(a, b)}
            for (a, b), effect in zip(pairs, _effects(pairs), strict=True)
        ],
        "not_compared": [
            {"study": each.board.study, "variant": each.row.variant, "reason": reason}
            for each, reason in reasons.items() if each not in compared
        ],
    }  # fmt: skip


def _sides(reading: Reading) -> list[Side]:
    budget = reading.table.budget
    of_study = {f"study.{key}": getattr(reading.table, key, None) for key in TUNING}
    of_study["study.tokens"] = budget and budget.tokens
    # The trials that ran: a command line may have given another number than the file.
    tried = Counter(trial.tags.get("arm", "") for trial in reading.trials)
    only = next(iter(tried.values())) if len(tried) == 1 else of_study["study.trials"]
    found = []
    for row in reading.board.rows:
        runs = reading.runs_of(row)
        of_study["study.trials"] = tried.get(row.variant, only)
        settings = _shared([run.params for run in runs])
        settings |= {key: str(value) for key, value in of_study.items() if value}
        tags = _shared([run.tags for run in runs])
        made_with = {key: tags.get(key, "-") for key in MADE_WITH}
        found.append(Side(reading.board, row, settings, made_with))
    return found


def _shared(found: Sequence[Values]) -> dict[str, str]:
    common = set.intersection(*(set(each.items()) for each in found))
    return {key: value for key, value in common if key not in OWN}


def _partner(side: Side, others: Sequence[Side]) -> Side | None:
    same_name = (each for each in others if each.row.variant == side.row.variant)
    same_settings = (each for each in others if each.settings == side.settings)
    return next(same_settings, None) or next(same_name, None)


def _why_not(ours: Side, theirs: Side) -> str:
    """Why two rows cannot be compared; empty if they can."""
    metric, other = ours.board.metric, theirs.board.metric
    if metric != other:
        return f"the studies rank by different metrics ({metric}, {other})"
    if ours.row.score is None or theirs.row.score is None:
        return "the metric has no worst value, and runs failed"
    if not (ours.signature and theirs.signature):
        return "a score without a signature, by an older version"
    size_dependent = GROUPS[metric_info(metric).group].size_dependent
    first, second = Signature.parse(ours.signature), Signature.parse(theirs.signature)
    if why := first.differences(second, size_dependent=size_dependent):
        return f"the signature of the score differs in {', '.join(why)}"
    budget = {key: pair for key, pair in differences(ours, theirs).items() if key in BUDGET}
    if "study.tokens" in ours.settings.keys() & theirs.settings.keys():
        budget.pop("train.updates", None)  # follow from the tokens and the batch size
    return f"the budget differs in {shown(budget)}" if budget else ""


def _effects(pairs: Sequence[tuple[Side, Side]]) -> list[Effect]:
    """A row of the first study minus its partner. They are not paired by seeds: the effect of a
    seed in one study is not that in the other.
    """
    if not pairs:
        return []
    rows = {side.name: replace(side.row, variant=side.name) for pair in pairs for side in pair}
    ours, theirs = (side.board for side in pairs[0])
    margin = ours.margin if ours.margin == theirs.margin else None
    looks = most_looks(ours.looks, theirs.looks)
    board = replace(ours, rows=tuple(rows.values()), margin=margin, looks=looks)
    welch, found = Comparison(board, may_pair=False), []
    for a, b in pairs:
        each = welch.of({a.name: 1.0, b.name: -1.0})
        found.append(Effect("", a.name, b.name, each, each.p))
    return judged(adjusted(found), board)


def most_looks(*found: Looks | None) -> Looks | None:
    """Of two studies, the looks at which intervals of both are valid; None without any."""
    return max(filter(None, found), key=lambda each: each.most, default=None)


def differences(ours: Side, theirs: Side) -> Differences:
    """The settings that differ or, if none does, what the runs were made with."""

    def differing(a: Values, b: Values) -> Differences:
        pairs = {key: (a.get(key, "-"), b.get(key, "-")) for key in sorted({*a, *b})}
        return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}

    return differing(ours.settings, theirs.settings) or differing(ours.made_with, theirs.made_with)


def shown(found: Mapping[str, Sequence[str]]) -> str:
    """Differences in a table."""
    return "; ".join(f"{key} ({ours}, {theirs})" for key, (ours, theirs) in found.items())
