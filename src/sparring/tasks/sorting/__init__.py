"""Word sorting: `Sort the following words alphabetically: List: b a`, letter by letter, as in BIG-bench.

    (1) First letters: "sack"="s" (19), "art"="a" (1), "seal"="s" (19).
    (2) So far: (1) "art" < (19) ["sack" ? "seal"].
    (3) Second letters of ["sack" ? "seal"]: "sack"="a" (1), "seal"="e" (5).
    (3.1) So far: (1) "sack" < (5) "seal".
    (3.2) Hence, we have "sack" < "seal".
    (4) Hence, we have "art" < "sack" < "seal".
    (Final response) So the answer is: art sack seal.

`?` stands between words whose order is not known yet. A group that ties again goes on with its next letter on the same
level; one that falls apart opens a level for each part that is still unsorted. The order is Python's, by code point.
"""

from __future__ import annotations

from sparring.tasks.exercise import Family
from sparring.tasks.sorting.answers import answer_of
from sparring.tasks.sorting.mistakes import MISTAKES, corrupt
from sparring.tasks.sorting.questions import TIERS, draw
from sparring.tasks.sorting.verifier import evidence, repair, verify

__all__ = ["SORTING"]

SORTING = Family(
    name="word-sorting",
    tiers={tier: seen for tier, (_, seen) in TIERS.items()},
    draw=draw,
    answer_of=answer_of,
    verify=verify,
    repair=repair,
    corrupt=corrupt,
    evidence=evidence,
    mistakes=tuple(MISTAKES),
)
