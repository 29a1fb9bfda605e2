"""The experts of the concierge world, by rule: they stand where STaR-GATE has GPT-4.

Each takes the request that a language model would get and returns the reply's text. They read the request by turning
this world's own prompt file round, so they serve only prompts rendered from `prompts/`.
"""

from __future__ import annotations

import random
import re
from functools import cache

from sparring.engines.base import Request
from sparring.errors import EngineError
from sparring.worlds.concierge import prompt
from sparring.worlds.concierge.language import (
    ANY,
    NAMES,
    SLOTS,
    Persona,
    answer_with,
    read_answer,
    read_persona,
    task_of,
)

RIGHT, OPEN, WRONG, NO_ANSWER = 1.0, 0.0, -2.0, -6.0
"""What the judge gives for a needed fact: true of the user, left open, false; and for what does not answer the task."""


def oracle(request: Request) -> str:
    """Return the gold answer: it names the user's true value for every slot that the task needs."""
    fields = _fields("oracle", request)
    return answer_with(task_of(fields["task"]), read_persona(fields["persona"]))


def judge(request: Request, *, position_bias: float = 0.0) -> str:
    """Return a line of reasons and, last, "Final Response: A", "... B" or "... tie".

    A fact scores +1 if true of the user, 0 if left open, -2 if false: asserting something wrong about the user is worse
    than leaving it open. What is not an answer to the task scores -6. A general task has one right answer.
    `position_bias` is added to A's score, so that a test can show what judging in both orders removes.
    """
    fields = _fields("judge", request)
    values = read_persona(fields["persona"])
    a, reason_a = _score(fields["task"], _unquoted(fields["a"]), values)
    b, reason_b = _score(fields["task"], _unquoted(fields["b"]), values)
    a += position_bias
    verdict = "tie" if a == b else "A" if a > b else "B"
    return f"A {reason_a}; B {reason_b}.\nFinal Response: {verdict}"


def write_persona(request: Request) -> str:
    """Return a persona's text, fixed by the sampling seed and the sample index.

    Names run through one permutation a seed, so that they differ until there are more personas than names.
    """
    _fields("persona", request)
    seed, index = request.sampling.seed, request.sample_index
    names = random.Random(f"names {seed}").sample(NAMES, len(NAMES))
    rng = random.Random(f"persona {seed} {index}")
    order = rng.sample(list(SLOTS), len(SLOTS))
    return Persona(names[index % len(names)], {slot: rng.choice(SLOTS[slot]) for slot in order}).text


def score(task_text: str, answer: str, values: dict[str, str]) -> float:
    """Return what the judge gives an answer for a user with these values (slot -> value)."""
    return _score(task_text, answer, values)[0]


def _score(task_text: str, answer: str, values: dict[str, str]) -> tuple[float, str]:
    read = read_answer(task_text, answer)
    if read is None:
        return NO_ANSWER, "does not answer"
    if not read:
        return RIGHT, "is correct"
    right = sum(value == values[slot] for slot, value in read.items())
    left_open = sum(value == ANY for value in read.values())
    wrong = len(read) - right - left_open
    return RIGHT * right + OPEN * left_open + WRONG * wrong, f"has {right} right, {left_open} open and {wrong} wrong"


def _unquoted(text: str) -> str:
    return "\n".join(line.removeprefix(">").removeprefix(" ") for line in text.splitlines())


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Return the prompt file as a pattern with one named group a placeholder."""
    parts = re.split(r"\{(\w+)\}", prompt(name))
    pattern = "".join(f"(?P<{part}>.*?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile(pattern, re.DOTALL)


def _fields(name: str, request: Request) -> dict[str, str]:
    text = "\n\n".join(message["content"] for message in request.chat).strip()
    match = _pattern(name).fullmatch(text)
    if match is None:
        raise EngineError(
            f"world:concierge's {name} is a rule that reads only its own prompt file {name}.md; it got {text[:200]!r}"
        )
    return {key: value.strip() for key, value in match.groupdict().items()}
