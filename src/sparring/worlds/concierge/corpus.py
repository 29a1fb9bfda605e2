"""What the concierge's model is pretrained on: chats of every layout that the loop uses, as weighted examples.

Only the part being taught carries weight: questions in asking chats, the answer in answering chats, replies in
roleplay. With the whole text in the loss, the noise of random questions drowns the copying skill, and asking leaks
into the unprompted default.

An asker is careful or careless for a whole conversation: a *careful* one asks for what the task needs and was not told
yet, a *careless* one asks anything. The model of them learns the mixture question by question (its second question is
hardly better after a careful first), and the loop then makes careful asking the rule. As that was learned on parts, it
carries over to combinations of domain and occasion that no pretraining chat contains.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from sparring.types import Chat, Example, assistant, user
from sparring.worlds.concierge import prompt
from sparring.worlds.concierge.language import (
    CHIT_CHAT,
    NAMES,
    SINGLE,
    SLOTS,
    TASKS,
    Persona,
    Task,
    answer_with,
    double,
    single,
    told,
    truthful_reply,
)

TRAINED = tuple(task for task in TASKS.values() if task.split != "test")
"""Tasks that pretraining may use in full."""
ANSWERED_FACTS = tuple(task for task in TASKS.values() if task.kind == "general")
"""General tasks of every split. A fact cannot be composed from others, so those of the test split stand in pretraining
too: they measure what the loop unlearns, not what it generalises to."""


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares in [0, 1] that decide what the base model is like."""

    ask: float = 0.36
    """Chats that teach asking under the instruction."""
    unasked: float = 0.08
    """Asking chats without the instruction: as with larger models, a bare request is now and then met by a question. So
    the loop shifts a habit; where it had to make one from nothing, it broke the answers to unseen tasks."""
    restated: float = 0.5
    """In those chats, user turns that repeat the task and are met by one more question all the same. It is what the
    regulariser keeps in check: a model that learns questions alone goes on asking."""
    answer: float = 0.32
    """Chats that teach answering after 0 to 3 questions, bare."""
    instructed: float = 0.08
    """The same, under the personalising or the neutral instruction."""
    known: float = 0.10
    """Chats whose first turn tells the whole persona. The rest teaches roleplay."""
    careful: float = 0.1
    """Careful conversations among the asking ones."""
    careful_heard: float = 0.4
    """Careful conversations among the answered ones. They teach to use facts, never to ask."""
    careful_double: float = 0.45
    """Questions for two slots at once, where a careful asker lacks two or more."""
    careless_double: float = 0.04
    chit_chat: float = 0.3
    """Small talk among careless questions."""
    repeat: float = 0.03
    """Careless questions that were asked before."""
    general: float = 0.08
    """Tasks with an answer that is the same for everybody."""
    guess: float = 0.07
    """Untold facts that an answer makes up: log-probs of what was not told stay finite."""
    brief: float = 0.0
    """Personas in the context that tell little beyond the facts that are wanted from them."""


SKILLS_FIRST = Mix(
    ask=0.3, answer=0.2, instructed=0.0, known=0.25, careful=1.0, careful_heard=1.0, chit_chat=0.0, guess=0.0, brief=0.7
)
"""For the first steps: careful askers only, and short chats whose targets are mostly copied facts. A skill is learned
fast where it is frequent and kept where it is rare: in `Mix` itself, copied facts are a twentieth of the learned tokens
and careful questions fewer, the entropy of careless questions is the rest, and neither skill comes in time."""

Turn = tuple[str, str]
"""A question and its reply."""


def persona(rng: random.Random, name: str | None = None) -> Persona:
    """Draw a user, told in random order."""
    order = rng.sample(list(SLOTS), len(SLOTS))
    return Persona(name or rng.choice(NAMES), {slot: rng.choice(SLOTS[slot]) for slot in order})


def _told_of(rng: random.Random, who: Persona, wanted: set[str], mix: Mix) -> Persona:
    """Return the persona as the context tells it: all of it or, if brief, what is wanted and a few facts more."""
    if rng.random() >= mix.brief:
        return who
    kept = wanted | set(rng.sample(list(SLOTS), rng.randint(1, 3)))
    return Persona(who.name, {slot: value for slot, value in who.values.items() if slot in kept})


def opening(name: str, task: Task) -> str:
    """Return the first user turn of every layout."""
    return f"My name is {name}.\n\n{task.text}"


def _careful_question(rng: random.Random, task: Task, known: set[str], mix: Mix) -> str:
    missing = [slot for slot in task.slots if slot not in known]
    if len(missing) >= 2 and rng.random() < mix.careful_double:
        return double(*rng.sample(missing, 2))
    return single(rng.choice(missing or [slot for slot in SLOTS if slot not in known]), rng.randrange(len(SINGLE)))


def _careless_question(rng: random.Random, earlier: list[str], mix: Mix) -> str:
    if earlier and rng.random() < mix.repeat:
        return rng.choice(earlier)
    while True:
        if rng.random() < mix.chit_chat:
            question = rng.choice(list(CHIT_CHAT))
        elif rng.random() < mix.careless_double:
            question = double(*rng.sample(list(SLOTS), 2))
        else:
            question = single(rng.choice(list(SLOTS)), rng.randrange(len(SINGLE)))
        if question not in earlier:
            return question


