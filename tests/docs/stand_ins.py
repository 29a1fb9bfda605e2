"""What a test puts in place of what it cannot have: large models, servers of others, hours.

Everything else of a command is run as a page shows it. `SMALL` and `CONFIGS` are put right behind the recipe's name, so
that what the command itself says still wins.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparring.engines.base import Request
from sparring.errors import SparringError
from sparring.recipes.spar_settings import SPaR
from sparring.recipes.star_gate import StarGate
from sparring.recipes.tripost import TriPosT
from sparring.settings import Settings
from sparring.types import Sampling
from sparring.worlds import World, world_of

SMALL = {
    "star-gate": "rounds=1 personas=[1,1,1] samples=2 test_samples=1 turns=[1] elicit=always training.epochs=1"
    " max_failed=1.0",
    "tripost": "rounds=1 questions=12 gold=6 samples=2 test_questions=12 test_sampled=0 training.epochs=1"
    " rationale.epochs=1",
    "spar": "rounds=1 prompts_a_round=8 test_prompts=8 test_judged=8 test_groups=0 test_refined=4 samples=2 votes=3"
    " audit_judged=20 training.epochs=1 refiner_training.epochs=1",
}
"""Sizes with which a recipe takes seconds, in place of minutes or days."""
KINDS: dict[str, type[Settings]] = {"star-gate": StarGate, "tripost": TriPosT, "spar": SPaR}
WORLDS = {"star-gate": "world:concierge", "tripost": "world:arithmetic", "spar": "world:instructions"}
"""Whose model stands for a model from the Hub: in a folder, so that nothing of its world comes with it."""
CONFIGS = {
    "mine.toml": "task_splits=[4,4,4]",
    "many.toml": "task_splits=[4,4,4] training.launcher=[] training.rows_per_device=4",
    "mend.toml": "tasks=world:arithmetic roles.teacher.engine=world:arithmetic/teacher",
    "own.toml": "evidence=false",
    "follow.toml": "test=ifeval.jsonl roles.teacher.engine={qwen}#qwen bootstrap.actor=4 bootstrap.judgements=4"
    " bootstrap.refinements=2 bootstrap_training.epochs=1",
    "served.toml": "tasks=world:concierge roles.oracle.engine={gpt}#gpt-4.1 roles.author.engine={qwen},{qwen2}#qwen"
    " roles.judge.engine={qwen}?key=MY_KEY&concurrency=64&deadline=120#qwen",
}
"""What else a file of settings needs: the words of a world's model fit its own tasks, and our servers our addresses."""

NOT_RUN = {
    r"git clone .*": "there is nothing to clone from in a test",
    r"source \S+": "the tests have a `sparring` on their path already",
    r"sparring world build \S+": "it trains for 6 to 22 minutes; what it takes is checked by --help",
    r"sparring export .*--push .*": "it would put a model on the Hub; tests/export look at what would be sent",
    r"vllm serve .*": "a real vLLM starts in the tests marked `vllm` (tests/export)",
    r"make (?!demo).*": "each is asked with -n whether it exists; they test, build and measure for minutes",
    r"tensorboard .*|trackio show.*|wandb .*": "other people's programs, which wait for a browser",
}
"""Commands that no test can run, with the reason; what of them can be checked is."""

INPUTS = {
    "sparring chat .*runs/spar.*": "Write about the sea\n\n/help\n\n/quit\n",
    "sparring chat .*": "Where should we eat for a birthday?\nI like spicy food.\n/help\n/quit\n",
}
"""What a person types."""
AT_A_TERMINAL = {".*engine=human:.*": ("> ", "I like spicy food.\n\n")}
"""What asks a person at a terminal: the prompt, and what is typed at it."""
KEYS = {"OPENAI_API_KEY": "of nobody", "MY_KEY": "of nobody"}


def overrides(recipe: str, config: str, urls: Mapping[str, str]) -> list[str]:
    """Return the settings put behind the name of a recipe that is run with a file of settings, or with none."""
    if config not in CONFIGS:  # it leaves the policy to the world
        return SMALL[recipe].split()
    world = world_of(WORLDS[recipe])
    assert world
    brought = [f"policy=hf:{world.model}", f"prompts={WORLDS[recipe]}", *flat(world.preset(recipe))]
    return [*brought, *SMALL[recipe].split(), *CONFIGS[config].format(**urls).split()]


def flat(preset: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a world's settings for a recipe as overrides, but for what it is called."""
    found: list[str] = []
    for name, value in preset.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{name}.")
        elif prefix or name not in ("policy", "tasks", "prompts"):
            found.append(f"{prefix}{name}={json.dumps(value)}")
    return found


def recipe_of(config: str, commands: list[str]) -> str:
    """Return the recipe that a file of settings is shown with."""
    for command in commands:
        if found := re.search(rf"sparring (?:run|plan|doctor) (\S+) .*--config {re.escape(config)}\b", command):
            return found[1]
    raise AssertionError(f"no command of the pages uses {config}: show one, or call the block something else")


def parsed(text: str) -> Mapping[str, Any]:
    return tomllib.loads(text)


VERDICTS = ("Verdict: ", "Final Response: ")
"""How a judge's last line begins, as its prompt shows it."""


def reply(body: dict[str, Any], seed: int) -> str:
    """Speak for whichever expert of a world is asked, as a server of a large model would."""
    worlds = [world for world in map(world_of, WORLDS.values()) if world]
    for rule in (rule for world in worlds for rule in world.experts.values()):
        try:
            return rule(Request(body["messages"], Sampling(seed=seed)))
        except SparringError:
            continue
    asked = body["messages"][-1]["content"]
    return next((line for line in reversed(asked.splitlines()) if line.startswith(VERDICTS)), "I can not say.")


def write_files(folder: Path) -> None:
    """Write the files of one's own that the pages speak of, in the words of the worlds' models."""
    concierge, arithmetic, instructions = (world_of(name) for name in WORLDS.values())
    assert concierge and concierge.tasks and arithmetic and instructions and instructions.suite
    asked = [task.text for split in concierge.tasks().values() for task in split]
    suite = instructions.suite
    prompts = [one.prompt for one in suite.draw("train", 40, 0)]
    tests = [one.prompt for one in suite.draw("test", 12, 0)]
    check = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    judged = [{"prompt": j.prompt, "response": j.response, "label": j.label} for j in suite.judged(8, 0)]
    good = next(row for row in judged if row["label"])
    judged.append({**good, "response": "", "label": False})  # so that two answer one prompt
    rows = {
        "tasks.jsonl": [{"prompt": text} for text in asked],
        "instructions.jsonl": [{"prompt": text} for text in prompts],
        "ifeval.jsonl": [{"key": at, "prompt": text, **check} for at, text in enumerate(tests)],
        "responses.jsonl": judged,
        "exercises.jsonl": exercises(arithmetic),
        "pairs.jsonl": [
            {"messages": [{"role": "user", "content": text}], "target": "What food do you like?"} for text in asked[:4]
        ],
    }
    for name, those in rows.items():
        (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in those))


def exercises(world: World) -> list[dict[str, str]]:
    from sparring.tasks.exercise import exercises as drawn

    assert world.family
    parts = {part: drawn(world.family, part, 12, 0) for part in ("train", "test")}
    return [
        {"question": one.question, "answer": one.answer, "tier": one.tier, "split": part}
        for part, those in parts.items()
        for one in those
    ]
