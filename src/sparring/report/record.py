"""What a run directory says of a run, for whoever shows it: the same facts of every recipe, also while it goes on.

What an older run did not write down is None or left out, never 0.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sparring.files import Row, read_json, read_lines
from sparring.report import steps
from sparring.report.certificates import Certificates
from sparring.report.parts import Unit
from sparring.report.steps import Topology
from sparring.report.terminal import REPORTS
from sparring.runs import SERVER, Run

__all__ = ["Charge", "Failed", "Metric", "Paid", "Record", "Stage", "Topology"]

LONG = 500
"""Most characters of an example of a failure."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of every round."""

    name: str
    """As in summary.json."""
    label: str
    unit: Unit
    """%: a share in [0, 1]. points: a difference of two such. nats, words, questions: as they are."""
    rounds: tuple[Mapping[str, Any] | None, ...]
    """Of m_0, m_1, ...: value, low, high (95 %; None: not known) and n; None where it was not measured."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step that was made and kept."""

    name: str
    """Its path in the run: round-1/train.jsonl."""
    round: int | None
    """None: it belongs to the whole run."""
    seconds: float | None
    calls: int | None
    """By all roles; None: it asked nobody, or did not count."""
    prompt_tokens: int | None
    """None as `calls`; 0 also where an engine does not count, which `figures.tokens` tells."""
    completion_tokens: int | None
    failed: int | None
    """Rollouts that failed; None: it rolls nothing out."""
    n: int | None
    """Lines of its file; None for a folder or a single object, and where it is gone."""
    finished: str | None = None
    """When: ISO 8601, UTC."""
    facts: Mapping[str, Mapping[str, int]] | None = None
    """What it counted, by name: found, learned, dropped -> kind or reason -> n."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Rollouts of one stage that failed for one reason."""

    stage: str
    reason: str
    n: int
    id: str
    """Of the first of them."""
    detail: str
    """What was met there, at most 500 characters."""


@dataclass(frozen=True, slots=True)
class Paid:
    """Calls that were billed."""

    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    usd: float | None
    """None: a price is not known."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one role asked, and what of it cost."""

    role: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    now: Paid | None
    """Billed by the attempt that finished the run; None: it is not finished, or nothing of this role costs."""
    earlier: Paid | None
    """Billed by earlier attempts; None with `now`."""
    lost: int | None
    """Calls that may have been billed without an answer; None with `now`."""
    free: int | None
    """Calls answered by a model of ours, or from the ledger; None while the run goes on."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run."""

    name: str
    """Of its folder."""
    recipe: str
    title: str
    """What its table of metrics is called; "" for a recipe that this version does not know."""
    verdict: str | None
    """One sentence; None while it goes on."""
    metrics: tuple[Metric, ...]
    """In the order of the report; empty while it goes on."""
    rounds: Sequence[Mapping[str, Any]]
    """As in summary.json; empty while it goes on."""
    certificates: Certificates
    """Of its judge, also while it goes on."""
    stages: tuple[Stage, ...]
    """In the order in which they were made."""
    failures: tuple[Failed, ...]
    """Stage by stage, the commonest reason first."""
    bill: tuple[Charge, ...]
    topology: Topology
    settings: Mapping[str, Any]
    """`Run.public_settings`: a record is for sharing."""
    seeds: tuple[int, ...]
    versions: Mapping[str, str | None]
    commit: str | None
    command: str | None
    prompts: Mapping[str, str]
    """By name; empty in an older run."""
    done: bool
    """Whether its summary is written."""

    @classmethod
    def read(cls, run: Run) -> Record:
        """Read it off the run directory and nothing else. Raises RunError for a file that is broken."""
        path, record = run.path / "summary.json", run.record
        summary = read_json(path) if path.is_file() else None
        rounds: list[Row] = (summary or {}).get("rounds") or []
        recipe, settings = str(record["recipe"]), cast(Mapping[str, Any], record["settings"])
        report = REPORTS.get(recipe)
        return cls(
            name=run.path.resolve().name,
            recipe=recipe,
            title=report.title if report else "",
            verdict=(summary or {}).get("verdict"),
            metrics=_metrics(recipe, rounds),
            rounds=rounds,
            certificates=Certificates.read(run, summary),
            stages=_stages(run),
            failures=_failures(run),
            bill=_bill(run, summary),
            topology=steps.topology(recipe, settings),
            settings=run.public_settings,
            seeds=tuple(record.get("seeds") or ()),
            versions=record.get("versions") or {},
            commit=record.get("commit"),
            command=_shared(record.get("command")),
            prompts=record.get("prompts") or {},
            done=summary is not None,
        )


def _shared(command: str | None) -> str | None:
    """Return a command without what it told the server."""
    if command is None:
        return None
    try:
        words = shlex.split(command)
    except ValueError:  # not as a shell would read it, so nobody knows where a setting ends
        return None if SERVER in command else command
    kept = [word for word in words if not re.match(rf"{SERVER}[.=]", word)]
    return command if len(kept) == len(words) else shlex.join(kept)  # as it was given, where nothing has to go


