"""Checking, mending and working out anew attempts at word sorting, by script."""

from __future__ import annotations

import re

from sparring.tasks.exercise import MOST, Feedback, Step, before, read_steps
from sparring.tasks.sorting.answers import answer_of, canonical
from sparring.tasks.sorting.checks import Fault, fault_of, fault_of_answer
from sparring.tasks.sorting.claims import Final
from sparring.tasks.sorting.questions import words_of
from sparring.tasks.sorting.reading import Unreadable, plain, read
from sparring.tasks.sorting.work import Work, solved

QUOTED = 300
"""Characters of a step that feedback quotes at most."""
CLOSES = re.compile(r'" is incorrect\.\s*This is because')
"""What would end a quotation in feedback too early."""
GAP = r"\W{0,9}?"
"""Between words that are quoted together."""


def verify(question: str, attempt: str) -> Feedback | None:
    """Return the first wrong step of an attempt; None where the question lists no words or no step can be read.

    A step is wrong too where another was due. An attempt that breaks off is wrong in its last step.
    """
    words, steps = words_of(question), read_steps(attempt)
    if not words or not steps:
        return None
    work = Work(words)
    for step in steps:
        if fault := _fault(work, step, attempt):
            return Feedback(step.label, _quote(step.text, fault.said), fault.reason)
    if not work.done:
        return Feedback(steps[-1].label, _quote(steps[-1].text, ""), "no final response follows this step")
    return Feedback()


def _fault(work: Work, step: Step, attempt: str) -> Fault | None:
    """Return what is wrong with a step; None where it is right, and `work` has followed it."""
    if step.label != work.label:
        return Fault("", f"step ({work.label}) has to stand here")
    due = work.due()
    if step.text == due.text():
        work.follow(due)
        return None
    if isinstance(due, Final):
        return _fault_of_final(work, due, attempt)
    claim = read(step.text)
    if isinstance(claim, Unreadable):
        return Fault(claim.said, claim.reason)
    fault = fault_of(claim, work, due)
    if not fault:
        work.follow(claim)
    return fault


def _fault_of_final(work: Work, due: Final, attempt: str) -> Fault | None:
    fault = fault_of_answer(answer_of(attempt), canonical(due.words).split(), work.closed)
    if not fault:
        work.follow(due)
    return fault


def _quote(text: str, said: str) -> str:
    """Return `said` as it stands in a step, or all of the step, in at most 300 characters."""
    found = _find(text, said) if said else None
    span = text[found[0] : found[1]] if found else text
    longest = max(CLOSES.split(span), key=len)
    return longest.strip()[:QUOTED].strip() or text[:1]


def _find(text: str, said: str) -> tuple[int, int] | None:
    """Return where `said` stands: as it is if it has quotes, else as whole words in any case and spacing."""
    at = plain(text).find(said)
    if at >= 0 and '"' in said:
        return at, at + len(said)
    words = said.split()
    if len(words) > 3:
        return None
    found = re.search(rf"(?<!\w){GAP.join(map(re.escape, words))}(?!\w)", plain(text), re.I)
    return found.span() if found else None


def repair(question: str, attempt: str, feedback: Feedback) -> str | None:
    """Return the steps of an attempt from the wrong one on, done right, on top of those before it.

    None where feedback finds nothing wrong or names no step of the attempt, or where a step before it is wrong too.
    """
    prefix = before(attempt, feedback.step) if feedback.step else None
    words = words_of(question)
    if prefix is None or not words:
        return None
    work = Work(words)
    if any(_fault(work, step, prefix) for step in read_steps(prefix)) or work.done:
        return None
    rest = solved(work)
    return rest if rest and len(prefix) + len(rest) <= MOST else None


def evidence(question: str, attempt: str) -> str:
    """Return a line a step, up to the first wrong one: what is due there, and whether the step says so."""
    words = words_of(question)
    work, lines = Work(words), list[str]()
    for step in read_steps(attempt) if words else []:
        label, due = work.label, work.due().text()
        is_wrong = _fault(work, step, attempt) is not None
        lines.append(f"({step.label}) {'differs' if is_wrong else 'agrees'}: ({label}) {due}")
        if is_wrong:
            break
    return "\n".join(lines)
