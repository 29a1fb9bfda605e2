"""What a card says of a run: its data, its settings, its limits, the paper behind it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparring.export.chosen import HUB_ID, Base
from sparring.files import Row
from sparring.report.record import Record
from sparring.runs import SERVER
from sparring.tasks.families import FAMILIES

CITATIONS = {
    "star-gate": """@misc{andukuri2024stargate,
  title = {STaR-GATE: Teaching Language Models to Ask Clarifying Questions},
  author = {Chinmaya Andukuri and Jan-Philipp Fränken and Tobias Gerstenberg and Noah D. Goodman},
  year = {2024},
  eprint = {2403.19154},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2403.19154}
}""",
    "tripost": """@misc{yu2023tripost,
  title = {Teaching Language Models to Self-Improve through Interactive Demonstrations},
  author = {Xiao Yu and Baolin Peng and Michel Galley and Jianfeng Gao and Zhou Yu},
  year = {2023},
  eprint = {2310.13522},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2310.13522}
}""",
    "spar": """@misc{cheng2024spar,
  title = {SPaR: Self-Play with Tree-Search Refinement to Improve Instruction-Following in Large Language Models},
  author = {Jiale Cheng and Xiao Liu and Cunxiang Wang and Xiaotao Gu and Yida Lu and Dan Zhang and Yuxiao Dong and
            Jie Tang and Hongning Wang and Minlie Huang},
  year = {2024},
  eprint = {2412.11605},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2412.11605}
}""",
}
TRAINING = ("learning_rate", "epochs", "tokens", "batch_size", "schedule", "max_length", "beta", "sft_weight", "lora")
"""Settings of a training that a card names."""
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "star-gate": {"signal": "log_prob", "selection": "best", "closing": "own"},
    "tripost": {"learn_from": "trajectories", "interaction": "every round"},
    "spar": {"learn_from": "refined", "judge": "refiner", "refiner_learns": True},
}
"""Settings that make the method what a card's first words say of it; any other value is an ablation."""
PRIVATE = (SERVER, "inputs", "ledger")
"""Settings that tell of machines, not of the model."""
WHOSE = re.compile(r"^(hf|vllm):(.*)$", re.S)


def is_on_hub(name: str) -> bool:
    """Tell whether tasks are named by an id on the Hub."""
    return "/" in name and bool(HUB_ID.fullmatch(name)) and not Path(name).exists() and not name.endswith(".jsonl")


def tested_on(settings: Mapping[str, Any]) -> str:
    """Return where held-out tasks are from: a world brings its own, whatever else is set."""
    tasks = str(settings.get("tasks"))
    return tasks if tasks.startswith("world:") else str(settings.get("test") or tasks)


def is_public(name: str) -> bool:
    """Tell whether everybody has these tasks: a world's, a generated family's, the Hub's."""
    return name.startswith("world:") or name in FAMILIES or is_on_hub(name)


