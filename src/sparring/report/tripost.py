"""TriPosT's rounds: what is right at first, and after the policy has corrected itself, beside what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sparring.files import read_lines
from sparring.report.parts import Metrics, Report, Unit, as_row, figure
from sparring.tasks.exercise import read_feedback, read_steps

WIDE = 80
"""Columns of an example's text."""

ROWS: tuple[tuple[str, str, Unit], ...] = (
    ("accuracy_direct", "right at the first attempt", "%"),
    ("accuracy_direct_seen", "· in tiers trained on", "%"),
    ("accuracy_direct_unseen", "· in harder ones", "%"),
    ("accuracy_self_corrected", "right after correcting itself", "%"),
    ("accuracy_self_corrected_seen", "· in tiers trained on", "%"),
    ("accuracy_self_corrected_unseen", "· in harder ones", "%"),
    ("accuracy_self_corrected_over_round_0", "· over m_0 correcting itself", "points"),
    ("accuracy_self_corrected_over_round_0_direct", "· over m_0's first attempts", "points"),
    ("mended", "wrong, then right", "%"),
    ("broken", "right, then wrong", "%"),
    ("corrects_itself", "attempts that it updates", "%"),
    ("errors_found", "wrong attempts that it criticises", "%"),
    ("false_alarms", "right attempts that it criticises", "%"),
    ("feedback_accuracy", "feedback the verifier agrees with", "%"),
    ("feedback_span", "· and quotes the same", "%"),
    ("forgotten", "held-out questions lost since m_0", "%"),
    ("answer_words", "words in an answer", "words"),
    ("distinct_2", "· share of different word pairs", "%"),
    ("contaminated", "test questions learned from", "%"),
    ("sampled_direct", "at temperature 1: first attempts", "%"),
    ("sampled_self_corrected", "· after correcting itself", "%"),
    ("sampled_gain", "· gained by it", "points"),
    ("majority_vote", "· votes at no fewer tokens", "%"),
    ("self_corrected_over_vote", "· correcting itself over votes", "points"),
)


def line(metrics: Metrics) -> str:
    """Return a round in one line."""
    shown = (
        ("accuracy_direct", "right at first"),
        ("accuracy_self_corrected", "corrected"),
        ("mended", "mended"),
        ("broken", "broken"),
    )
    return ", ".join(f"{label} {figure(as_row(metrics.get(name)), '%', bounds=False)}" for name, label in shown)


def mended(out: Path, last: int) -> Iterator[Panel]:
    """Yield a held-out question that the last model got wrong and then mended by itself, one of the fewest words."""
    rows = [row for row in read_lines(out / "eval.jsonl") if row["round"] == last and row["item"] == "greedy"]
    those = [row for row in rows if row["self_corrected"] and not row["direct"]]
    ids = {row["id"] for row in [row for row in those if row["span_named"]] or those}  # found for the right reason
    folder = out / f"round-{last}"
    found = [row for row in read_lines(folder / "test-trajectories.jsonl") if row["exercise"] in ids]
    if not found:
        return
    shown = min(found, key=lambda row: (len(row["attempts"]), sum(map(len, row["attempts"]))))
    exercises = {row["id"]: row for row in read_lines(out / "exercises.jsonl") if row["part"] == "test"}
    exercise = exercises[shown["exercise"]]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan")
    grid.add_column(max_width=WIDE, overflow="fold")
    grid.add_row(Text("question", "dim"), Text(exercise["question"]))
    for one in said(shown):
        grid.add_row(one.who, _shown(one))
    yield Panel.fit(grid, title=f"m_{last} mends its own mistake ({escape(exercise['tier'])})", title_align="left")


@dataclass(frozen=True, slots=True)
class Said:
    """What the policy, or its teacher, said."""

    who: Literal["attempt", "feedback", "update"]
    at: int
    """Number of the attempt, from 0, that it is or is about; an update has its own."""
    text: str
    quoted: tuple[int, int] | None = None
    """Of an attempt or an update: where the feedback on it says that it is wrong, in characters."""


def said(trajectory: Mapping[str, Any]) -> Iterator[Said]:
    """Yield what was said in order: attempt, feedback, update, feedback, ... A feedback that is empty is left out."""
    attempts, feedbacks = trajectory.get("attempts") or (), [*(trajectory.get("feedbacks") or ())]
    for at, attempt in enumerate(attempts):
        feedback = feedbacks[at] if at < len(feedbacks) else ""
        yield Said("update" if at else "attempt", at, attempt, quoted_in(attempt, feedback))
        if feedback:
            yield Said("feedback", at, feedback)


def quoted_in(attempt: str, feedback: str) -> tuple[int, int] | None:
    """Return where an attempt says what feedback on it calls wrong, in characters; None where it names no such part."""
    named = read_feedback(feedback, attempt)
    if named is None or not named.step or not named.span:
        return None
    place = attempt.find(named.span, next(s.start for s in read_steps(attempt) if s.label == named.step))
    return None if place < 0 else (place, place + len(named.span))


def _shown(one: Said) -> Text:
    text = Text(one.text, "italic" if one.who == "feedback" else "")
    if one.quoted:
        text.stylize("bold red", *one.quoted)
    return text


REPORT = Report(
    name="TriPosT",
    title="Held-out questions, 95 % intervals",
    headlines=("accuracy_direct", "accuracy_self_corrected", "mended"),
    decisive="accuracy_self_corrected",
    rows=ROWS,
    line=line,
    example=mended,
    holds="every attempt, feedback, update and row",
    bounds=False,
)
