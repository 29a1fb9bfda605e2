"""The kinds of rows that each recipe keeps, and how they lie in a table: one schema a kind, whatever a round has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.files import Row, read_lines, rows_of

Read = Callable[[Row], Row]
MESSAGES = [{"role": "string", "content": "string"}]
VOTES = [{"text": "string", "verdict": "bool", "reason": "string"}]
JUDGEMENT = {"value": "float64", "votes": VOTES}


def as_it_is(run: Path, folder: Path) -> Read:
    return lambda row: row


@dataclass(frozen=True, eq=False)
class Kind:
    """Rows that are alike."""

    name: str
    about: str
    """What a row is, in a sentence."""
    files: tuple[str, ...]
    """The first that is there is taken."""
    schema: Mapping[str, Any]
    reader: Callable[[Path, Path], Read] = as_it_is
    """(run, folder of the file) -> what makes a row of the table out of one of the file."""
    split: str = "train"
    by_round: bool = True
    has: str = ""
    """A key that rows of this kind have, where a file may hold another kind."""

    def fits(self, path: Path) -> bool:
        """Tell by its first row whether a file holds this kind."""
        if not self.has:
            return True
        with path.open("rb") as lines:
            return self.has in rows_of(lines.readline(), path)[0]


# Readers


def learned(run: Path, folder: Path) -> Read:
    """Messages beside their weights; where a message has pieces of several weights, its own is null."""

    def read(row: Row) -> Row:
        weights, pieces = row["weights"], list[Any]()
        for weight, message in zip(weights, row["messages"], strict=True):
            parts = weight if isinstance(weight, list) else [[len(message["content"]), weight]]
            pieces.append([{"characters": int(n), "weight": float(one)} for n, one in parts])
        plain = [None if isinstance(weight, list) else float(weight) for weight in weights]
        return {**row, "weights": plain, "pieces": pieces}

    return read


def compared(run: Path, folder: Path) -> Read:
    """Both replies as chats, as preference trainers read them."""

    def side(text: str) -> list[Row]:
        return [{"role": "assistant", "content": text}]

    return lambda row: {**row, "chosen": side(row["chosen"]), "rejected": side(row["rejected"])}


def conversed(run: Path, folder: Path) -> Read:
    """A conversation with whom it was held, and what it was worth where that was measured."""
    situations = {row["id"]: row for row in read_lines(run / "situations.jsonl")}
    signals = {row["id"]: row for name in ("signals.jsonl", "test-signals.jsonl") for row in _rows(folder / name)}
    selected = {row["id"] for row in _rows(folder / "selected.jsonl")}

    def read(row: Row) -> Row:
        known = situations[row["situation"]]
        told = f"My name is {known['persona']['name']}.\n\n{known['task']['text']}"
        messages = [{"role": "user", "content": told}]
        for question, reply in row["turns"]:
            messages += [{"role": "assistant", "content": question}, {"role": "user", "content": reply}]
        worth = signals.get(row["id"], {})
        nats = worth.get("log_prob", worth.get("heard"))
        whose = {"task": known["task"]["text"], "persona": known["persona"]["text"], "oracle": known["oracle"]}
        return {**row, **whose, "messages": messages, "log_prob": nats, "selected": row["id"] in selected}

    return read


def situated(run: Path, folder: Path) -> Read:
    def read(row: Row) -> Row:
        task, persona = row["task"], row["persona"]
        whose = {"persona": persona["text"], "name": persona["name"], "persona_id": persona["id"]}
        return {**row, **whose, "task": task["text"], "task_kind": task["kind"], "part": task["split"]}

    return read


def grown(run: Path, folder: Path) -> Read:
    def read(row: Row) -> Row:
        dropped = [{"reason": reason, "n": n} for reason, n in row["dropped"].items()]
        return {**row, "dropped": dropped}

    return read


def _rows(path: Path) -> list[Row]:
    return read_lines(path) if path.is_file() else []


# Kinds

ID = {"id": "string"}
TRAIN = {**ID, "messages": MESSAGES, "weights": ["float64"], "pieces": [[{"characters": "int64", "weight": "float64"}]]}
PAIR = {**ID, "prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "source": "string"}
TALK = {
    **ID,
    "situation": "string",
    "index": "int64",
    "task": "string",
    "persona": "string",
    "oracle": "string",
    "messages": MESSAGES,
    "log_prob": "float64",
}
TRIED = {
    **ID,
    "exercise": "string",
    "index": "int64",
    "attempts": ["string"],
    "feedbacks": ["string"],
    "outcome": "string",
    "reason": "string",
    "edited": "int64",
    "cut_off": "bool",
    "tokens": ["int64"],
}
ANSWER = {"prompt_id": "string", "prompt": "string", "index": "int64", "response": "string", "judgement": JUDGEMENT}
NODE = {"id": "int64", "parent": "int64", "depth": "int64", "response": "string", "judgement": JUDGEMENT}
TREE = {
    **ID,
    "prompt": "string",
    "accepted": "int64",
    "confirmed": JUDGEMENT,
    "dropped": [{"reason": "string", "n": "int64"}],
    "nodes": [{**NODE, "refinement": "string"}],
}
SAID_OF_TRAIN = "a row that was trained on: a chat, with one weight a message (0 is not learned)"

STAR_GATE = (
    Kind("train", SAID_OF_TRAIN, ("train.jsonl",), {**TRAIN, "closed_by": "string"}, learned),
    Kind(
        "conversations",
        "a conversation on tasks to train on; log_prob, in nats, is what it lends to the oracle's response",
        ("conversations.jsonl",),
        {**TALK, "selected": "bool"},
        conversed,
    ),
    Kind(
        "test_conversations", "a conversation on held-out tasks", ("test-conversations.jsonl",), TALK, conversed, "test"
    ),
    Kind(
        "test_answers",
        "an answer after a held-out conversation",
        ("test-answers.jsonl",),
        {"situation": "string", "conversation": "string", "voice": "string", "text": "string"},
        split="test",
    ),
    Kind(
        "situations",
        "a task as one persona asks it, with the oracle's response",
        ("situations.jsonl",),
        {**ID, **dict.fromkeys(("part", "task", "task_kind", "persona_id", "name", "persona", "oracle"), "string")},
        situated,
        by_round=False,
    ),
)
TRIPOST = (
    Kind("train", SAID_OF_TRAIN, ("train.jsonl",), {**TRAIN, **dict.fromkeys(("kind", "exercise"), "string")}, learned),
    Kind("trajectories", "attempts, feedback and updates as the teacher left them", ("trajectories.jsonl",), TRIED),
    Kind("attempts", "attempts, feedback and updates as the policy made them", ("attempts.jsonl",), TRIED),
    Kind(
        "test_trajectories",
        "a greedy attempt at a held-out question, with feedback and updates",
        ("test-trajectories.jsonl",),
        TRIED,
        split="test",
    ),
    Kind(
        "exercises",
        "a question with its answer",
        ("exercises.jsonl",),
        {**ID, **dict.fromkeys(("part", "question", "answer", "tier", "rationale"), "string"), "seen": "bool"},
        by_round=False,
    ),
)
SPAR = (
    Kind("preferences", "a pair that the actor learned", ("actor.jsonl",), PAIR, compared, has="chosen"),
    Kind("train", f"{SAID_OF_TRAIN}, by the refiner", ("refiner.jsonl",), {**TRAIN, "kind": "string"}, learned),
    Kind("train_actor", f"{SAID_OF_TRAIN}, by the actor", ("actor.jsonl",), TRAIN, learned, has="messages"),
    Kind(
        "judge_preferences",
        "a pair of critiques that the refiner learned",
        ("judge.jsonl",),
        PAIR,
        compared,
        has="chosen",
    ),
    Kind("trees", "a tree of refinements", ("trees.jsonl",), TREE, grown),
    Kind("answers", "an answer of the actor, with its votes", ("judgements.jsonl", "attempts.jsonl"), ANSWER),
    Kind("test_answers", "a greedy answer to a held-out prompt", ("test-answers.jsonl",), ANSWER, split="test"),
    Kind("test_trees", "a held-out wrong answer, refined once", ("test-trees.jsonl",), TREE, grown, "test"),
)
KINDS: Mapping[str, tuple[Kind, ...]] = {"star-gate": STAR_GATE, "tripost": TRIPOST, "spar": SPAR}
