"""Reading an answer out of prose: the final response, "the answer is ...", `\\boxed{...}`. Never fails on any text."""

from __future__ import annotations

import re

from sparring.tasks.exercise import FINAL, MOST, read_steps

SAID = re.compile(r"\banswer\b[ *_]{0,4}(?:is|:|=)[ \t*_:]{0,6}([^\n]{1,400})", re.I)
AGAIN = re.compile(r"\banswer[ \t]{1,4}is\b[ \t*_:]{0,6}", re.I)
"""A second answer in one line: "The answer is 5. So the answer is 6"."""
BOXED = re.compile(r"\\boxed\s?\{((?:[^{}\n]|\{[^{}\n]{0,200}\}){1,400})\}")
STYLED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]{0,200})\}")
BARE = re.compile(r"[\W_]{0,9}(?:option\s[\W_]{0,9})?([A-Z])(?=[\W_]{0,9}$|[.,:;)*])")
BRACKETED = re.compile(r"\(([A-Z])\)")


def final_of(attempt: str) -> str | None:
    """Return the text of an attempt's final response; None where it has none."""
    steps = read_steps(attempt)
    return steps[-1].text if steps and steps[-1].label == FINAL else None


def said_in(attempt: str) -> str | None:
    """Return what an attempt gives as its answer, as it stands; None where it gives none.

    The final response counts before the rest, and what is said last before what was said earlier: `\\boxed{X}`, else
    what follows "the answer is"; a final response that says neither is the answer as a whole.
    """
    final = final_of(attempt)
    text = attempt[:MOST] if final is None else final
    if boxed := BOXED.findall(text):
        return STYLED.sub(r"\1", boxed[-1]).strip() or None
    if said := SAID.findall(text):
        return AGAIN.split(said[-1])[-1].strip() or None
    return (final or "").strip() or None


def option_in(attempt: str, letters: str) -> str | None:
    """Return the option that an attempt chooses, as `(B)`; None where it names none, or none of `letters`."""
    said = said_in(attempt)
    found = (BRACKETED.search(said) or BARE.match(said)) if said else None
    return f"({found[1]})" if found and found[1] in letters else None