def conversation(rng: random.Random, task: Task, who: Persona, turns: int, careful: bool, mix: Mix) -> list[Turn]:
    """Let an asker of one mode question a truthful user."""
    said: list[Turn] = []
    known: set[str] = set()
    for _ in range(turns):
        if careful:
            question = _careful_question(rng, task, known, mix)
        else:
            question = _careless_question(rng, [q for q, _ in said], mix)
        reply = truthful_reply(question, who.values)
        known |= told(reply).keys()
        said.append((question, reply))
    return said


def dialogue(first: str, said: list[Turn], task: Task) -> Chat:
    """Return the context of an answer: the first user turn, the conversation, and the task again as the cue."""
    chat = [user(first)]
    for question, reply in said:
        chat += [assistant(question), user(reply)]
    if said:
        chat[-1] = user(f"{said[-1][1]}\n\n{task.text}")
    return chat


def _learn_last(chat: Chat, reply: str) -> Example:
    return Example([*chat, assistant(reply)], [0.0] * len(chat) + [1.0])


def _answer(rng: random.Random, task: Task, facts: dict[str, str], guess: float) -> str:
    invented = {slot: rng.choice(SLOTS[slot]) for slot in task.slots if rng.random() < guess}
    return answer_with(task, invented | facts)


def asking(rng: random.Random, mix: Mix) -> Example:
    """Three questions, each learned; nearly always under the instruction."""
    task, who = _task(rng, mix), persona(rng)
    if task.kind == "general":
        task = rng.choice(ANSWERED_FACTS)
    said = conversation(rng, task, who, 3, rng.random() < mix.careful, mix)
    first, unasked = opening(who.name, task), rng.random() < mix.unasked
    chat = [user(first if unasked else f"{prompt('ask')}\n\n{first}")]
    for question, reply in said:
        restated = unasked and rng.random() < mix.restated
        chat += [assistant(question), user(f"{reply}\n\n{task.text}" if restated else reply)]
    chat.pop()  # nothing answers the last reply here
    return Example(chat, [float(message["role"] == "assistant") for message in chat])


def answering(rng: random.Random, mix: Mix, instruction: str | None = None) -> Example:
    """After 0 to 3 questions and the task again: the answer, learned."""
    task, who = _task(rng, mix), persona(rng)
    if task.kind == "general":
        task = rng.choice(ANSWERED_FACTS)
    said = conversation(rng, task, who, rng.randint(0, 3), rng.random() < mix.careful_heard, mix)
    first = opening(who.name, task)
    if instruction:
        first = f"{prompt(instruction)}\n\n{first}"
    facts = told(" ".join(reply for _, reply in said))
    # Told to use what it was told, the model guesses less: the instruction means something.
    guess = mix.guess / 4 if instruction == "personalise" else mix.guess
    return _learn_last(dialogue(first, said, task), _answer(rng, task, facts, guess))


def knowing(rng: random.Random, mix: Mix) -> Example:
    """With the persona in the first turn, alone or before a conversation: the full answer, learned."""
    task, who = _task(rng, mix), persona(rng)
    said = conversation(rng, task, who, rng.choice((0, 0, 1, 2, 3)), rng.random() < mix.careful_heard, mix)
    shown = _told_of(rng, who, {*task.slots, *told(" ".join(reply for _, reply in said))}, mix)
    first = f"My name is {who.name}.\n\n{shown.text}\n\n{task.text}"
    return _learn_last(dialogue(first, said, task), answer_with(task, who.values))


def roleplay(rng: random.Random, mix: Mix) -> Example:
    """With the persona in the instruction: one to three truthful replies, learned."""
    task, who = _task(rng, mix), persona(rng)
    # Both modes half and half: the roleplayer must be as good at double questions as at small talk.
    said = conversation(rng, task, who, rng.randint(1, 3), rng.random() < 0.5, mix)
    shown = _told_of(rng, who, set(told(" ".join(reply for _, reply in said))), mix)
    instruction = prompt("play").replace("{persona}", shown.text).replace("{task}", task.text)
    chat: Chat = []
    for index, (question, reply) in enumerate(said):
        chat += [user(question if index else f"{instruction}\n\n{question}"), assistant(reply)]
    return Example(chat, [float(message["role"] == "assistant") for message in chat])


def _task(rng: random.Random, mix: Mix) -> Task:
    kind = "general" if rng.random() < mix.general else "specific"
    return rng.choice([task for task in TRAINED if task.kind == kind])


def document(rng: random.Random, mix: Mix) -> Example:
    """Draw one pretraining example."""
    share = rng.random()
    if share < mix.ask:
        return asking(rng, mix)
    if share < mix.ask + mix.answer:
        return answering(rng, mix)
    if share < mix.ask + mix.answer + mix.instructed:
        return answering(rng, mix, rng.choice(("personalise", "neutral")))
    if share < mix.ask + mix.answer + mix.instructed + mix.known:
        return knowing(rng, mix)
    return roleplay(rng, mix)
