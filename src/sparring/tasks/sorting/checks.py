"""What is wrong with a step of a sorting, on top of steps that were right."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import NamedTuple

from sparring.tasks.sorting.claims import (
    Claim,
    Group,
    Groups,
    Hence,
    Item,
    Letters,
    bracketed,
    letter_at,
    number_of,
    ordinal,
)
from sparring.tasks.sorting.work import Work

SHOWN = 40
"""Characters of a word that a reason shows."""


class Fault(NamedTuple):
    """What is wrong, as it stands in the step (empty: all of it), and why."""

    said: str
    reason: str


def shown(word: str) -> str:
    """Return a word in quotes, on one line, cut to 40 characters."""
    word = " ".join(word.split())
    return f'"{word if len(word) <= SHOWN else word[: SHOWN - 1] + "…"}"'


class Supply:
    """Words that a step has to name, each as often as they hold it."""

    def __init__(self, words: list[str], them: str) -> None:
        self.them, self.all, self.left = them, set(words), Counter(words)

    def take(self, word: str) -> Fault | None:
        """Use a word up; a fault where it is not to be had, or not any more."""
        if word not in self.all:
            return Fault(f'"{word}"', f"{shown(word)} is not among the {self.them}")
        self.left[word] -= 1
        return Fault(f'"{word}"', f"{shown(word)} is duplicated") if self.left[word] < 0 else None

    def missing(self) -> Fault | None:
        """Tell of the first word that was not used."""
        word = next((word for word, count in self.left.items() if count > 0), None)
        return None if word is None else Fault("", f"{shown(word)} is missing")


def fault_of(claim: Claim, work: Work, due: Claim) -> Fault | None:
    """Return what is wrong with a claim where `due` was due; None where it is right, if in words of its own."""
    if isinstance(claim, Letters) and isinstance(due, Letters):
        return _fault_of_letters(claim, work, due)
    if isinstance(claim, Groups) and isinstance(due, Groups):
        return _fault_of_groups(claim, due)
    if isinstance(claim, Hence) and isinstance(due, Hence):
        return _fault_of_order(claim, due)
    return Fault("", _wanted(due))


def _wanted(due: Claim) -> str:
    if isinstance(due, Letters):
        of = f" of {_some(due.group)}" if due.group else ""
        return f"the {ordinal(due.place)} letters{of} have to be looked at first"
    if isinstance(due, Groups):
        return "the words have to be put in order by the letters just looked at first"
    if isinstance(due, Hence):
        return "the words of this part are sorted, and their order has to be concluded here"
    return "the words are sorted, and the final response has to follow"


def _some(words: list[str]) -> str:
    text = bracketed(words)
    return text if len(text) <= 5 * SHOWN else f"these {len(words)} words"


def _fault_of_letters(claim: Letters, work: Work, due: Letters) -> Fault | None:
    words = work.words
    if work.levels:
        at = work.waiting_for(claim.group)
        if at is None:
            return _fault_of_part(claim, work)
        words = work.levels[-1].groups[work.levels[-1].waiting[at]]
    elif claim.group and sorted(claim.group) != sorted(words):
        return Fault(claim.said_group, "the first letters of all words of the question have to be looked at")
    return _fault_of_place(claim, due.place) or _fault_of_items(claim, words)


def _fault_of_place(claim: Letters, due: int) -> Fault | None:
    if claim.place == due:
        return None
    told = "have been looked at already" if claim.place < due else f"come after the {ordinal(due)}"
    return Fault(claim.said_place, f"the {ordinal(claim.place)} letters {told}")


def _fault_of_items(claim: Letters, words: list[str]) -> Fault | None:
    supply = Supply(words, "words to look at here")
    faults = (supply.take(item.word) or _fault_of_item(item, claim.place) for item in claim.items)
    return next((fault for fault in faults if fault), None) or supply.missing()


def _fault_of_part(claim: Letters, work: Work) -> Fault:
    if claim.group is None:
        return Fault(claim.said_place, "it does not say of which words")
    known = set(work.levels[-1].words)
    for word in claim.group:
        if word not in known:
            return Fault(f'"{word}"', f"{shown(word)} is not among the words to sort here")
    return Fault(claim.said_group, "this is no part whose order still has to be found")


def _fault_of_item(item: Item, place: int) -> Fault | None:
    letter = letter_at(item.word, place)
    if item.letter != letter:
        has = f"is {shown(letter)}" if letter else 'does not exist, which is written ""'
        return Fault(item.said, f"the {ordinal(place)} letter of {shown(item.word)} {has}")
    if item.number != number_of(letter):
        what = shown(letter) if letter else "the end of a word"
        return Fault(item.said, f"the number of {what} is {number_of(letter)}")
    return None


def _fault_of_groups(claim: Groups, due: Groups) -> Fault | None:
    numbers = {word: group.number for group in due.groups for word in group.words}
    supply = Supply([word for group in due.groups for word in group.words], "words to sort here")
    last: Group | None = None
    for group in claim.groups:
        for word in group.words:
            if fault := supply.take(word):
                return fault
            if numbers[word] != group.number:
                return Fault(group.said, f"the number of {shown(word)} is {numbers[word]}")
        if last and float(last.number) >= float(group.number):
            return Fault(f"{last.said} < {group.said}", _disorder(last.number, group.number))
        last = group
    return supply.missing()


def _disorder(before: str, after: str) -> str:
    if before == after:
        return f"the words with ({after}) belong in one group, since their order is not known yet"
    return f"the words with ({after}) come before those with ({before})"


def _fault_of_order(claim: Hence, due: Hence) -> Fault | None:
    supply = Supply(due.words, "words to sort here")
    for place, word in enumerate(claim.words):
        if fault := supply.take(word):
            return fault
        if place and (fault := _fault_of_pair(claim.words[place - 1], claim.signs[place - 1], word)):
            return fault
    return supply.missing()


def _fault_of_pair(before: str, sign: str, after: str) -> Fault | None:
    said = f'"{before}" {sign} "{after}"'
    if sign != "<" and (sign != "=" or before != after):
        wanted = "=" if before == after else "<"
        return Fault(said, f'words in order have "{wanted}" between them, not "{sign}"')
    return Fault(said, f"{shown(after)} comes before {shown(before)}") if after < before else None


def fault_of_answer(answer: str | None, right: list[str], label: str) -> Fault | None:
    """Return what is wrong with an answer, in canonical form, where step `label` came to the words `right`."""
    words = (answer or "").split()
    if words == right:
        return None
    supply = Supply(right, "words of the question")
    taken = ((word, supply.take(word)) for word in words)
    wrong = next((Fault(word, fault.reason) for word, fault in taken if fault), None)
    return wrong or supply.missing() or _fault_of_pairs(words, right, label)


def _fault_of_pairs(words: list[str], right: list[str], label: str) -> Fault | None:
    rank = {word: place for place, word in enumerate(right)}
    for before, after in pairwise(words):
        if rank[before] > rank[after]:
            return Fault(f"{before} {after}", f"{shown(after)} comes before {shown(before)} in step ({label})")
    return None
