"""The language of the concierge world: what people are like, what they ask for, and every sentence about it.

A user has ten **slots** (food, music, ...), one value each. A **task** is a domain ("Where should we eat") in an
occasion ("for a birthday"); its answer needs the one or two slots of the domain and the one of the occasion, so that
unseen combinations share their parts with seen ones. Every value word belongs to one slot, and "any" is the neutral
word for what was not told: inventing a fact is therefore a distinct act, which a judge can punish.

Everything that is rendered here can be read back here, strictly: the readers serve the experts by rule, the health
line and the gates. None of them takes part in the signal that the policy learns from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypedDict

from sparring.errors import DataError

ANY = "any"
"""The neutral value: "any food" leaves open which."""

DOMAIN_SLOTS: dict[str, tuple[str, ...]] = {
    "food": ("vegan", "halal", "spicy", "thai", "greek", "grilled"),
    "music": ("jazz", "folk", "rock", "opera", "techno", "choral"),
    "travel": ("train", "ferry", "bus", "bicycle", "car", "plane"),
    "prices": ("low", "modest", "fair", "steep", "student", "bargain"),
    "stories": ("spy", "ghost", "love", "crime", "space", "pirate"),
    "crowds": ("small", "lively", "huge", "polite", "young", "mixed"),
}
"""The six slots that domains need: noun -> values. "{value} {noun}" is English without an article for every one."""

OCCASION_SLOTS: dict[str, tuple[str, ...]] = {
    "weather": ("sunny", "cool", "snowy", "windy", "misty", "mild"),
    "colours": ("blue", "red", "green", "golden", "pink", "violet"),
    "hours": ("early", "late", "midday", "evening", "weekend", "morning"),
    "games": ("board", "card", "ball", "word", "puzzle", "video"),
}
"""The four slots that occasions need."""

SLOTS: dict[str, tuple[str, ...]] = DOMAIN_SLOTS | OCCASION_SLOTS
SLOT_OF: dict[str, str] = {value: slot for slot, values in SLOTS.items() for value in values}
"""The one slot that a value word belongs to."""

DOMAINS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Where should we eat", "book a bistro", ("food", "prices")),
    ("Which show should we see", "see a musical", ("music", "stories")),
    ("Where should we go", "take a trip", ("travel", "prices")),
    ("Which film should we watch", "watch a film", ("stories",)),
    ("How should we celebrate", "hold a party", ("music", "crowds")),
    ("Where should we stay", "book a hostel", ("prices", "crowds")),
    ("What picnic should we plan", "plan a picnic", ("food", "travel")),
    ("Which concert should we hear", "find a concert", ("music",)),
    ("What should we cook", "cook a dinner", ("food",)),
    ("Which tour should we join", "join a tour", ("travel", "crowds")),
    ("Which club should we start", "start a reading club", ("stories", "crowds")),
    ("What gift should we buy", "buy a gift", ("prices",)),
)
"""How a task begins, what its answer proposes, and the slots that it needs."""

OCCASIONS: tuple[tuple[str, str], ...] = (
    ("for a garden wedding", "weather"),
    ("for a birthday", "colours"),
    ("after work", "hours"),
    ("with the children", "games"),
    ("in the mountains", "weather"),
    ("for a graduation", "colours"),
    ("before a flight", "hours"),
    ("on a rainy day", "games"),
    ("by the sea", "weather"),
    ("for a baby shower", "colours"),
    ("between two meetings", "hours"),
    ("for a reunion", "games"),
)
"""How a task ends, and the slot that it needs."""

FACTS: tuple[tuple[str, str], ...] = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many legs has a spider?", "A spider has eight legs."),
    ("Who wrote Hamlet?", "Shakespeare wrote Hamlet."),
    ("What do bees make?", "Bees make honey."),
    ("What is the largest planet?", "The largest planet is Jupiter."),
    ("How many days has a leap year?", "A leap year has 366 days."),
    ("Who painted the Mona Lisa?", "Leonardo painted the Mona Lisa."),
    ("What do spiders spin?", "Spiders spin webs."),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
    ("How many strings has a violin?", "A violin has four strings."),
    ("Who wrote Emma?", "Jane Austen wrote Emma."),
    ("What is the longest river in Africa?", "The longest river in Africa is the Nile."),
    ("How many sides has a hexagon?", "A hexagon has six sides."),
)
"""General tasks: the answer is the same for everybody."""

CHIT_CHAT: dict[str, str] = {
    "How are you today?": "I am well, thanks.",
    "How was your week?": "It was busy but good.",
    "Did you sleep well?": "Yes, like a stone.",
    "Are you new here?": "Yes, I came last month.",
    "Do you want some help?": "Yes, that is why I came.",
    "Have you asked us before?": "No, this is the first time.",
    "Is it busy at home?": "A little, as always.",
    "Shall we begin?": "Yes, let us begin.",
}
"""Small talk: question -> reply. It tells nothing about any slot."""

SINGLE: tuple[tuple[str, str], ...] = (
    ("What {} do you like?", "I like {}."),
    ("What kind of {} do you prefer?", "I prefer {}."),
    ("Which {} would you choose?", "I would choose {}, please."),
)
"""Paraphrases of a question for one slot, each with its reply."""

DOUBLE: tuple[str, str] = ("What {} and what {} do you like?", "I like {} and {}.")
"""A question for two slots, and its reply."""

NAMES: tuple[str, ...] = tuple(
    """
    Ada Adam Agnes Aisha Alan Albert Alice Amina Amir Ana Andrea Anton Anya Arjun Astrid Beatrice Ben Bianca Boris
    Bruno Carla Carlos Cecilia Chen Chloe Clara Conrad Dalia Daniel Daria David Deborah Diego Dora Edgar Edith Elena
    Elias Emil Erik Esther Eva Fatima Felix Fiona Flora Frank Freya Gabriel George Gita Greta Gustav Hana Hannah Harry
    Hassan Hector Helen Henry Hugo Ibrahim Ida Igor Ines Irene Isaac Ivan Jakob James Jana Jasmin Joel Johan Jonas
    Judith Julia Kai Karim Karl Katja Kenji Klara Lars Laura Leila Lena Leo Liam Lina Louis Lucia Magda Malik Marco
    Maria Martin Maya Mei Mira Nadia Nils Nina Noah Nora Olga Omar Oscar Paula Pedro Petra Rafael Rita Robert Rosa Ruth
    Samir Sara Simon Sofia Tara Theo Tomas Uma Vera Viktor Yara Yusuf Zoe
    """.split()
)
"""First names that personas have."""

Kind = Literal["specific", "general"]
Split = Literal["a", "b", "test"]

FACT_SPLITS: tuple[Split, ...] = ("a", "a", "a", "a", "b", "b", "b", "b", "test", "test", "test", "test", "test")
"""The split of each general task."""


class TaskRow(TypedDict):
    """A task as a line of the world's data set."""

    text: str
    kind: Kind
    split: Split


