"""Tree search as it was published: a pool of workers, each with one tree, and one blocking request at a time.

SPaR's code (https://arxiv.org/abs/2412.11605): a level is expanded node by node, each refined, then judged by one
request of all votes; acceptance is looked at after the level. What is left out was to its disadvantage: a new
connection for every request, fixed shares of the trees, and up to nine requests for one refinement that cannot be read.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from sparring.engines.http import seed_of
from sparring.errors import RolloutError
from sparring.rollouts.pairs import Attempt
from sparring.rollouts.tree import Node, Refiner, Search, Tree, complaint, read_refined
from sparring.signals.judge import Judgement, Panel, Vote, read_verdict
from sparring.types import Chat, Sampling


@dataclass(frozen=True)
class Job:
    """Who judges and refines, with what sampling, in trees of which shape."""

    judge: Panel
    refiner: Refiner
    how: Search


@dataclass
class Worker:
    """Grows one tree at a time."""

    url: str
    model: str
    job: Job
    drops: bool
    """What is in the tree already is not judged again, and samples have our engine's seeds: its trees are ours. Else as
    published: a node is a node, and every request has a seed of its own."""
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """Goes into every request."""
    posts: int = 0
    tokens: int = 0
    """Generated."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.path = parts.path + "/chat/completions"
        self.connection = HTTPConnection(parts.netloc)

    def work(self, roots: SimpleQueue[Attempt]) -> list[Tree]:
        """Grow trees until no root is left."""
        trees: list[Tree] = []
        while True:
            try:
                trees.append(self.grow(roots.get_nowait()))
            except Empty:
                self.connection.close()
                return trees

    def grow(self, root: Attempt) -> Tree:
        assert root.judgement
        how, rng = self.job.how, random.Random(root.id)
        nodes, dropped, accepted = [Node(0, None, 0, root.response, root.judgement)], Counter[str](), None
        level, seen = nodes, {lines(root.response)}
        for _ in range(how.depth):
            born = len(nodes)
            for parent, number in [(parent, number) for parent in level for number in range(how.branch)]:
                try:
                    said, response, judgement = self.child(root.prompt, parent, number, seen, rng)
                except RolloutError as error:
                    dropped[error.reason] += 1
                    continue
                nodes.append(Node(len(nodes), parent.id, parent.depth + 1, response, judgement, said))
            ranked = sorted(nodes[born:], key=lambda node: (-node.value, node.id))
            if ranked and ranked[0].value > how.threshold:
                accepted = ranked[0].id
                break
            level = ranked[: how.beam]
        return Tree(root.id, root.prompt, (*nodes,), accepted, None, dropped)

    def child(
        self, prompt: str, parent: Node, number: int, seen: set[tuple[str, ...]], rng: random.Random
    ) -> tuple[str, str, Judgement]:
        """Return what the refiner says of a node, the response in it, and its judgement."""
        judge, refiner = self.job.judge, self.job.refiner
        asked = refiner.chat(judge, prompt, parent.response, complaint(parent.judgement))
        (said, finish) = self.ask(asked, refiner.role.sampling, number, 1, rng)[0]
        if finish != "stop":
            raise RolloutError("cut off")
        response = read_refined(said)
        if self.drops and lines(response) in seen:
            raise RolloutError("known")
        seen.add(lines(response))
        replies = self.ask(judge.chat(prompt, response), judge.role.sampling, 0, judge.votes, rng)
        votes = [Vote(text, read_verdict(text) if finish == "stop" else None) for text, finish in replies]
        judgement = Judgement.of(votes, judge.quorum)
        if judgement.value is None:
            raise RolloutError("unscored")
        return said, response, judgement

    def ask(
        self, chat: Chat, sampling: Sampling, index: int, count: int, rng: random.Random
    ) -> list[tuple[str, str | None]]:
        """Return samples `index`, `index` + 1, ... of a chat, each with how it ended."""
        body = {
            "model": self.model,
            "messages": chat,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed_of(chat, sampling) + index if self.drops else rng.randrange(2**30),
            "n": count,
            **self.extra,
        }
        self.posts += 1
        self.connection.request("POST", self.path, json.dumps(body), {"Content-Type": "application/json"})
        with self.connection.getresponse() as answer:
            found = json.loads(answer.read())
            if answer.status == 400:  # it does not fit the context
                raise RolloutError("refused by the server")
            if answer.status != 200:
                raise SystemExit(f"the server answers the pool with {answer.status}: {found}")
        self.tokens += found["usage"]["completion_tokens"]
        return [(one["message"]["content"].strip(), one["finish_reason"]) for one in found["choices"]]


def lines(text: str) -> tuple[str, ...]:
    """Return a response as it is compared."""
    return (*text.strip().splitlines(),)


def grow_all(roots: Sequence[Attempt], workers: Sequence[Worker]) -> list[Tree]:
    """Return the trees of all roots, in order of the roots."""
    left: SimpleQueue[Attempt] = SimpleQueue()
    for root in roots:
        left.put(root)
    with ThreadPoolExecutor(len(workers)) as pool:
        works = [pool.submit(worker.work, left) for worker in workers]
        found = {tree.id: tree for work in works for tree in work.result()}
    return [found[root.id] for root in roots]
