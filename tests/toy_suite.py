"""A suite in a few words for SPaR's loop, and scripted models of it: "Say WORD WORD WORD." wants these words said."""

from __future__ import annotations

import random
import re

from sparring.engines.base import Request
from sparring.rollouts.refining import BEGIN, END
from sparring.tasks.instructions import Instructed, Instruction, Judged, Part, Suite

WORDS = ("red", "blue", "green", "tea", "cake", "day")
PROMPTS = {
    "judge": "JUDGE\n{prompt}\nREPLY\n{response}",
    "refine": "MEND\n{begin}\n{end}",
    "teacher_answer": "Do all of it.",
    "evolve": "HARDER\n{taxonomy}\n{category}\n{seed}\n{begin}\n{end}",
    "valid": "VALID\n{prompt}\nREPLY\n{response}",
}


def has(text: str, word: str) -> bool:
    return word in text.split()


def instructed(part: str, n: int, words: list[str]) -> Instructed:
    asked = f"{part} {n}. Say {' '.join(words)}."
    return Instructed(f"{part}-{n}", asked, tuple(Instruction("toy:has", {"word": word}) for word in words))


def draw(part: Part, n: int, seed: int) -> list[Instructed]:
    rng = random.Random(f"{part} {seed}")
    return [instructed(part, at, rng.sample(WORDS, 3)) for at in range(n)]


def judged(n: int, seed: int) -> list[Judged]:
    asked = draw("test", n, seed)
    good = [" ".join(wanted(one.prompt)) for one in asked]
    return [
        Judged(f"judged-{at}", one.prompt, text if at % 2 else text.split()[0], bool(at % 2), "natural")
        for at, (one, text) in enumerate(zip(asked, good, strict=True))
    ]


def levels(groups: int, seed: int) -> list[Instructed]:
    whole = draw("test", groups, seed)
    return [
        Instructed(f"{one.id}/{k}", f"{one.prompt} Level {k}.", one.instructions[:k], one.id, k)
        for one in whole
        for k in (1, 2, 3)
    ]


SUITE = Suite("toy", {"toy:has": has}, draw, judged, levels)


def wanted(prompt: str) -> list[str]:
    return re.findall(r"Say ([a-z ]+)\.", prompt)[-1].split()


def actor(t: int, request: Request) -> str:
    """M_t says t + 1 of the three words; every fourth sample says all, and none says the same as another."""
    words = wanted(request.chat[-1]["content"])
    drawn = bool(request.sampling.temperature)
    said = words if drawn and request.sample_index == 3 else words[: t + 1]
    return " ".join([*said, f"take{request.sample_index}" if drawn else "greedy"])


def judge(request: Request, errs: bool = True) -> str:
    """Vote right, but for the last of five."""
    asked, reply = parts(request.chat[0]["content"])
    missing = [word for word in wanted(asked) if word not in reply.split()]
    says = not missing
    if errs and request.sample_index % 1000 % 5 == 4:
        says = not says
    return (
        f"Vote {request.sample_index}: it lacks {' '.join(missing) or 'nothing'}.\nVerdict: {'Yes' if says else 'No'}"
    )


def refiner(request: Request) -> str:
    """Add the first word that is missing; the third try of three changes nothing."""
    asked, reply = parts(request.chat[0]["content"])
    missing = [word for word in wanted(asked) if word not in reply.split()]
    more = [] if request.sample_index % 3 == 2 else missing[:1]
    return "\n".join(["I add a word.", BEGIN, " ".join([*more, reply]), END])


def parts(asked: str) -> tuple[str, str]:
    """Return what is quoted in a judge's prompt: the prompt and the reply."""
    first, _, second = asked.partition("\nREPLY\n")
    prompt, reply = (re.sub(r"^> ?", "", text, flags=re.M) for text in (first.partition("\n")[2], second))
    return prompt, reply


def plays(request: Request, t: int = 0) -> str:
    """Say what any of the roles says, told apart by what is asked; M_t is the actor."""
    first = request.chat[0]["content"]
    if first.startswith("JUDGE"):
        return refiner(request) if len(request.chat) == 3 else judge(request)
    return actor(t, request)