@dataclass(frozen=True, slots=True)
class Task:
    """One thing a user may ask for."""

    text: str
    kind: Kind
    split: Split | None
    """None: a combination that only pretraining uses."""
    proposal: str
    """The answer up to its facts; of a general task, the whole answer."""
    slots: tuple[str, ...]
    """What the answer needs, in the order in which it names them. Empty for a general task."""


@dataclass(frozen=True, slots=True)
class Persona:
    """One user: a name and a value for each slot, in the order in which the text tells them."""

    name: str
    values: dict[str, str]

    @property
    def text(self) -> str:
        things = [f"{value} {slot}" for slot, value in self.values.items()]
        return f"I am {self.name}. I like {_listed(things)}."


def _listed(things: list[str]) -> str:
    return f"{', '.join(things[:-1])} and {things[-1]}" if len(things) > 1 else things[0]


def _specific_tasks() -> list[Task]:
    """All 144 combinations: 40 in A, 40 in B, 45 in test, 19 in no split."""
    # Whole diagonals of the domain x occasion grid go to one split, so each domain and each occasion is in every split.
    diagonals: tuple[Split | None, ...] = ("a", "test", "b", None, "test", "a", "b", "test", None, "a", "test", "b")
    spare: list[Split] = ["a", "a", "a", "a", "b", "b", "b", "b"]
    tasks: list[Task] = []
    for d, (opening, proposal, domain_slots) in enumerate(DOMAINS):
        for o, (occasion, occasion_slot) in enumerate(OCCASIONS):
            split = diagonals[(o - d) % 12]
            if split is None and spare:
                split = spare.pop()
            if split == "test" and (d, o) in ((3, 4), (7, 8), (11, 0)):  # three too many on four whole diagonals
                split = None
            lead = f"{occasion[0].upper()}{occasion[1:]}, {proposal} with"
            slots = (*domain_slots, occasion_slot)
            tasks.append(Task(f"{opening} {occasion}?", "specific", split, lead, slots))
    return tasks


