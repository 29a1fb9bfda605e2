"""Gold rationales with one mistake in them, which every later step carries on."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from sparring.tasks.exercise import Corruption
from sparring.tasks.sorting.answers import canonical
from sparring.tasks.sorting.claims import Claim, Final, Group, Groups, Hence, Item, Letters, number_of
from sparring.tasks.sorting.questions import words_by_part, words_of
from sparring.tasks.sorting.work import DEEPEST, Work

T = TypeVar("T")
Mistake = Callable[[Claim, Work, random.Random], Claim | None]
"""(right step, what came before, draw) -> the step with a mistake; None where it cannot be made in this step."""


def corrupt(question: str, rng: random.Random) -> Corruption:
    """Return a gold rationale with one mistake, of a kind drawn evenly among those that the question allows.

    Raises ValueError where the question lists no words.
    """
    words = words_of(question)
    if not words:
        raise ValueError(f"no words to sort in {question!r:.80}")
    count = _steps(words)
    for kind in rng.sample(sorted(MISTAKES), len(MISTAKES)):
        for place in rng.sample(range(count), count):
            if made := _made(words, place, kind, rng):
                return made
    raise AssertionError("a wrong letter can always be made")


def _steps(words: list[str]) -> int:
    work, count = Work(words), 0
    while not work.done:
        work.follow(work.due())
        count += 1
    return count


def _made(words: list[str], place: int, kind: str, rng: random.Random) -> Corruption | None:
    """Return the rationale whose step number `place`, from 0, has a mistake; None where it cannot have that kind."""
    work = Work(words)
    lines: list[str] = []
    step = ""
    while not work.done and work.label.count(".") <= DEEPEST:
        label, claim = work.label, work.due()
        if len(lines) == place:
            wrong = MISTAKES[kind](claim, work, rng)
            if wrong is None:
                return None
            claim, step = wrong, label
        lines.append(f"({label}) {claim.text()}")
        work.follow(claim)
    return Corruption("\n".join(lines), step, kind) if step else None


def _with(claim: Claim, words: list[str]) -> Claim | None:
    """Return a claim of the same kind on other words."""
    if isinstance(claim, Letters):
        return replace(claim, items=Letters.right(claim.place, None, words).items)
    if isinstance(claim, Hence):
        return Hence(words, [])
    return None


def _words(claim: Claim) -> list[str]:
    if isinstance(claim, Letters):
        return [item.word for item in claim.items]
    if isinstance(claim, Groups):
        return [word for group in claim.groups for word in group.words]
    return claim.words


def missing_word(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    words = _words(claim)
    if len(words) < 2 or isinstance(claim, Final):
        return None
    at = rng.randrange(len(words))
    if isinstance(claim, Groups):
        return _regrouped(claim, at, [])
    return _with(claim, words[:at] + words[at + 1 :])


def duplicated_word(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    return _one_more(claim, rng.choice(_words(claim)), rng)


def invented_word(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    return _one_more(claim, _unknown(work, rng), rng)


def _unknown(work: Work, rng: random.Random) -> str:
    known = set(work.words)
    return rng.choice([word for part in words_by_part().values() for word in part if word not in known])


def _one_more(claim: Claim, word: str, rng: random.Random) -> Claim | None:
    if isinstance(claim, Final):
        return None
    words = _words(claim)
    at = rng.randrange(len(words) + 1)
    if isinstance(claim, Groups):
        at = rng.randrange(len(words))
        return _regrouped(claim, at, [words[at], word])
    return _with(claim, [*words[:at], word, *words[at:]])


def _regrouped(claim: Groups, at: int, instead: list[str]) -> Groups:
    """Return groups with the word at `at` of all replaced by others, in its group."""
    groups: list[Group] = []
    for group in claim.groups:
        words = list(group.words)
        if 0 <= at < len(words):
            words[at : at + 1] = instead
        at -= len(group.words)
        groups.append(Group(group.number, words))
    return Groups([group for group in groups if group.words])


def wrong_letter(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    if not isinstance(claim, Letters):
        return None
    at = rng.randrange(len(claim.items))
    right = claim.items[at]
    letter = rng.choice([letter for letter in string.ascii_lowercase if letter != right.letter])
    return _with_item(claim, at, Item(right.word, letter, number_of(letter)))


def wrong_number(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return letters of which one has another's number, a near one's mostly."""
    if not isinstance(claim, Letters):
        return None
    at = rng.randrange(len(claim.items))
    right = claim.items[at]
    near = [n for n in range(1, 27) if 0 < abs(n - float(right.number)) <= 3] or list(range(1, 27))
    return _with_item(claim, at, right._replace(number=str(rng.choice(near))))


