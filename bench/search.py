"""Tree search beside the published way of running it, on one server with one model: how long 500 trees take.

    python -m bench.search --server vllm --model DIR [--trees 500] [--times 3]    a real `vllm serve` on the CPU
    python -m bench.search --server stub [--latency 0.2] [--concurrency 4096]     replies after a fixed time, any number
    python -m bench.search --server http://HOST:8000/v1#MODEL                     one that runs already, with this model

The other side is `bench.pool`: 32 workers, each with one tree and one blocking request at a time. All ways begin with
the same failed answers, judged before, and have the same prompts, sampling, tree shape (3/2/3) and server:

    sparring         `rollouts.tree.search` under `flow.run`
    sparring, early  the same, with no more votes than the majority needs
    pool             grows the very trees of `sparring` (same seeds), one request after the other: scheduling alone
    pool, published  as published: what is in the tree already, or changes nothing, is judged as well

Each repeat has seeds of its own, and no way sees what another left in the server's cache. Ratios are of the pool's
figure to ours for seconds, of ours to the pool's for rates; the median over repeats counts. On two cores a real model
is bound by its processor, the stub by latency: say which when you quote one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.pool import Job, Worker, grow_all
from bench.search_figures import EARLY, OURS, POOL, WAYS, Took, medians, pairs_of, ratios, table
from bench.servers import server as stub_server
from bench.table import Figure
from sparring.engines.http import HTTP, Turn
from sparring.flow import Flow, Role, run
from sparring.rollouts.pairs import Attempt, attempt, failed, judged
from sparring.rollouts.tree import Refiner, Search, Tree, search
from sparring.signals.judge import Judgement, Panel, Vote
from sparring.types import Sampling
from sparring.worlds import instructions
from sparring.worlds.instructions.suite import suite

WORKERS = 32
FIGURES = (
    Figure(
        "tree search: replies take 100 ms",
        "search_trees_per_s",
        "trees/s",
        against=f"pool of {WORKERS}, one request at a time each",
        peer="search_pool_trees_per_s",
        ratio="search_ratio",
        asked=5,
        aim=10,
    ),
    Figure("tree search: share of the trees that are the pool's own", "search_same_trees", asked=1, of="ours"),
)
ANSWERING = Sampling(temperature=0.9, top_p=0.9, max_tokens=64)
SAMPLING = Sampling(temperature=0.7, max_tokens=64)
"""Of judge and refiner."""


class Counting(HTTP):
    """The engine, counting what it sent and what was generated."""

    posts = 0
    tokens = 0

    async def _call(self, path: str, body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        self.posts += 1
        reply = await super()._call(path, body, turn)
        self.tokens += reply["usage"]["completion_tokens"]
        return reply


@dataclass(frozen=True)
class Place:
    """Where the model is served, and how many of our calls it is sent at once."""

    url: str
    model: str
    concurrency: int = 256


# The ways


def grown(way: str, place: Place, roots: Sequence[Attempt], seed: int) -> Took:
    """Grow the trees of all roots in a way."""
    sampling, extra = replace(SAMPLING, seed=seed), {"cache_salt": f"{way} {seed}"}
    with engine_at(place, extra) as engine:
        job = job_of(engine, sampling, way == EARLY)
        start = time.perf_counter()
        if way in (OURS, EARLY):
            flows = (
                (root.id, search(root.id, root.prompt, root.response, job.refiner, job.judge, job.how, root.judgement))
                for root in roots
            )
            trees = [tree for tree in run(flows) if isinstance(tree, Tree)]
            counts = engine.posts, engine.tokens
        else:
            workers = [Worker(place.url, place.model, job, way == POOL, extra) for _ in range(WORKERS)]
            trees = grow_all(roots, workers)
            counts = sum(worker.posts for worker in workers), sum(worker.tokens for worker in workers)
        seconds = time.perf_counter() - start
    assert len(trees) == len(roots), f"{len(roots) - len(trees)} of {len(roots)} searches failed"
    return Took(seconds, trees, *counts)


@contextmanager
def engine_at(place: Place, extra: Mapping[str, Any]) -> Generator[Counting]:
    engine = Counting([place.url], place.model, concurrency=place.concurrency, extra=extra).open()
    try:
        yield engine
    finally:
        engine.close()


def job_of(engine: HTTP, sampling: Sampling, stop_early: bool = False) -> Job:
    """Return the world's own judge and refiner, at one engine."""
    panel = Panel(Role("judge", engine, sampling), instructions.prompt("judge"), stop_early=stop_early)
    return Job(panel, Refiner(Role("refiner", engine, sampling), instructions.prompt("refine")), Search())


# What trees begin with


