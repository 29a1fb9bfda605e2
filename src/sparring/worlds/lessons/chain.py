"""Exercises that are chains: a state, a few items, and a step that takes one item at a time into the state.

Sums and sorting are chains, so one reader, one verifier and one way to mend serve both. A chain also has a *slip*, the
mistake its small model is inclined to, and *blunders*, mistakes that this model does not make by itself.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparring.tasks.exercise import FINAL, Corruption, Family, Feedback, Step, read_steps

RIGHT, WRONG = "yes", "no"
"""The flags of evidence."""
MISTAKES = ("slip", "blunder")
"""The kinds that `corrupt` makes."""
ANSWER = "So the answer is"
SHOULD_BE = " should be"
PHRASES = (
    f"({FINAL})",
    f" {ANSWER}",
    SHOULD_BE,
    "Step",
    " to",
    " is correct.",
    " are correct.",
    "In step",
    " In step",
    ' the part "',
    ' " is incorrect.',
    " This is because",
    " The final response is also correct.",
    "The final response is correct.",
    " this step is not the one for",
    " a step is missing after this one",
    " all was taken already",
    " the last step says",
)
"""What attempts and feedback are made of: a token each."""


class Chain(Protocol):
    """What differs between the two languages. A state is any value that compares."""

    name: str
    tiers: Mapping[str, bool]
    """Whether each tier is trained on; its name begins with a number that no chain of it is longer than."""
    phrases: Sequence[str]
    """Words of its own that are a token together."""
    words: Sequence[str]
    """All other tokens, with the space before them."""

    def draw(self, rng: random.Random, tier: str) -> str:
        """Return a question."""
        ...

    def parse(self, question: str) -> tuple[Any, list[Any]]:
        """Return the first state and the items of a question; ValueError for what is none."""
        ...

    def step(self, state: Any, item: Any) -> Any:
        """Return the state after an item."""
        ...

    def slip(self, state: Any, item: Any) -> Any | None:
        """Return the state after a slip at this item; None where this item invites none."""
        ...

    def blunder(self, state: Any, item: Any, rng: random.Random) -> Any:
        """Return the state after a mistake of another sort."""
        ...

    def write(self, state: Any, item: Any, after: Any) -> str:
        """Return the step that goes from `state` over `item` to `after`."""
        ...

    def read(self, text: str, state: Any, item: Any) -> Any | None:
        """Return where a step says it goes, from `state` over `item`; None where it is no step of this kind."""
        ...

    def fault(self, state: Any, item: Any, after: Any) -> tuple[str, str]:
        """Return what is wrong in the step as written, verbatim, and why."""
        ...

    def check(self, state: Any, item: Any, after: Any) -> tuple[str, str]:
        """Return what tells whether a step is right, as it is written and as it should be: alike if it is."""
        ...

    def due(self, state: Any, item: Any) -> str:
        """Return what the step is about, in a few words."""
        ...

    def can_write(self, state: Any) -> bool:
        """Say whether the world has words for a state."""
        ...

    def show(self, state: Any) -> str:
        """Return a state in words."""
        ...


def leads_on(chain: Chain, state: Any, items: Sequence[Any]) -> bool:
    """Say whether a state, and all that rightly follow it, can be written."""
    return all(chain.can_write(after) for after in onward(chain, [state], items))


@dataclass(frozen=True, slots=True)
class Taken:
    """One step of an attempt, as it was taken."""

    step: Step
    before: Any
    item: Any
    after: Any | None
    """None: it cannot be read as this step."""


def attempt(chain: Chain, states: Sequence[Any], items: Sequence[Any], first: int = 0) -> str:
    """Write the steps from number `first` on, and the final response; `states` are one more than the items."""
    lines = [f"({at + 1}) {chain.write(states[at], items[at], states[at + 1])}" for at in range(first, len(items))]
    return "\n".join([*lines, f"({FINAL}) {ANSWER} {chain.show(states[-1])}."])


def onward(chain: Chain, states: Sequence[Any], items: Sequence[Any]) -> list[Any]:
    """Return the states, carried on rightly from the last one given to the end of the items."""
    found = list(states)
    for item in items[len(found) - 1 :]:
        found.append(chain.step(found[-1], item))
    return found


def taken(chain: Chain, question: str, steps: Sequence[Step]) -> Iterator[Taken]:
    """Yield the steps of an attempt up to its final response, each beside the item that is due; then stop where one
    cannot be read."""
    state, items = chain.parse(question)
    for number, (step, item) in enumerate(zip(steps, items, strict=False), 1):
        after = chain.read(step.text, state, item) if step.label == str(number) else None
        yield Taken(step, state, item, after)
        if after is None:
            return
        state = after


def verify(chain: Chain, question: str, text: str) -> Feedback | None:
    """Return the first wrong step of an attempt; None where nothing in it is a step."""
    steps = read_steps(text)
    if not steps:
        return None
    state, items = chain.parse(question)
    for each in taken(chain, question, steps):
        if each.after is None:
            due = chain.due(each.before, each.item)
            return Feedback(each.step.label, each.step.text, f"this step is not the one for {due}")
        if not is_right(chain, each):
            return Feedback(each.step.label, *chain.fault(each.before, each.item, each.after))
        state = each.after
    return _final(chain, state, items, steps)


def _final(chain: Chain, state: Any, items: Sequence[Any], steps: Sequence[Step]) -> Feedback:
    if len(steps) <= len(items):
        return Feedback(steps[-1].label, steps[-1].text, "a step is missing after this one")
    last = steps[len(items)]
    if last.label != FINAL:
        return Feedback(last.label, last.text, "all was taken already")
    said = f"{ANSWER} {chain.show(state)}."
    return Feedback() if last.text == said else Feedback(FINAL, last.text, f"the last step says {chain.show(state)}")


def repair(chain: Chain, question: str, text: str, feedback: Feedback) -> str | None:
    """Return the steps from the wrong one on, done right."""
    states, items = _good(chain, question, text, feedback)
    return attempt(chain, onward(chain, states, items), items, len(states) - 1)


def _good(chain: Chain, question: str, text: str, feedback: Feedback) -> tuple[list[Any], list[Any]]:
    """Return the states up to the wrong step, and all items."""
    first, items = chain.parse(question)
    states = [first]
    for each in taken(chain, question, read_steps(text)):
        if each.step.label == feedback.step or each.after is None:
            break
        states.append(each.after)
    return states, items


def corrupt(chain: Chain, question: str, rng: random.Random) -> Corruption:
    """Return an attempt with one mistake, a slip or a blunder, carried on from there."""
    first, items = chain.parse(question)
    states = onward(chain, [first], items)
    kinds: dict[str, list[tuple[int, Any]]] = {kind: [] for kind in MISTAKES}
    for at, item in enumerate(items):
        slip, blunder = chain.slip(states[at], item), chain.blunder(states[at], item, rng)
        for kind, wrong in (("slip", slip), ("blunder", blunder if blunder != slip else None)):
            if wrong is not None and leads_on(chain, wrong, items[at + 1 :]):
                kinds[kind].append((at, wrong))
    kind = rng.choice([kind for kind, those in kinds.items() if those])
    at, wrong = rng.choice(kinds[kind])
    return Corruption(attempt(chain, onward(chain, [*states[: at + 1], wrong], items), items), str(at + 1), kind)


def evidence(chain: Chain, question: str, text: str) -> str:
    """Return a line a step: what is written, what should be, and whether that is the same."""
    lines: list[str] = []
    astray = False
    for each in taken(chain, question, read_steps(text)):
        good = _looks_right(chain, each) if astray else is_right(chain, each)
        lines.append(checked(chain, each, good))
        astray = astray or not good
    return "\n".join(lines)


def _looks_right(chain: Chain, each: Taken) -> bool:
    """Say whether what is written is what should be. Behind a mistake a step may look right and lead elsewhere."""
    if each.after is None:
        return False
    written, right = chain.check(each.before, each.item, each.after)
    return written == right


def is_right(chain: Chain, each: Taken) -> bool:
    return each.after == chain.step(each.before, each.item)


def checked(chain: Chain, each: Taken, good: bool) -> str:
    """Return the line of evidence for a step, with this flag."""
    flag = RIGHT if good else WRONG
    if each.after is None:
        return f"({each.step.label}) {flag}"
    written, right = chain.check(each.before, each.item, each.after)
    return f"({each.step.label}) {written}{SHOULD_BE} {right} {flag}"


def answer_of(chain: Chain, text: str) -> str | None:
    """Return what the final response says."""
    last = read_steps(text)[-1:]
    if not last or last[0].label != FINAL or not last[0].text.startswith(ANSWER):
        return None
    return last[0].text.removeprefix(ANSWER).strip().removesuffix(".") or None


def family(chain: Chain) -> Family:
    """Return the family of a chain's exercises."""

    def draw(rng: random.Random, tier: str) -> tuple[str, str, str | None]:
        question = chain.draw(rng, tier)
        first, items = chain.parse(question)
        states = onward(chain, [first], items)
        return question, chain.show(states[-1]), attempt(chain, states, items)

    return Family(
        name=chain.name,
        tiers=chain.tiers,
        draw=draw,
        answer_of=lambda text: answer_of(chain, text),
        verify=lambda question, text: verify(chain, question, text),
        repair=lambda question, text, feedback: repair(chain, question, text, feedback),
        corrupt=lambda question, rng: corrupt(chain, question, rng),
        evidence=lambda question, text: evidence(chain, question, text),
        mistakes=MISTAKES,
    )