def _general_tasks() -> list[Task]:
    facts = zip(FACTS, FACT_SPLITS, strict=True)
    return [Task(question, "general", split, answer, ()) for (question, answer), split in facts]


TASKS: dict[str, Task] = {task.text: task for task in [*_specific_tasks(), *_general_tasks()]}
"""Every task of the world by its text."""


def tasks() -> list[TaskRow]:
    """Return the data set: A, B and test, whose combinations are disjoint."""
    return [{"text": t.text, "kind": t.kind, "split": t.split} for t in TASKS.values() if t.split is not None]


def task_of(task_text: str) -> Task:
    """Return the task with this text, or raise `DataError`."""
    task = TASKS.get(task_text.strip())
    if task is None:
        raise DataError(f"the concierge world has no task {task_text.strip()!r}; language.tasks() lists them all")
    return task


def needed(task_text: str) -> frozenset[str]:
    """Return the slots that an answer to this task needs; none for a general task."""
    return frozenset(task_of(task_text).slots)


# --- rendering ---------------------------------------------------------------------------------------------------


def single(slot: str, form: int) -> str:
    """Return the question for one slot in one of its `len(SINGLE)` forms."""
    return SINGLE[form][0].format(slot)


def double(first: str, second: str) -> str:
    """Return the question for two slots."""
    return DOUBLE[0].format(first, second)


QUESTIONS: dict[str, tuple[str, ...]] = (
    {single(slot, form): (slot,) for slot in SLOTS for form in range(len(SINGLE))}
    | {double(first, second): (first, second) for first, second in permutations(SLOTS, 2)}
    | dict.fromkeys(CHIT_CHAT, ())
)
"""Every question of the world -> the slots that it asks for, in its order."""

_REPLY_FORMS: dict[str, str] = {single(slot, form): SINGLE[form][1] for slot in SLOTS for form in range(len(SINGLE))}


def truthful_reply(question: str, values: dict[str, str]) -> str:
    """Return what a user with these values says to a question of this world."""
    if question in CHIT_CHAT:
        return CHIT_CHAT[question]
    form = _REPLY_FORMS.get(question, DOUBLE[1])
    return form.format(*(f"{values[slot]} {slot}" for slot in QUESTIONS[question]))


def answer_with(task: Task, values: dict[str, str]) -> str:
    """Return the answer to a task that names these values and leaves every other needed slot open."""
    if task.kind == "general":
        return task.proposal
    return f"{task.proposal} {_listed([f'{values.get(slot, ANY)} {slot}' for slot in task.slots])}."


# --- reading -----------------------------------------------------------------------------------------------------

_THING = re.compile(r"(\w+) (\w+)")
_FACT = re.compile("|".join(rf"\b({'|'.join(values)}) ({slot})\b" for slot, values in SLOTS.items()))


def asked(question: str) -> frozenset[str] | None:
    """Return the slots that a question asks for: empty for chit-chat, None if it is no question of this world."""
    slots = QUESTIONS.get(question.strip())
    return None if slots is None else frozenset(slots)


def told(reply: str) -> dict[str, str]:
    """Return the facts in a user's turn, whatever its form: slot -> value. Sound as a value word has only one slot."""
    facts = (match.group().split(" ") for match in _FACT.finditer(reply))
    return {slot: value for value, slot in facts}


def read_name(persona_text: str) -> str | None:
    """Return the first name in "I am NAME.", None without one."""
    match = re.match(r"\s*I am (\w+)\.", persona_text)
    return match.group(1) if match else None


def read_persona(text: str) -> dict[str, str]:
    """Return the values in a persona text, or raise `DataError` where a slot is missing."""
    values = told(text)
    if missing := [slot for slot in SLOTS if slot not in values]:
        raise DataError(f"the persona tells nothing about {', '.join(missing)}: {text!r}")
    return values


def read_answer(task_text: str, answer: str) -> dict[str, str] | None:
    """Return what an answer says of each needed slot: a value or "any"; None if it is no answer to this task.

    A general task has one answer, read as {}.
    """
    task, answer = task_of(task_text), answer.strip()
    if task.kind == "general":
        return {} if answer == task.proposal else None
    if not (answer.startswith(f"{task.proposal} ") and answer.endswith(".")):
        return None
    things: dict[str, str] = {}
    for thing in re.split(r", | and ", answer[len(task.proposal) + 1 : -1]):
        match = _THING.fullmatch(thing)
        if match is None:
            return None
        value, slot = match.groups()
        if slot in things or (value != ANY and SLOT_OF.get(value) != slot):
            return None
        things[slot] = value
    return things if set(things) == set(task.slots) else None
