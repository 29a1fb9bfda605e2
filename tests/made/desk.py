"""What the made runs of all recipes share: files, journal, failures, checkpoints, and who may replace a text."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.evals.statistics import Interval
from sparring.evals.summary import Examined, rounds, summary
from sparring.files import Row, text_of, write_json, write_lines
from sparring.runs import Run
from sparring.types import Failure

Text = Callable[[str, int, str], str]
"""(place, how many texts of that place came before, plain text) -> the text that stands there."""

PLACES = (
    *("task", "kind", "tier", "name", "persona", "oracle", "question", "reply", "answer", "attempt", "feedback"),
    *("critique", "refinement", "response", "id", "reason", "detail", "verdict", "model", "setting", "key", "prompt"),
    *("command", "version", "commit", "stage", "role", "dropped", "job"),
)
"""Where a text may be replaced. `id`: of tasks, personas, exercises and prompts. `key`: names of a setting's values.
`job`: what no page shows, as what training wrote beside its weights, and what a server was told."""
WORDS = (Path(__file__).parents[2] / "src/sparring/tasks/words.txt").read_text(encoding="utf-8").split()


BETTER = Interval(0.1, 0.05, 0.15, 500, 0.001)


class Stopped(Exception):
    """The stage after which a run was to stop is written."""


class Desk:
    """Writes one run."""

    def __init__(self, path: Path, text: Text | None, until: str | None, seed: int = 0):
        self.path, self.text, self.until, self.rng = path, text, until, random.Random(seed)
        self.told: dict[str, int] = {}
        self.journal: list[Row] = []
        self.failures: list[Row] = []
        path.mkdir(parents=True)

    def say(self, place: str, plain: str) -> str:
        """Return a text for a place."""
        if place not in PLACES:
            raise ValueError(f"place {place!r}: there is {', '.join(PLACES)}")
        if self.text is None:
            return plain
        at = self.told[place] = self.told.get(place, -1) + 1
        return self.text(place, at, plain)

    def words(self, least: int, most: int) -> str:
        """Return a sentence of as many words as anything between."""
        return " ".join(self.rng.choices(WORDS, k=self.rng.randint(least, most))).capitalize()

    def lines(self, name: str, rows: Iterable[Mapping[str, Any]], **note: Any) -> None:
        rows = [*rows]
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(path, rows)
        self.made(name, len(rows), **note)

    def rolled_out(self, name: str, rows: Iterable[Mapping[str, Any]], failed: int = 0, *roles: str) -> None:
        """Write a stage of rollouts, of which `failed` came to nothing, each with calls of the roles."""
        rows = [*rows]
        for n in range(failed):
            id = self.say("id", f"lost-{n + 1} #0")
            reason = self.say("reason", self.rng.choice(["question repeated", "cut off", "unreadable"]))
            failure = Failure(id, reason, self.say("detail", self.words(4, 12)))
            self.failures.append({"stage": name, "id": failure.id, "reason": failure.reason, "detail": failure.detail})
        n = len(rows) + failed
        calls = {role: {"calls": n, "prompt_tokens": 60 * n, "completion_tokens": 12 * n} for role in roles}
        spread = {role: {"prompt_tokens": 12.5, "completion_tokens": 1.3} for role in roles}
        self.lines(name, rows, calls=calls, spread=spread, failed=failed)

    def checkpoint(self, name: str, kind: str, rows: int) -> None:
        """Write what a training leaves beside the weights, and weights of no size."""
        folder = self.path / name
        folder.mkdir(parents=True)
        job = {"kind": kind, "model": self.say("job", "model"), "rows_sha256": "0" * 64, "seed": 0}
        curve = [{"step": n + 1, "loss": round(2 / (n + 1), 4), "grad_norm": 0.5} for n in range(20)]
        lengths = {"rows": rows, "min": 36, "median": 76.0, "p95": 98, "max": 104, "truncated": 0}
        lengths |= {"truncated_share": 0.0, "emptied": 0, "learned_tokens": 31 * rows}
        trained: Row = {"job": {**job, "settings": {"learning_rate": 0.001, "epochs": 5}}, "steps": 20, "tokens": 1000}
        trained |= {"seconds": 10.58, "rows": {"train": rows, "validation": 0}, "lengths": lengths, "curve": curve}
        if kind == "dpo":
            sides = {"chosen": 0.0, "rejected": 0.0, "positive": 0.0}
            trained["pairs"] = {"looked_at": rows, "before": sides, "after": {**sides, "chosen": 1.2, "positive": 0.9}}
        write_json(folder / "training.json", {**trained, "versions": {"torch": self.say("job", "2.13.0+cpu")}})
        write_json(folder / "config.json", {"model_type": "gpt2"})
        (folder / "model.safetensors").write_bytes(b"")
        self.made(name, rows)

    def made(self, name: str, n: int, **note: Any) -> None:
        """Put a finished stage on record; stop here if it is the last."""
        second = len(self.journal) % 60
        finished = f"2026-11-22T01:{len(self.journal) // 60:02}:{second:02}+00:00"
        self.journal.append({"stage": name, "seconds": round(0.1 + n / 200, 3), "finished": finished, **note})
        if name == self.until:
            raise Stopped

    def record(self, recipe: str, settings: Row, prompts: Mapping[str, str], engines: Mapping[str, str]) -> None:
        """Write run.json: settings as given, of which names of models, and free texts, may be replaced."""
        names = {role: self.say("model", engine) for role, engine in engines.items()}
        settings["policy"] = self.say("model", settings["policy"])
        settings["tasks"], settings["prompts"] = self.say("setting", "world:made"), self.say("setting", "prompts/mine")
        settings["vllm"]["environment"] = {"HF_TOKEN": self.say("job", "secret")}
        settings["training"]["lora"] = {self.say("key", "init_lora_weights"): self.say("setting", "gaussian")}
        for role in settings["roles"].values():
            if role:
                role["engine"] = self.say("model", role["engine"] or "http://127.0.0.1:1/v1#made")
        settings["inputs"] = {"prompts": self.say("setting", "5f4533b49a404894"), "engines": names}
        record = {"recipe": recipe, "settings": settings, "seeds": [0], "id": "99587e868dfc6a56"}
        record["prompts"] = {name: self.say("prompt", text) for name, text in prompts.items()}
        record["command"] = self.say("command", f"sparring run {recipe} --out runs/made")
        record["versions"] = {"python": "3.11.7", "sparring": self.say("version", "0.1.0"), "torch": "2.13.0+cpu"}
        record["commit"] = self.say("commit", "0f0e39c757869fb40c9110e88460332a73e80b67")
        write_json(self.path / "run.json", record)
        write_json(self.path / "gates.json", {"proven": 1.0})
        self.made("gates.json", 1)
        if self.text:
            self.odd()

    def odd(self) -> None:
        """Put on record what no recipe writes, but a folder from elsewhere may hold."""
        stage = self.say("stage", "round-1/odd.jsonl")
        calls = {self.say("role", "policy"): {"calls": 1, "prompt_tokens": 1, "completion_tokens": 1}}
        self.made(stage, 1, calls=calls, dropped={self.say("dropped", "no-op"): 1})
        self.failures.append({"stage": stage, "id": "odd #0", "reason": "odd", "detail": ""})

    def close(self) -> None:
        """Write journal and failures, as a run of any state has them."""
        (self.path / "journal.jsonl").write_bytes(b"".join(map(text_of, self.journal)))
        (self.path / "failures.jsonl").write_bytes(b"".join(map(text_of, self.failures)))

    def summary(self, recipe: str, found: Sequence[Examined], verdict: str, paid: str) -> None:
        """Write summary.json, in which every round improved; the role `paid` was billed."""
        (self.path / "journal.jsonl").write_bytes(b"".join(map(text_of, self.journal)))
        part = {"calls": 120, "prompt_tokens": 7200, "completion_tokens": 1440, "usd": 0.0123}
        billed = {paid: {"billed_now": part, "billed_earlier": {**part, "usd": None}, "lost": {"calls": 2}}}
        rows = rounds(found, lambda now, then: [BETTER], False)
        told = summary(recipe, Run(self.path), rows, self.say("verdict", verdict), billed)
        write_json(self.path / "summary.json", told)
        self.made("summary.json", 1)


def share(t: int, at: int, n: int = 500) -> Interval:
    """Return the `at`-th share of round t: it grows with the rounds, each share at its own pace."""
    value = round(1 - 0.8 * math.exp(-0.3 * t * (1 + at % 3)) / (1 + at % 2), 4)
    return Interval(value, max(0.0, round(value - 0.02, 4)), min(1.0, round(value + 0.02, 4)), n)


def nats(t: int, at: int, n: int = 500) -> Interval:
    value = round(-12 * math.exp(-0.5 * t) - at, 4)
    return Interval(value, value - 0.4, value + 0.4, n)


def metrics_of(rows: Iterable[tuple[str, str, str]], t: int) -> dict[str, Interval | None]:
    """Return a value for every metric of a recipe's report, but one that is not known."""
    found: dict[str, Interval | None] = {}
    for at, (name, _, unit) in enumerate(rows):
        found[name] = nats(t, at) if unit not in ("%", "points") else share(t, at)
    return {**found, "of_no_report": None}
