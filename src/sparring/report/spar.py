"""SPaR's rounds: what the actor follows, how its refiner judges and refines, and what each round was learned from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sparring.files import read_lines
from sparring.report.parts import Metrics, Report, Unit, as_row, figure

WIDE = 80
"""Columns of an example's text."""
LONG = 1200
"""Most characters of a text in an example."""

ROWS: tuple[tuple[str, str, Unit], ...] = (
    ("prompt_strict", "prompts followed", "%"),
    ("prompt_strict_over_round_0", "· over m_0", "points"),
    ("prompt_loose", "· loosely", "%"),
    ("instruction_strict", "· instructions", "%"),
    ("instruction_loose", "· instructions, loosely", "%"),
    ("prompt_strict_sampled", "prompts followed, sampled", "%"),
    ("prompt_strict_sampled_over_round_0", "· over m_0", "points"),
    ("forgotten", "held-out prompts lost since m_0", "%"),
    ("answer_words", "words in an answer", "words"),
    ("distinct_2", "· share of different word pairs", "%"),
    ("contaminated", "test prompts learned from", "%"),
    ("hsr", "nested levels followed", "%"),
    ("ssr", "· share of instructions", "%"),
    ("judge_balanced_accuracy", "judged rightly, balanced", "%"),
    ("judge_balanced_accuracy_over_round_0", "· over m_0", "points"),
    ("judge_accuracy_bad", "· bad responses", "%"),
    ("judge_accuracy_good", "· good responses", "%"),
    ("judge_accuracy_one_vote", "· by one vote", "%"),
    ("judge_drift", "· drift from its first, audited", "points"),
    ("refinement_success", "wrong answers mended", "%"),
    ("refinement_success_self", "· as the refiner believes", "%"),
    ("refinement_gap", "· believed too much", "points"),
    ("judge_over_checker", "answers passed, over those right", "points"),
    ("accepted_right", "learned: accepted and right", "%"),
    ("pairs_a_prompt", "· prompts with a pair", "%"),
    ("pair_edits", "· words changed in a pair", "words"),
    ("chosen_log_prob_change", "· log-prob of chosen, nats", "nats"),
    ("rejected_log_prob_change", "· log-prob of rejected, nats", "nats"),
)


def line(metrics: Metrics) -> str:
    """Return a round in one line."""
    shown = (
        ("prompt_strict", "followed"),
        ("prompt_strict_sampled", "sampled"),
        ("judge_balanced_accuracy", "judged rightly"),
        ("refinement_success", "mended"),
    )
    return ", ".join(f"{label} {figure(as_row(metrics.get(name)), '%', bounds=False)}" for name, label in shown)


def learned(out: Path, last: int) -> Iterator[Panel]:
    """Yield a held-out prompt that m_0 did not follow and the last model does, one of the fewest words."""
    rows = [row for row in read_lines(out / "eval.jsonl") if row["item"] == "greedy"]
    missed = {row["id"] for row in rows if row["round"] == 0 and not row["strict"]}
    ids = missed & {row["id"] for row in rows if row["round"] == last and row["strict"]}
    first, after = ({row["prompt_id"]: row for row in read_lines(_answers(out, t))} for t in (0, last))
    found = [after[id] for id in ids if id in first and id in after]
    if not found:
        return
    shown = min(found, key=lambda row: (len(row["prompt"]) + len(row["response"]), row["prompt_id"]))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan")
    grid.add_column(max_width=WIDE, overflow="fold")
    grid.add_row(Text("prompt", "dim"), _text(shown["prompt"]))
    grid.add_row("m_0", _text(first[shown["prompt_id"]]["response"], "red"))
    grid.add_row(f"m_{last}", _text(shown["response"]))
    yield Panel.fit(grid, title=f"m_{last} follows what m_0 did not ({escape(shown['prompt_id'])})", title_align="left")


def _answers(out: Path, t: int) -> Path:
    return out / f"round-{t}" / "test-answers.jsonl"


def _text(text: str, style: str = "") -> Text:
    return Text(text if len(text) <= LONG else f"{text[:LONG]} ...", style)


REPORT = Report(
    name="SPaR",
    title="Held-out prompts, 95 % intervals",
    headlines=("prompt_strict", "judge_balanced_accuracy", "refinement_success"),
    decisive="prompt_strict",
    rows=ROWS,
    line=line,
    example=learned,
    holds="every answer, vote, tree, pair and row",
    bounds=False,
)
