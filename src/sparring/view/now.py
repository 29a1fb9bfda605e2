"""How a run stands at this moment, in words: what a page shows that looks every second."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sparring.files import Row
from sparring.report.parts import figure
from sparring.report.progress import DONE, FAILED, PAUSED, STOPPED, is_alive, read_progress
from sparring.report.terminal import REPORTS
from sparring.runs import Run

QUIET = 20.0
"""Seconds without news from which on it is said."""
LATEST = 6
"""Finished stages that are listed."""
SAID = {
    "underway": "Going on.",
    DONE: "Done.",
    PAUSED: "Paused by its budget. The same command with a larger one goes on.",
    STOPPED: "Stopped. The same command goes on from what is finished.",
    FAILED: "Ended by an error. What is finished is kept.",
    "died": "The process that worked on it is gone: killed, or the machine went down. The same command goes on.",
    "unknown": "Nobody says how far it is: what is finished is shown below.",
}
"""What is said of each state."""


def now(run: Run, clock: float) -> Row:
    """Return how a run stands at `clock`, in seconds since 1970: JSON, all of it ready to be shown."""
    done = (run.path / "summary.json").is_file()
    journal, told = run.journal(), read_progress(run.path)
    row = {"stages": len(journal), "latest": [_made(line) for line in journal[-LATEST:][::-1]]}
    try:
        return row | _told(run, told, journal, done, clock)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # written by another version of us
        return row | _state("unknown" if not done else DONE, None)


def _told(run: Run, told: Row | None, journal: Sequence[Row], done: bool, clock: float) -> Row:
    state = state_of(told, done)
    row = _state(state, told)
    if told is None or state == DONE:
        return row
    row["rounds"] = _rounds(run.record["recipe"], told["rounds"])
    row["spend"] = _spend(told)
    row["training"] = _training(told["training"])
    if state == "underway":
        bar = _bar(told, clock)
        row["says"], row["bar"] = _where(run.record["settings"].get("rounds"), bar), bar
        row["left"] = _left(run, journal, told, bar, clock)
        row["quiet"] = _quiet(clock - told["now"])
    return row


def state_of(told: Mapping[str, Any] | None, done: bool) -> str:
    """Return underway, done, paused, stopped, failed, died, or unknown: nothing was told.

    On another machine it is taken to be under way: how long ago it was heard of is said beside it.
    """
    if done:
        return DONE
    if told is None:
        return "unknown"
    if told["ended"]:
        return str(told["outcome"]) if told["outcome"] in SAID else FAILED
    return "died" if is_alive(told) is False else "underway"


def _state(state: str, told: Row | None) -> Row:
    error = told.get("error") if told and state != DONE else None
    return {"state": state, "says": SAID[state], "error": str(error)[:2000] if error else None}


# What is under way


def _bar(told: Mapping[str, Any], clock: float) -> Row | None:
    """Return the stage or the training that is under way, between two the last; None before the first."""
    stages, training = cast("list[Row]", told["stages"]), cast("Row | None", told["training"])
    last = max(stages, key=lambda stage: stage["at"], default=None)
    if training and training["of"] and (last is None or training["at"] >= last["at"]):
        return _going({**training, "stage": training["checkpoint"], "done": training["step"]}, clock)
    return _going(last, clock) if last else None


def _where(rounds: object, bar: Mapping[str, Any] | None) -> str:
    at = re.match(r"round-(\d{1,6})/", bar["stage"]) if bar else None
    if not at or not isinstance(rounds, int):
        return SAID["underway"]
    return f"Going on: round {at[1]} of {rounds}." if int(at[1]) else "Going on: measuring what the rounds begin with."


def _going(stage: Mapping[str, Any], clock: float) -> Row:
    done, of, took = stage["done"], stage["of"], stage["at"] - stage["since"]
    if stage["ended"]:
        row = {"stage": stage["stage"], "label": label(stage["stage"]), "done": of, "of": of, "seconds": 0.0}
        return row | {"rate": "finished; the next begins", "left": None}
    rate = (done - stage["first"]) / took if took >= 0.5 and done > stage["first"] else None
    left = max(0.0, (of - done) / rate - (clock - stage["at"])) if rate else None
    row = {"stage": stage["stage"], "label": label(stage["stage"]), "done": done, "of": of, "seconds": left}
    return row | {"rate": _rate(rate), "left": f"{duration(left)} left" if left else None}


def _left(run: Run, journal: Sequence[Row], told: Row, bar: Row | None, clock: float) -> str | None:
    """Return how long the rest of the run may take, going by the round before; None where nothing tells."""
    seconds = left_of_run(run.record["settings"].get("rounds"), journal, bar)
    if seconds is None:
        return None
    return f"About {duration(seconds[0])} left in all, if it goes on as in round {seconds[1]}."


def left_of_run(rounds: object, journal: Sequence[Row], bar: Mapping[str, Any] | None) -> tuple[float, int] | None:
    """Return the seconds that are left, and the round which that goes by: the last that was finished.

    Each stage is taken to last as long as it did in that round. None before a round is finished, and at the end.
    """
    took: dict[int, dict[str, float]] = {}
    for row in journal:
        if found := _in_round(row["stage"]):
            took.setdefault(found[0], {})[found[1]] = row["seconds"]
    at = _in_round(bar["stage"]) if bar else None
    current = max([*took, at[0]] if at else [*took], default=0)
    before = took.get(current - 1)
    if not isinstance(rounds, int) or current < 2 or current > rounds or not before:
        return None
    due = {name: seconds for name, seconds in before.items() if name not in took.get(current, {})}
    if bar and at and at[0] == current and bar["seconds"] is not None:  # not the last one of the round before
        due[at[1]] = bar["seconds"]
    left = sum(due.values()) + (rounds - current) * sum(before.values())
    return (left, current - 1) if left > 0 else None


def _in_round(stage: str) -> tuple[int, str] | None:
    found = re.fullmatch(r"round-(\d{1,6})/(.+)", stage)
    return (int(found[1]), found[2]) if found and int(found[1]) else None


# What has come of it so far


def _rounds(recipe: str, rounds: Sequence[Row]) -> Row | None:
    report = REPORTS.get(recipe)
    if not rounds or not report:
        return None
    rows: list[Row] = []
    for name, said, unit in report.rows:
        found = [one["metrics"].get(name) for one in rounds]
        if any(found):
            rows.append({"label": said, "cells": [figure(one, unit, report.bounds).replace("\\", "") for one in found]})
    return {"head": [f"m_{one['round']}" for one in rounds], "rows": rows}


def _training(training: Row | None) -> Row | None:
    if not training or not training["points"]:
        return None
    step, loss = training["points"][-1]
    said = f"{label(training['checkpoint'])}: step {step} of {training['of']}"
    said += ", loss unknown" if loss is None else f", loss {loss:.3f}"
    return {"label": said, "points": training["points"], "of": training["of"], "ended": bool(training["ended"])}


def _spend(told: Mapping[str, Any]) -> str | None:
    """Return what was billed, in words; None where nothing costs."""
    if not told["billed"]:
        return None
    earlier = told.get("billed_earlier")
    said = [f"{_money(told['billed'])} in this attempt"]
    said += [f"{_money(earlier)} in earlier ones"] if earlier and earlier["calls"] else []
    said += [f"ceiling {told['budget']}"] if told.get("budget") else []
    return "Billed: " + "; ".join(said) + "."


def _money(part: Mapping[str, Any]) -> str:
    usd = "price unknown" if part["usd"] is None else f"{part['usd']:.4f} USD"
    return f"{usd} ({part['calls']:,} calls, {part['tokens']:,} tokens)"


def _made(line: Mapping[str, Any]) -> Row:
    return {"label": label(str(line["stage"])), "took": duration(float(line["seconds"]))}


def _quiet(seconds: float) -> str | None:
    return f"No news for {duration(seconds)}." if seconds > QUIET else None


# Words


def label(stage: str) -> str:
    """Return a stage's name for people: `round-2/test-answers.jsonl` is "round 2: test answers"."""
    folder, _, name = stage.removesuffix(".jsonl").removesuffix(".json").rpartition("/")
    return ": ".join(part.replace("-", " ") for part in (folder, name) if part)


def _rate(rate: float | None) -> str | None:
    if rate is None:
        return None
    return (
        f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
    )


def duration(seconds: float) -> str:
    """Return seconds in words, no finer than a person needs: `8 s`, `3 min`, `1 h 20 min`, `2 d 5 h`."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
