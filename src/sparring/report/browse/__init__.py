"""Everything that happened in a run, as lists to look through: rollouts, training rows, failures, held-out items.

from sparring.report import browse
from sparring.runs import Run

for group in browse.groups(Run("runs/star-gate")):
    for entry in group.entries():
        entry.detail()
"""

from __future__ import annotations

from sparring.report.browse.core import (
    Cell,
    Chat,
    Detail,
    Entry,
    Grid,
    Group,
    Grown,
    Link,
    Mark,
    Message,
    Node,
    Part,
    Vote,
    Words,
)
from sparring.report.browse.reading import groups

__all__ = [
    "Cell",
    "Chat",
    "Detail",
    "Entry",
    "Grid",
    "Group",
    "Grown",
    "Link",
    "Mark",
    "Message",
    "Node",
    "Part",
    "Vote",
    "Words",
    "groups",
]
