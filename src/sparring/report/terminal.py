"""A run as it goes, in a terminal; one JSON object a line where there is none."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from sparring.evals.statistics import Interval
from sparring.files import Row, read_lines

Event = dict[str, Any]
Tell = Callable[[Event], None]
Billed = Callable[[], Mapping[str, Any]]
"""Tells, by role, what the ledger says was paid: as `Account.totals` does."""

ROWS = (
    ("win_rate", "answers preferred to m_0's", "%"),
    ("win_rate_questions_alone", "· questions alone (m_0 answers)", "%"),
    ("win_rate_answers_alone", "· answers alone (m_0 asks)", "%"),
    ("win_rate_personalised", "· m_0 told to personalise", "%"),
    ("win_rate_on_specific", "· on tasks that need the user", "%"),
    ("win_rate_on_general", "· on tasks that do not", "%"),
    ("questions_relevant", "questions for a needed fact", "%"),
    ("facts_right", "needed facts in the answer", "%"),
    ("facts_invented", "needed facts invented", "%"),
    ("answers_valid", "answers that are answers", "%"),
    ("conversations_held", "conversations that did not fail", "%"),
    ("closing_answers_replaced", "closing answers replaced by m_0's", "%"),
    ("oracle_log_prob", "oracle log-prob (nats)", "nats"),
    ("oracle_log_prob_over_m_0", "· over m_0 on the same pairs", "nats"),
    ("oracle_log_prob_shuffled", "· another user's conversation", "nats"),
    ("experimental_minus_shuffled", "· experimental minus shuffled", "nats"),
    ("experimental_minus_floor", "· experimental minus floor", "nats"),
    ("oracle_log_prob_floor", "· knowing nothing (floor)", "nats"),
    ("oracle_log_prob_ceiling", "· persona only (ceiling)", "nats"),
)
EVERY = 0.5
"""Seconds between two lines of progress where there is no terminal."""
DEAR = 50
"""Asking the ledger may take one part in so many of the time."""


@contextmanager
def narrator(out: Path, as_json: bool, billed: Billed = dict) -> Generator[Tell]:
    """Yield a function that is told events and shows them, with what this attempt has been billed so far."""
    paid = _Paid(billed)
    if as_json or not sys.stdout.isatty():
        yield _lines(paid)
        return
    console = Console(highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[paid]}"), console=console, transient=True) as progress:
        yield _Drawn(console, progress, out, paid).tell


class _Paid:
    """What this attempt has been billed, all roles together; the ledger is not asked more often than it is worth."""

    def __init__(self, billed: Billed):
        self._billed, self._due = billed, 0.0
        self._known: Row | None = None

    def now(self, at_once: bool = False) -> Row | None:
        """Return calls, tokens and usd (None: a price is unknown); None where nothing costs."""
        began = time.monotonic()
        if at_once or began >= self._due:
            self._known = _added([parts["billed_now"] for parts in self._billed().values()])
            took = time.monotonic() - began
            self._due = began + max(EVERY, DEAR * took)
        return self._known


def _added(parts: Sequence[Mapping[str, Any]]) -> Row | None:
    if not parts:
        return None
    tokens = sum((part["prompt_tokens"] or 0) + (part["completion_tokens"] or 0) for part in parts)
    prices = [part["usd"] for part in parts]
    return {
        "calls": sum(part["calls"] for part in parts),
        "tokens": tokens,
        "usd": None if None in prices else sum(prices),
    }


def _lines(paid: _Paid) -> Tell:
    last = 0.0

    def tell(event: Event) -> None:
        nonlocal last
        passing = event["event"] in ("stage", "training") and not event.get("ended")
        if passing and time.monotonic() - last < EVERY:
            return
        last = time.monotonic()
        if event["event"] == "stage" and (spent := paid.now(at_once=event.get("ended", False))):
            event = {**event, "billed": spent}
        sys.stdout.write(json.dumps(event, default=_plain) + "\n")
        sys.stdout.flush()

    return tell


def _plain(value: object) -> Any:
    return asdict(value) if isinstance(value, Interval) else str(value)


class _Drawn:
    """Bars while a stage goes on, a line when a round is evaluated, a table at the end."""

    def __init__(self, console: Console, progress: Progress, out: Path, paid: _Paid):
        self.console, self.progress, self.out, self.paid = console, progress, out, paid
        self.bars: dict[str, TaskID] = {}

    def tell(self, event: Event) -> None:
        kind = event["event"]
        if kind == "stage":
            self._bar(event["stage"], event["done"], event["of"], ended=event.get("ended", False))
        elif kind == "training" and "step" in event:
            name = f"{Path(event['checkpoint']).parent.name}/training"
            self._bar(name, event["step"], event["of"], ended=event["step"] == event["of"])
        elif kind == "round":
            self.console.print(f"[bold]round {event['round']}[/]  {_line(event['metrics'])}")
        elif kind == "summary":
            show_summary(self.console, event, self.out)

    def _bar(self, stage: str, done: int, of: int, ended: bool) -> None:
        if ended:
            if stage in self.bars:
                self.progress.remove_task(self.bars.pop(stage))
            return
        if stage not in self.bars:
            self.bars[stage] = self.progress.add_task(escape(stage), total=of, paid="")
        spent = self.paid.now()
        self.progress.update(self.bars[stage], completed=done, total=of, paid=_short(spent) if spent else "")


def show_summary(console: Console, summary: Mapping[str, Any], out: Path) -> None:
    """Print the verdict, the table of rounds, and one held-out user before and after."""
    console.print(summary_table(summary))
    for panel in before_and_after(out, len(summary["rounds"]) - 1):
        console.print(panel)
    for line in bill(summary):
        console.print(line)
    console.print(
        f"[bold]{escape(summary['verdict'])}[/]\n{escape(str(out))}/ holds every conversation, signal and row."
    )


def summary_table(summary: Mapping[str, Any]) -> Table:
    rounds = summary["rounds"]
    table = Table(title="Held-out tasks and personas, 95 % intervals over pairs", title_justify="left")
    table.add_column("")
    for entry in rounds:
        table.add_column(f"m_{entry['round']}", justify="right")
    for name, label, unit in ROWS:
        if any(entry["metrics"].get(name) for entry in rounds):
            table.add_row(label, *[_figure(entry["metrics"].get(name), unit) for entry in rounds])
    return table


def bill(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line a role whose calls cost: what was billed by this attempt, by earlier ones, and what was free."""
    for role, parts in summary.get("billed", {}).items():
        now, earlier, lost = parts["billed_now"], parts["billed_earlier"], parts["lost"]["calls"]
        calls = summary["calls"].get(role, {"calls": 0})["calls"]
        free = max(0, calls - now["calls"] - earlier["calls"])
        line = f"{escape(role)}: billed now {_paid(now)}, billed earlier {_paid(earlier)}, free {free:,} calls"
        yield line + (f"; {lost:,} calls may have been billed without an answer" if lost else "")


