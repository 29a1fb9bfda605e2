"""A sorting under way: what has been written so far, and which step is due.

`Work` takes each step at its word, right or wrong. So the same walk checks an attempt, writes a gold rationale, goes on
from a step that was right, and carries a mistake to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sparring.tasks.exercise import FINAL, MOST
from sparring.tasks.sorting.claims import Claim, Final, Group, Groups, Hence, Letters

DEEPEST = 5
"""Dots in the longest label that can be read."""


@dataclass(slots=True)
class Level:
    """Words that share their letters up to `place`, being sorted under labels of one depth."""

    prefix: str
    """Of its labels: "" or "3.1."."""
    words: list[str]
    place: int
    """Of the letters last read, from 0."""
    numbers: dict[str, str] | None
    """Of those letters, by word; None once the groups are written."""
    part: int = 0
    """Which of the groups one level up these words are."""
    count: int = 0
    """Labels used."""
    groups: list[list[str]] = field(default_factory=list[list[str]])
    waiting: list[int] = field(default_factory=list[int])
    """Groups whose order is not known yet."""


class Work:
    """Where the sorting of `words` stands."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.levels: list[Level] = []
        self.order: list[str] | None = None
        """As the last step on the outermost level gives it."""
        self.closed = ""
        """Label of that step."""
        self.done = False

    @property
    def label(self) -> str:
        """Of the step that is due."""
        if self.order is not None:
            return FINAL
        return f"{self.levels[-1].prefix}{self.levels[-1].count + 1}" if self.levels else "1"

    def due(self) -> Claim:
        """Return the step that is due, right by itself, on top of what came before."""
        if self.order is not None:
            return Final(self.order)
        if not self.levels:
            return Letters.right(0, None, self.words)
        level = self.levels[-1]
        if level.numbers is not None:
            return Groups(_grouped(level.words, level.numbers))
        if level.waiting:
            group = level.groups[level.waiting[0]]
            return Letters.right(level.place + 1, group, group)
        words = [word for group in level.groups for word in group]
        return Hence(words, [])

    def follow(self, claim: Claim) -> None:
        """Take the step that was due as `claim` has it."""
        if isinstance(claim, Letters):
            self._read(claim)
        elif isinstance(claim, Groups):
            self._group(claim)
        elif isinstance(claim, Hence):
            self._close(claim.words)
        else:
            self.done = True

    def _read(self, claim: Letters) -> None:
        words = [item[0] for item in claim.items]
        numbers = {item[0]: item[2] for item in claim.items}
        if not self.levels:
            self.levels.append(Level("", words, claim.place, numbers, count=1))
            return
        level, label = self.levels[-1], self.label
        level.count += 1
        if len(level.groups) == 1:
            level.words, level.place, level.numbers = words, claim.place, numbers
            return
        at = self.waiting_for(claim.group)
        part = level.waiting.pop(0 if at is None else at)
        self.levels.append(Level(f"{label}.", words, claim.place, numbers, part))

    def waiting_for(self, group: list[str] | None) -> int | None:
        """Return which of the groups that wait has these words; None where none has."""
        level = self.levels[-1]
        if group is None:
            return 0 if len(level.waiting) == 1 else None
        wanted = sorted(group)
        found = (at for at, part in enumerate(level.waiting) if sorted(level.groups[part]) == wanted)
        return next(found, None)

    def _group(self, claim: Groups) -> None:
        level = self.levels[-1]
        level.count += 1
        level.numbers = None
        level.groups = [group[1] for group in claim.groups]
        level.waiting = [at for at, words in enumerate(level.groups) if _is_open(words, level.place)]

    def _close(self, words: list[str]) -> None:
        self.closed = self.label
        level = self.levels.pop()
        if self.levels:
            self.levels[-1].groups[level.part] = words
        else:
            self.order = words


def _grouped(words: list[str], numbers: dict[str, str]) -> list[Group]:
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault(numbers[word], []).append(word)
    return [Group(number, groups[number]) for number in sorted(groups, key=float)]


def _is_open(words: list[str], place: int) -> bool:
    return len(words) > 1 and len(set(words)) > 1 and any(len(word) > place + 1 for word in words)


def solved(work: Work) -> str | None:
    """Return the steps that are left, done right; None where they could not be read back."""
    lines: list[str] = []
    size = 0
    while not work.done:
        label, claim = work.label, work.due()
        lines.append(f"({label}) {claim.text()}")
        size += len(lines[-1]) + 1
        if label.count(".") > DEEPEST or size > MOST:
            return None
        work.follow(claim)
    return "\n".join(lines)
