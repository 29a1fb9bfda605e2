"""Answers: the number that an attempt comes to, out of whatever words a model puts around it."""

from __future__ import annotations

import re

from sparring.tasks.arithmetic.expression import COMMA, DIGITS
from sparring.tasks.exercise import FINAL, LABEL, MOST

READ = 400
"""Characters that a number is looked for in, so that no text takes long."""
CUE = re.compile(r"\banswer\b[^.\n]{0,120}?(?:\bis\b|\bequals\b|[:=])", re.I)
BOXED = re.compile(r"\\boxed\s*\{")
NUMBER = re.compile(
    r"[\s*_`$:(\\{\"'“]*(?:\\?boxed\s*\{\s*)?"
    r"(?P<sign>[-−–+]|minus\b|negative\b)?\s*"
    r"(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.0+(?![0-9]))?"
    r"(?![.,]?[0-9]|[*_`$\s)}]*[-−–+*/^×÷]\s*[0-9(]|\s*=)",
    re.I,
)
ALONE = re.compile(r"[\s*_`$:(\\{\"'“]*[-−–+]?\s*[0-9][0-9,]*(?:\.0+)?[\s*_`$)}.!\"'”]*")


def answer_of(attempt: str) -> str | None:
    """Return the answer of an attempt as a plain number, `-1200`; None where none is clearly said.

    The last line labelled as the final response says it; in want of one, the last "the answer is ..." or `\\boxed{}`.
    """
    attempt = attempt[:MOST]
    for line in reversed(attempt.splitlines()):
        if (found := LABEL.match(line)) and found[1].lower() == FINAL.lower():
            return answer_in(line[found.end() :])
    return _said(attempt, CUE) or _said(attempt, BOXED)


def answer_in(line: str) -> str | None:
    """Return the answer that a final response gives, its label taken off."""
    if said := _said(line, CUE) or _said(line, BOXED):
        return said
    tail = line.rpartition("=")[2].strip()[:READ]
    return _number(tail) if ALONE.fullmatch(tail) else None


def _said(text: str, cue: re.Pattern[str]) -> str | None:
    """Return the number behind the last cue, and behind the last equals sign on its line if there is one."""
    at = -1
    for found in cue.finditer(text):
        at = found.end()
    if at < 0:
        return None
    line = text[at:].partition("\n")[0]
    return _number(line.rpartition("=")[2]) or _number(line)


def _number(text: str) -> str | None:
    if (found := NUMBER.match(text.strip()[:READ])) is None or len(found["digits"]) > DIGITS:
        return None
    number = int(COMMA.sub("", found["digits"]))
    return str(number if (found["sign"] or "+") == "+" else -number)
