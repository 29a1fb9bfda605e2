"""STaR-GATE's rounds: what answers are worth after questions, beside the controls they are read with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from rich.markup import escape
from rich.panel import Panel

from sparring.files import read_lines
from sparring.report.parts import Metrics, Report, Unit, as_row, figure

ROWS: tuple[tuple[str, str, Unit], ...] = (
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
    ("distinct_questions", "questions, share of different ones", "%"),
    ("questions_a_turn", "questions in a turn", "questions"),
    ("answer_words", "words in an answer", "words"),
    ("forgotten", "pairs served worse than by m_0", "%"),
    ("contaminated", "test tasks learned from", "%"),
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


def line(metrics: Metrics) -> str:
    """Return a round in one line."""
    shown = [("win_rate", "preferred to m_0"), ("questions_relevant", "relevant questions")]
    parts = [f"{label} {figure(as_row(metrics[name]), '%')}" for name, label in shown if metrics.get(name)]
    for name, label in (("oracle_log_prob", "log-prob"), ("experimental_minus_shuffled", "minus shuffled")):
        parts.append(f"{label} {figure(as_row(metrics[name]), 'nats')}")
    return ", ".join(parts)


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


REPORT = Report(
    name="STaR-GATE",
    title="Held-out tasks and personas, 95 % intervals over pairs",
    headlines=("win_rate", "questions_relevant", "oracle_log_prob"),
    decisive="win_rate",
    rows=ROWS,
    line=line,
    example=before_and_after,
    holds="every conversation, signal and row",
)
