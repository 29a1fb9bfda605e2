"""Instructions that code can check, prompts that hold them, and responses of which it is known whether they follow."""

from __future__ import annotations

from sparring.tasks.instructions.core import (
    Checker,
    Instructed,
    Instruction,
    Judged,
    Part,
    Suite,
    follow,
    follow_loosely,
    variants,
)
from sparring.tasks.instructions.files import suite_of
from sparring.tasks.instructions.ifeval import CHECKERS
from sparring.tasks.instructions.load import load_instructed, load_judged

__all__ = [
    "CHECKERS",
    "Checker",
    "Instructed",
    "Instruction",
    "Judged",
    "Part",
    "Suite",
    "follow",
    "follow_loosely",
    "load_instructed",
    "load_judged",
    "suite_of",
    "variants",
]
