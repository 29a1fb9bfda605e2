"""Judgements and trees in a test, written down rather than searched for."""

from __future__ import annotations

from sparring.engines.scripted import Scripted
from sparring.flow import Role
from sparring.rollouts.pairs import Attempt
from sparring.rollouts.tree import BEGIN, END, Node, Refiner, Tree
from sparring.signals.judge import Judgement, Panel, Vote

SILENT = Scripted(lambda _: "")
PANEL = Panel(Role("judge", SILENT), "Asked:\n{prompt}\nSaid:\n{response}")
REFINER = Refiner(Role("refiner", SILENT), "Mend it between {begin} and {end}.")


def votes(verdicts: str, value: float | None = None, of: str = "") -> Judgement:
    """Return what votes came to, a letter each: `y`, `n`, or `?` for one that could not be read; 3 are a quorum.

    A vote says what it is and its place, `n0` for one; `value` stands where a checker gives it.
    """
    said = {"y": True, "n": False, "?": None}
    judged = Judgement.of([Vote(f"{of}{letter}{at}", said[letter]) for at, letter in enumerate(verdicts)], 3)
    return judged if value is None else Judgement(judged.votes, value)


def tried(prompt: str, index: int, response: str, verdicts: str) -> Attempt:
    return Attempt(prompt, f"do {prompt}", index, response, votes(verdicts))


def grown(
    id: str, *nodes: tuple[int, str, str], accepted: int | None = None, root: str = "root", began: str = "nnnnn"
) -> Tree:
    """Return a tree whose nodes after the root are each (parent, response, verdicts)."""
    made = [Node(0, None, 0, root, votes(began, of=f"{root} "))]
    for at, (parent, response, verdicts) in enumerate(nodes, 1):
        said = f"I mend it.\n{BEGIN}\n{response}\n{END}"
        made.append(Node(at, parent, made[parent].depth + 1, response, votes(verdicts, of=f"{response} "), said))
    return Tree(id, f"do {id}", tuple(made), accepted)