def _metrics(recipe: str, rounds: Sequence[Row]) -> tuple[Metric, ...]:
    report, found = REPORTS.get(recipe), list[Metric]()
    for name, label, unit in report.rows if report else ():
        values = tuple((one.get("metrics") or {}).get(name) for one in rounds)
        if any(values):
            found.append(Metric(name, label, unit, values))
    return tuple(found)


def _stages(run: Run) -> tuple[Stage, ...]:
    made = {str(row.get("stage")): row for row in run.journal()}  # one that was made again counts once
    return tuple(_stage(run, name, row) for name, row in made.items())


def _stage(run: Run, name: str, row: Row) -> Stage:
    calls = cast("Mapping[str, Mapping[str, int]] | None", row.get("calls"))
    facts = {key: row[key] for key in ("found", "learned", "dropped") if isinstance(row.get(key), dict)}
    return Stage(
        name=name,
        round=round_of(name),
        seconds=row.get("seconds"),
        calls=_sum(calls, "calls"),
        prompt_tokens=_sum(calls, "prompt_tokens"),
        completion_tokens=_sum(calls, "completion_tokens"),
        failed=row.get("failed"),
        n=count_lines(run.path / name) if name.endswith(".jsonl") else None,
        finished=row.get("finished"),
        facts=facts or None,
    )


def round_of(stage: str) -> int | None:
    """Return the round that a stage's name begins with; None for one of the whole run."""
    found = re.match(r"round-(\d{1,6})/", stage)
    return int(found[1]) if found else None


def count_lines(path: Path) -> int | None:
    """Return how many rows a file of JSON lines has; None where it is not there."""
    try:
        made = path.stat()
    except FileNotFoundError:
        return None
    return _lines_in(path, made.st_size, made.st_mtime_ns)


@lru_cache(maxsize=4096)
def _lines_in(path: Path, size: int, changed: int) -> int:
    """Count lines. What a file is called it is once and for all; size and time tell one that was deleted and remade."""
    n, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            n, last = n + block.count(b"\n"), block[-1:]
    return n + (last != b"\n")


def _sum(calls: Mapping[str, Mapping[str, int]] | None, name: str) -> int | None:
    known = [counts[name] for counts in (calls or {}).values() if counts and counts.get(name) is not None]
    return sum(known) if known else None


def _failures(run: Run) -> tuple[Failed, ...]:
    path = run.path / "failures.jsonl"
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Row] = {}
    for row in read_lines(path) if path.is_file() else []:
        key = str(row.get("stage") or ""), str(row.get("reason") or "")
        counts[key] += 1
        first.setdefault(key, row)
    stages = list(dict.fromkeys(stage for stage, _ in first))
    keys = sorted(first, key=lambda key: (stages.index(key[0]), -counts[key], key[1]))
    return tuple(_failed(*key, counts[key], first[key]) for key in keys)


def _failed(stage: str, reason: str, n: int, row: Row) -> Failed:
    return Failed(stage, reason, n, str(row.get("id") or ""), str(row.get("detail") or "")[:LONG])


def _bill(run: Run, summary: Row | None) -> tuple[Charge, ...]:
    calls: Mapping[str, Any] = (summary or {}).get("calls") or _calls(run.journal())
    billed: Mapping[str, Any] = (summary or {}).get("billed") or {}
    roles = [*calls, *(role for role in billed if role not in calls)]
    return tuple(_charge(role, calls.get(role) or {}, billed.get(role), summary is not None) for role in roles)


def _calls(journal: Sequence[Row]) -> dict[str, Counter[str]]:
    """Return the calls each role made so far; as `Run.calls`, of journals that lack something too."""
    totals: dict[str, Counter[str]] = {}
    for row in journal:
        for role, counts in (row.get("calls") or {}).items():
            known = {name: n for name, n in (counts or {}).items() if n is not None}
            totals.setdefault(role, Counter()).update(known)
    return totals


def _charge(role: str, counts: Mapping[str, int], billed: Mapping[str, Any] | None, done: bool) -> Charge:
    asked, *tokens = (counts.get(name) or 0 for name in ("calls", "prompt_tokens", "completion_tokens"))
    if billed is None:
        return Charge(role, asked, tokens[0], tokens[1], None, None, None, asked if done else None)
    now, earlier = _paid(billed["billed_now"]), _paid(billed["billed_earlier"])
    free = max(0, asked - now.calls - earlier.calls)
    return Charge(role, asked, tokens[0], tokens[1], now, earlier, billed["lost"]["calls"], free)


def _paid(part: Mapping[str, Any]) -> Paid:
    return Paid(part["calls"], part.get("prompt_tokens"), part.get("completion_tokens"), part.get("usd"))