def failed_answers(place: Place, trees: int) -> list[Attempt]:
    """Return so many of the model's own answers that its own votes call wrong, each to another prompt."""
    asked = suite().draw("train", 2 * trees, 0)
    with engine_at(place, {}) as engine:
        actor, judge = Role("policy", engine, ANSWERING), job_of(engine, SAMPLING).judge

        def tried(id: str, prompt: str) -> Flow[Attempt]:
            made = yield from attempt(id, prompt, 0, actor)
            return (yield from judged(made, judge))

        made = run((one.id, tried(one.id, one.prompt)) for one in asked)
    roots = failed([one for one in made if isinstance(one, Attempt)], 0)
    if len(roots) < trees:
        raise SystemExit(f"of {len(asked)} answers {len(roots)} failed, fewer than --trees {trees}")
    return roots[:trees]


def made_up(trees: int) -> list[Attempt]:
    """Return failed answers for the stub."""
    verdict = Judgement.of([Vote("I looked at it.\nVerdict: No", False)] * 5, 3)
    asked = suite().draw("train", trees, 0)
    return [Attempt(one.id, one.prompt, 0, f"bad {at}", verdict) for at, one in enumerate(asked)]


# Servers


@contextmanager
def stubbed(latency: float, concurrency: int) -> Generator[Place]:
    """A server of no model, in a process of its own: every reply takes as long, however many are under way."""
    with stub_server(reply="bench.stub:reply", latency=latency) as url:
        yield Place(url, "test", concurrency)


@contextmanager
def served(model: Path, concurrency: int, at_once: int) -> Generator[Place]:
    """A `vllm serve` on one thread of the CPU; `at_once`: sequences in its batches."""
    from bench.vllm import SERVING
    from sparring.engines.vllm import Server

    arguments = (*SERVING.arguments, "--max-num-seqs", str(at_once))
    server = Server(str(model), replace(SERVING, arguments=arguments))
    try:
        yield Place(server.url, server.name, concurrency)
    finally:
        server.close()


# The measurement


def repeats(
    place: Place, roots: Sequence[Attempt], ways: Sequence[str], times: int, tell: Callable[[str], None]
) -> list[dict[str, Took]]:
    """Grow all trees in every way, `times` times; who begins changes. A few trees in each way warm up."""
    for way in ways:
        grown(way, place, roots[:WORKERS], -1)
    found: list[dict[str, Took]] = []
    for n in range(times):
        at = n % len(ways)
        took = {way: grown(way, place, roots, n) for way in (*ways[at:], *ways[:at])}
        found.append({way: took[way] for way in ways})
        tell(f"repeat {n + 1} of {times}: " + ", ".join(f"{way} {took[way].seconds:.1f} s" for way in ways))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", required=True, metavar="vllm|stub|URL#MODEL")
    parser.add_argument("--model", type=Path, default=instructions.MODEL, help="folder, for vllm")
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--concurrency", type=int, help="our calls at once; default: 256 for vllm, 4096 for stub")
    parser.add_argument("--at-once", type=int, default=256, help="sequences in a batch of vllm (its --max-num-seqs)")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds of every reply of the stub")
    args = parser.parse_args()

    def measured(place: Place, roots: Sequence[Attempt]) -> list[dict[str, Took]]:
        return repeats(place, roots, args.ways, args.times, lambda said: print(said, flush=True))

    if args.server == "stub":
        with stubbed(args.latency, args.concurrency or 4096) as place:
            found = measured(place, made_up(args.trees))
        name = f"stub, {args.latency} s a reply, no limit: bound by latency"
    elif args.server != "vllm":
        url, _, model = args.server.partition("#")
        place = Place(url, model, args.concurrency or 256)
        found, name = measured(place, failed_answers(place, args.trees)), args.server
    else:
        with served(args.model, args.concurrency or 256, args.at_once) as place:
            found = measured(place, failed_answers(place, args.trees))
        name = f"vLLM on the CPU, one thread, {args.model}: bound by its processor"
    print(f"\n{name}; {args.trees} trees, pool of {WORKERS}\n")
    for line in table(found):
        print(line)
    said = {f"{a} : {b}": ratios(found, a, b) for a, b in pairs_of(found[0])}
    print(json.dumps({"server": name, "trees": args.trees, "medians": medians(found), "ratios": said}))


def measure(quick: bool) -> dict[str, float]:
    """The latency-bound case alone, small."""
    trees = 64 if quick else 256
    with stubbed(0.1, 4096) as place:
        found = repeats(place, made_up(trees), (OURS, POOL), 1 if quick else 3, lambda _: None)
    figures, ratio = medians(found), ratios(found, OURS, POOL)
    return {
        "search_trees_per_s": trees / figures[OURS]["seconds"],
        "search_pool_trees_per_s": trees / figures[POOL]["seconds"],
        "search_ratio": ratio["seconds"],
        "search_same_trees": ratio["same_trees"],
    }


if __name__ == "__main__":
    main()
