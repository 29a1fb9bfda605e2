"""Logical deduction: objects in a fixed order, a few statements about it, and who stands at one place.

The family after BIG-Bench's, with themes and sentences of our own; its questions can be read too. What a statement or a
step claims is the set of orders that it allows, so whether a step follows is one operation on sets.
"""

from __future__ import annotations

from sparring.tasks.deduction.corrupt import KINDS, corrupt
from sparring.tasks.deduction.draw import TIERS, draw
from sparring.tasks.deduction.puzzle import LETTERS
from sparring.tasks.deduction.rationale import rationale_of, repair
from sparring.tasks.deduction.verify import verify
from sparring.tasks.exercise import Family
from sparring.tasks.reading import option_in

__all__ = ["DEDUCTION", "rationale_of"]

DEDUCTION = Family(
    name="logical-deduction",
    tiers=TIERS,
    draw=draw,
    answer_of=lambda attempt: option_in(attempt, LETTERS),
    verify=verify,
    repair=repair,
    corrupt=corrupt,
    mistakes=tuple(KINDS),
)
"""An answer is an option's letter in brackets, `(B)`."""
