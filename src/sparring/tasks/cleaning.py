"""What of a list of prompts is kept: none that is in a test set, none twice, none that cannot be followed.

Lists in, lists out: each function returns what it keeps and, for everything else, a Failure with a reason that can be
counted. Texts are compared as words, without case, width, spacing and punctuation; a Chinese character or a Japanese
one is a word.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from sparring.errors import SettingsError
from sparring.types import Failure

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")

Gram = tuple[str, ...]


class Prompted(Protocol):
    """A prompt with a name: an `Instructed`, or what an evolution made."""

    @property
    def id(self) -> str: ...
    @property
    def prompt(self) -> str: ...


P = TypeVar("P", bound=Prompted)
Cleaned = tuple[list[P], list[Failure]]
"""What is kept, in order, and what is not."""


def within(items: Sequence[P], fewest: int, most: int) -> Cleaned[P]:
    """Keep prompts of `fewest` to `most` words."""

    def trouble(item: P) -> tuple[str, str] | None:
        n = len(words(item.prompt))
        return None if fewest <= n <= most else ("prompt too short" if n < fewest else "prompt too long", f"{n} words")

    return _cleaned(items, trouble)


def decontaminated(items: Sequence[P], tests: Sequence[str], n: int = 13) -> Cleaned[P]:
    """Keep prompts that share no `n` words in a row with a test prompt; n >= 1.

    A test prompt of fewer than `n` words counts as a whole, so an `n` beyond all lengths looks for whole test prompts
    alone. In use are 13 (GPT-3's and lm-eval's), 10 (phi-1) and 8 (Tülu 3, which asks for half of the test prompt).
    """
    if n < 1:
        raise SettingsError(f"n is {n}; at least 1 word must be compared")
    known = {gram for test in tests for gram in grams(test, n)}
    lengths = sorted({len(gram) for gram in known})

    def trouble(item: P) -> tuple[str, str] | None:
        found = (gram for length in lengths for gram in _windows(words(item.prompt), length) if gram in known)
        shared = next(found, None)
        return ("in a test set", " ".join(shared)) if shared else None

    return _cleaned(items, trouble)


def without_twins(items: Sequence[P], alike: float = 0.7, n: int = 3) -> Cleaned[P]:
    """Keep the first of prompts that are the same, or of which a share of at least `alike` is.

    The share is that of the `n`-grams of either that both have (Jaccard), found exactly. `alike` is in (0, 1]; at 1
    only prompts of the same n-grams are twins.
    """
    if not 0 < alike <= 1 or n < 1:
        raise SettingsError(f"alike is {alike} and n is {n}; alike must be in (0, 1], and n at least 1")
    shingles = [set(grams(item.prompt, n)) for item in items]
    rarity = Counter(gram for found in shingles for gram in found)
    index: dict[Gram, list[int]] = {}
    twins: dict[str, tuple[str, str]] = {}
    for at, (item, found) in enumerate(zip(items, shingles, strict=True)):
        # Two such sets share one of these, their rarest, whatever else they share: few are left to be compared.
        rarest = sorted(found, key=lambda gram: (rarity[gram], gram))[
            : len(found) - math.ceil(alike * len(found) - 1e-9) + 1
        ]
        near = sorted({other for gram in rarest for other in index.get(gram, ())})
        twin = next((other for other in near if _jaccard(found, shingles[other]) >= alike), None)
        if twin is None:
            for gram in rarest:
                index.setdefault(gram, []).append(at)
        else:
            reason = "prompt repeated" if words(items[twin].prompt) == words(item.prompt) else "prompt nearly repeated"
            twins[item.id] = reason, items[twin].id
    return _cleaned(items, lambda item: twins.get(item.id))


def solvable(items: Sequence[P], clash: Callable[[P], str | None]) -> Cleaned[P]:
    """Keep prompts in which a solver finds no clash; what it finds is the detail of the failure."""

    def trouble(item: P) -> tuple[str, str] | None:
        found = clash(item)
        return None if found is None else ("constraints clash", found)

    return _cleaned(items, trouble)


def words(text: str) -> list[str]:
    """Return the words of a text as they are compared."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def grams(text: str, n: int) -> list[Gram]:
    """Return every `n` words in a row; all of them as one where there are fewer, and nothing where there is none."""
    said = words(text)
    return list(_windows(said, min(n, len(said)))) if said else []


def _windows(said: Sequence[str], n: int) -> Iterator[Gram]:
    return (tuple(said[at : at + n]) for at in range(len(said) - n + 1))


def _jaccard(one: set[Gram], other: set[Gram]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _cleaned(items: Sequence[P], trouble: Callable[[P], tuple[str, str] | None]) -> Cleaned[P]:
    """Part items by what is wrong with them: a reason and a detail, or None."""
    kept: list[P] = []
    failures: list[Failure] = []
    for item in items:
        if found := trouble(item):
            failures.append(Failure(item.id, *found))
        else:
            kept.append(item)
    return kept, failures