def ablations(recipe: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the settings by which a run is not what the paper describes: selection=random."""
    published = PUBLISHED[recipe]
    return [f"{name}={settings[name]}" for name in published if settings.get(name, published[name]) != published[name]]


def is_of_a_world(settings: Mapping[str, Any]) -> bool:
    """Tell whether tasks and everybody who speaks are a world's: nobody else has a say in what was written."""
    players = [player["engine"] for player in (settings.get("roles") or {}).values() if player]
    named = [settings.get("policy"), settings.get("refiner"), *(name for name in players if name != "base")]
    return all(str(name).startswith("world:") for name in [settings.get("tasks"), *filter(None, named)])


def made(record: Record) -> Row:
    """Return how the run was made: its loop, data, training, versions, command and settings."""
    settings = record.settings
    return {
        "boxes": record.topology.boxes,
        "notes": record.topology.notes,
        "data": data_said(record.recipe, settings),
        "facts": training(settings),
        "command": command(record.command or ""),
        "versions": versions(record),
        "settings": json.dumps(told(dict(settings)), indent=1, ensure_ascii=False),
    }


def data_said(recipe: str, settings: Mapping[str, Any]) -> str:
    """Return where the tasks come from, and how many there are, in a sentence."""
    tasks = place(str(settings.get("tasks")))
    match recipe:
        case "star-gate":
            people = "/".join(map(str, settings.get("personas", ())))
            return f"Tasks are those of {tasks}. Personas for A, B and test ({people}) are disjoint, and so are tasks."
        case "tripost":
            return (
                f"Questions are of {tasks}: {settings.get('questions')} to train on, {settings.get('test_questions')} "
                "held out, none in both."
            )
        case _:
            test = place(tested_on(settings))
            return (
                f"Prompts are those of {tasks}, {settings.get('prompts_a_round')} a round, of which no other round "
                f"meets any; held-out ones are of {test}."
            )


def training(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows of a table: what was trained, and how."""
    rows: list[tuple[str, str]] = []
    for name in ("rationale", "training", "refiner_training"):
        values: Mapping[str, Any] = settings.get(name) or {}
        known = [f"{key} {_plain(values[key])}" for key in TRAINING if values.get(key) is not None]
        if known:
            rows.append((name.replace("_", " "), ", ".join(known)))
    rows += [("policy", place(str(settings.get("policy")))), ("rounds", str(settings.get("rounds")))]
    for name, player in (settings.get("roles") or {}).items():
        if player and player.get("engine"):
            rows.append((name.replace("_", " "), place(str(player["engine"]))))
    return rows


def versions(record: Record) -> str:
    """Return versions, seeds and commit in a sentence."""
    known = [f"{name} {number}" for name, number in record.versions.items() if number]
    seeds = ", ".join(map(str, record.seeds))
    commit = f" Sparring's commit was {record.commit}." if record.commit else ""
    return (
        f"Made with {', '.join(known)}; {'seed' if len(record.seeds) == 1 else 'seeds'} {seeds or 'unknown'}.{commit}"
    )


def command(line: str) -> str:
    """Return the command that was given, without where it lay, what lay where on that machine, and its secrets."""
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # an older run did not quote what it put on record
        words = line.split()[1:]
    return shlex.join(["sparring", *_published(words)]) if words else ""


def _published(words: list[str]) -> Iterator[str]:
    for word in words:
        key, mark, value = word.partition("=")
        if mark and re.split(r"[.{]", key)[0] in PRIVATE:
            continue  # the environment of a server may hold a token
        if mark and value.startswith(("{", "[")):
            try:
                value = json.dumps(told(json.loads(value), key), ensure_ascii=False)
            except ValueError:
                value = "..."
            yield f"{key}={value}"
        else:
            yield place(word)


def told(value: Any, name: str = "") -> Any:
    """Return settings as they may be published: without those of machines, and places by their last part."""
    if isinstance(value, Mapping):
        return {key: told(one, key) for key, one in value.items() if name or key not in PRIVATE}
    if isinstance(value, list | tuple):
        return [told(one, name) for one in value]
    return place(value) if isinstance(value, str) else value


def place(text: str) -> str:
    """Return a name without the folders that lead to it, or the address of the server that has it."""
    key, mark, value = text.partition("=")
    if mark and re.fullmatch(r"[\w.-]+", key):
        return f"{key}={place(value)}"
    if text.startswith(("http:", "https:")):
        return f"(a server)#{text.partition('#')[2]}"
    kind, rest = found.groups() if (found := WHOSE.match(text)) else ("", text)
    if rest.startswith(("/", "./", "../", "~")):
        rest = Path(rest).name
    return f"{kind}:{rest}" if kind else rest


def limits(recipe: str, model: str, base: Base) -> list[str]:
    """Return what these figures do not show, a sentence or two each."""
    found = ["It was trained and measured on one kind of task; what it does elsewhere nobody has looked at."]
    match recipe, model:
        case "star-gate", _:
            found += [
                "Users were played, and answers compared, by models or rules: people may reply, and prefer, otherwise.",
                "It may ask where no question is needed, and it asks for what people may not want to tell: do not "
                "keep what they say without their leave.",
            ]
        case "tripost", _:
            found.append(
                "Its feedback is no proof: it misses mistakes, and finds some where there are none. The figures say "
                "how often."
            )
        case _, "refiner":
            found.append(
                "Its verdicts are votes of a model: a search for what it accepts also finds what it is wrong to accept."
            )
        case _:
            found.append("What was checked is what code can check: not whether an answer is true, or good.")
    if base.world:
        found.append("It knows a few hundred words of a made-up world, and none beside: it is a demonstration.")
    else:
        found.append("Whatever holds of its base model (licence, languages, biases) holds of it as well.")
    return found


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        known: Mapping[str, Any] = value
        return "(" + ", ".join(f"{key} {one}" for key, one in known.items()) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
