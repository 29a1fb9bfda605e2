"""A run as it goes, in a terminal; one JSON object a line where there is none."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sparring.engines.human import sharing
from sparring.evals.statistics import Interval
from sparring.report import spar, star_gate, tripost
from sparring.report.certificates import Certificates
from sparring.report.paid import Billed, Paid
from sparring.report.parts import Report
from sparring.runs import Run

Event = dict[str, Any]
Tell = Callable[[Event], None]

REPORTS = {"star-gate": star_gate.REPORT, "tripost": tripost.REPORT, "spar": spar.REPORT}
"""How each recipe's rounds are shown."""
EVERY = 0.5
"""Seconds between two lines of progress where there is no terminal."""


@contextmanager
def narrator(recipe: str, out: Path, as_json: bool, billed: Billed = dict) -> Generator[Tell]:
    """Yield a function that is told a recipe's events and shows them, with what this attempt was billed so far."""
    paid = Paid(billed)
    if as_json or not sys.stdout.isatty():
        yield _lines(paid)
        return
    console = Console(highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, TextColumn("{task.fields[paid]}"), console=console, transient=True)
    with bars as progress, sharing(progress.stop, progress.start):
        yield _Drawn(REPORTS[recipe], console, progress, out, paid).tell


def _lines(paid: Paid) -> Tell:
    last = 0.0

    def tell(event: Event) -> None:
        nonlocal last
        passing = (event["event"] == "stage" or "step" in event) and not event.get("ended")
        if passing and time.monotonic() - last < EVERY:
            return
        last = time.monotonic()
        if event["event"] == "stage" and (spent := paid.now(at_once=event.get("ended", False))):
            event = {**event, "billed": spent}
        sys.stdout.write(json.dumps(event, default=_plain) + "\n")
        sys.stdout.flush()

    return tell


def _plain(value: object) -> Any:
    return value.as_dict() if isinstance(value, Interval) else str(value)


class _Drawn:
    """Bars while a stage goes on, a line when a round is evaluated, a table at the end."""

    def __init__(self, report: Report, console: Console, progress: Progress, out: Path, paid: Paid):
        self.report, self.console, self.progress, self.out, self.paid = report, console, progress, out, paid
        self.bars: dict[str, TaskID] = {}

    def tell(self, event: Event) -> None:
        kind = event["event"]
        if kind == "stage":
            self._bar(event["stage"], event["done"], event["of"], ended=event.get("ended", False))
        elif kind == "training" and "step" in event:
            name = f"{Path(event['checkpoint']).parent.name}/training"
            self._bar(name, event["step"], event["of"], ended=event["step"] == event["of"])
        elif kind == "training" and "resumed_from" in event:
            self.console.print(f"{escape(event['checkpoint'])} goes on from its saved step {event['resumed_from']}")
        elif kind == "training" and "steps_discarded" in event:
            lost = f"its saved step {event['steps_discarded']} was another job's"
            self.console.print(f"{escape(event['checkpoint'])} begins again: {lost}")
        elif kind == "round":
            self.console.print(f"[bold]round {event['round']}[/]  {self.report.line(event['metrics'])}")
            for line in event.get("warnings", ()):
                self.console.print(f"[yellow]warning[/]  {escape(line)}")
        elif kind == "verdict":
            self.console.print(f"[bold]round {event['round']}[/]  {escape(event['verdict'])}")
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
    """Print the table of rounds, a held-out item before and after, what judges and calls came to, and the verdict."""
    report, rounds = REPORTS[summary["recipe"]], summary["rounds"]
    console.print(report.table(rounds))
    for panel in report.example(out, len(rounds) - 1):
        console.print(panel)
    for line in verdicts(rounds):
        console.print(escape(line))
    for line in Certificates.read(Run(out), summary).lines():
        console.print(line)
    for line in bill(summary):
        console.print(line)
    console.print(f"[bold]{escape(summary['verdict'])}[/]\n{escape(str(out))}/ holds {report.holds}.")
    if "page" in summary:
        console.print(f"{escape(summary['page'])} shows it all, in any browser.")


def verdicts(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each round's verdict, and what it is warned of; nothing of runs of earlier versions."""
    for t, one in enumerate(rounds):
        if verdict := one.get("verdict"):
            yield f"round {t} {verdict}"
        for warning in one.get("warnings") or ():
            yield f"round {t}, warning: {warning}"


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