def _paid(part: Mapping[str, Any]) -> str:
    if not part["calls"]:
        return "nothing"
    tokens = (part["prompt_tokens"] or 0) + (part["completion_tokens"] or 0)
    usd = "price unknown" if part["usd"] is None else f"{part['usd']:.4f} USD"
    return f"{usd} ({part['calls']:,} calls, {tokens:,} tokens)"


def _short(spent: Mapping[str, Any]) -> str:
    """Return what was billed so far, for the end of a bar: the money, or the tokens where a price is unknown."""
    dear = f"{spent['tokens']:,} tokens" if spent["usd"] is None else f"{spent['usd']:.4f} USD"
    return f"{spent['calls']:,} paid, {dear}"


def before_and_after(out: Path, last: int) -> Iterator[Panel]:
    """Yield m_0's and the last model's conversation with one held-out user, the first whom it served better."""
    verdicts = read_lines(out / f"round-{last}" / "test-verdicts.jsonl")
    won = next((v["situation"] for v in verdicts if v["voice"] == "own" and v["value"] == 1.0), None)
    situations = {row["id"]: row for row in read_lines(out / "situations.jsonl")}
    for t in (0, last) if won else ():
        folder = out / f"round-{t}"
        talks = {row["id"]: row for row in read_lines(folder / "test-conversations.jsonl")}
        answer = next(
            a for a in read_lines(folder / "test-answers.jsonl") if a["situation"] == won and a["voice"] == "own"
        )
        situation = situations[cast(str, won)]
        lines = [f"[dim]user [/] {escape(situation['task']['text'])}"]
        for question, reply in talks[answer["conversation"]]["turns"]:
            lines += [f"[cyan]model[/] {escape(question)}", f"[dim]user [/] {escape(reply)}"]
        lines.append(f"[cyan]model[/] [bold]{escape(answer['text'])}[/]")
        title = f"m_{t} with {escape(situation['persona']['name'])}" + (", whose answer was preferred" if t else "")
        yield Panel("\n".join(lines), title=title, title_align="left")


def _line(metrics: Mapping[str, Interval | None]) -> str:
    shown = [("win_rate", "preferred to m_0"), ("questions_relevant", "relevant questions")]
    parts = [f"{label} {_figure(_as_row(metrics[name]), '%')}" for name, label in shown if metrics.get(name)]
    for name, label in (("oracle_log_prob", "log-prob"), ("experimental_minus_shuffled", "minus shuffled")):
        parts.append(f"{label} {_figure(_as_row(metrics[name]), 'nats')}")
    return ", ".join(parts)


def _as_row(interval: Interval | None) -> Mapping[str, Any] | None:
    return interval and interval.as_dict()


def _figure(metric: Mapping[str, Any] | None, unit: str) -> str:
    """Return "82.1 % [79.0, 85.0]"; a dash where nothing is known."""
    if metric is None:
        return "-"
    times, mark = (100, " %") if unit == "%" else (1, "")
    value, low, high = (
        x if x is None else round(times * x, 1) + 0.0 for x in (metric[k] for k in ("value", "low", "high"))
    )
    bounds = "" if low is None else f" \\[{low:.1f}, {high:.1f}]"
    return f"{value:.1f}{mark}{bounds}"