def _with_item(claim: Letters, at: int, item: Item) -> Letters:
    return replace(claim, items=[*claim.items[:at], item, *claim.items[at + 1 :]])


def wrong_place(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return the letters one place before or after those that come next."""
    if not isinstance(claim, Letters) or not work.levels:
        return None
    place = claim.place + rng.choice((-1, 1))
    return Letters.right(place, claim.group, _words(claim))


def unsorted_part(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return an order that is concluded before the letters that decide it are looked at."""
    if not isinstance(claim, Letters) or not work.levels:
        return None
    groups = [rng.sample(group, len(group)) for group in work.levels[-1].groups]
    return Hence([word for group in groups for word in group], [])


def swapped_groups(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    if not isinstance(claim, Groups) or len(claim.groups) < 2:
        return None
    return Groups(_swapped(claim.groups, rng.randrange(len(claim.groups) - 1)))


def misplaced_word(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return groups of which one has another's word."""
    if not isinstance(claim, Groups) or len(claim.groups) < 2:
        return None
    source, target = rng.sample(range(len(claim.groups)), 2)
    word = rng.choice(claim.groups[source].words)
    groups = [Group(group.number, list(group.words)) for group in claim.groups]
    groups[source].words.remove(word)
    groups[target].words.append(word)
    return Groups([group for group in groups if group.words])


def untied_group(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return groups of which one is put in some order though its words have the same letter."""
    if not isinstance(claim, Groups):
        return None
    tied = [at for at, group in enumerate(claim.groups) if len(set(group.words)) > 1]
    if not tied:
        return None
    at = rng.choice(tied)
    number, words, _ = claim.groups[at]
    alone = [Group(number, [word]) for word in rng.sample(words, len(words))]
    return Groups([*claim.groups[:at], *alone, *claim.groups[at + 1 :]])


def wrong_order(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return the last order with two neighbours swapped."""
    return _disordered(claim, rng) if isinstance(claim, Hence) and len(work.levels) == 1 else None


def wrong_tie(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return the order of words that began alike with two neighbours swapped."""
    return _disordered(claim, rng) if isinstance(claim, Hence) and len(work.levels) > 1 else None


def _disordered(claim: Hence, rng: random.Random) -> Hence | None:
    places = _swappable(claim.words)
    return Hence(_swapped(claim.words, rng.choice(places)), []) if places else None


def wrong_answer(claim: Claim, work: Work, rng: random.Random) -> Claim | None:
    """Return an answer that is not what the steps came to: two words swapped, or one missing, added or twice."""
    if not isinstance(claim, Final):
        return None
    words, at = claim.words, rng.randrange(len(claim.words))
    changed = [[*words[:at], word, *words[at:]] for word in (words[at], _unknown(work, rng))]
    if len(words) > 1:
        changed.append(words[:at] + words[at + 1 :])
    if places := _swappable(words):
        changed.append(_swapped(words, rng.choice(places)))
    changed = [words for words in changed if canonical(words) != canonical(claim.words)]
    return Final(rng.choice(changed)) if changed else None


def _swappable(words: list[str]) -> list[int]:
    return [at for at in range(len(words) - 1) if words[at] != words[at + 1]]


def _swapped(items: list[T], at: int) -> list[T]:
    return [*items[:at], items[at + 1], items[at], *items[at + 2 :]]


MISTAKES: dict[str, Mistake] = {
    "missing word": missing_word,
    "duplicated word": duplicated_word,
    "invented word": invented_word,
    "wrong letter": wrong_letter,
    "wrong number": wrong_number,
    "wrong place": wrong_place,
    "unsorted part": unsorted_part,
    "swapped groups": swapped_groups,
    "misplaced word": misplaced_word,
    "untied group": untied_group,
    "wrong order": wrong_order,
    "wrong tie": wrong_tie,
    "wrong answer": wrong_answer,
}
"""By kind; each is drawn as often as any other that the question allows."""
