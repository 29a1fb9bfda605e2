"""Votes stopped as soon as the majority is decided: verdicts that differ from those of all five, and votes saved.

    python -m bench.votes [--model DIR] [--judged 400]    the world's judge, on its own answers and on labelled verses
    python -m bench.votes --runs RUN ...                  all judgements of finished runs of SPaR, each vote as it fell

With a model both ways are asked in turn, one process, one thread. What counts as changed is the majority (Yes, No, tie
or too few readable votes) or the critique that is refined by.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.table import Figure
from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.engines.scripted import Scripted
from sparring.files import read_lines
from sparring.flow import Role, Tally, run
from sparring.signals.judge import Judgement, Panel
from sparring.types import Completion, Sampling, user
from sparring.worlds import instructions
from sparring.worlds.instructions.suite import suite

JUDGING = Sampling(temperature=0.7, max_tokens=64)
ANSWERING = Sampling(temperature=0.9, top_p=0.9, max_tokens=64)
FIGURES = (
    Figure(
        "votes that stop: judgements",
        "votes_per_s",
        "a second",
        against="all five votes",
        peer="votes_all_per_s",
        ratio="votes_seconds_ratio",
    ),
    Figure("votes that stop: share saved", "votes_saved", asked=0, aim=1 / 3, of="ours"),
    Figure("votes that stop: verdicts changed", "votes_verdicts_changed", asked=0, of="ours", at_most=True),
    Figure("votes that stop: critiques changed", "votes_critiques_changed", asked=0, of="ours", at_most=True),
)
Said = tuple[str, str]
"""A prompt and a response to it."""


def compared(all_votes: Sequence[Judgement], stopped: Sequence[Judgement]) -> dict[str, float]:
    """Return what stopping changed, and the share of votes that it saved."""
    pairs = list(zip(all_votes, stopped, strict=True))
    cast, asked = (sum(len(one.votes) for one in those) for those in (all_votes, stopped))
    return {
        "votes_judged": len(pairs),
        "votes_verdicts_changed": sum(a.majority is not b.majority for a, b in pairs),
        "votes_critiques_changed": sum(a.majority is not None and a.critique != b.critique for a, b in pairs),
        "votes_all": cast,
        "votes_stopped": asked,
        "votes_saved": 1 - asked / cast,
    }


def replayed(judgements: Sequence[Judgement], votes: int = 5, quorum: int = 3) -> dict[str, float]:
    """Stop the very votes of judgements that have them all."""
    panel = Panel(Role("judge", Scripted(lambda _: "")), "{prompt}{response}", votes, quorum)
    said = [(str(at), "") for at in range(len(judgements))]
    cast = {panel.chat(*one)[0]["content"]: judged.votes for one, judged in zip(said, judgements, strict=True)}

    def again(request: Request) -> Completion:
        vote = cast[request.chat[0]["content"]][request.sample_index]
        return Completion(vote.text, "length" if vote.reason else "stop")

    panel = replace(panel, role=Role("judge", Scripted(again)))
    return compared(*(everything(replace(panel, stop_early=stops), said)[0] for stops in (False, True)))


def everything(judge: Panel, said: Sequence[Said]) -> tuple[list[Judgement], dict[str, float]]:
    """Judge everything; return the judgements, and how long that took, in seconds and generated tokens."""
    tally, start = Tally(), time.perf_counter()
    found = run(((str(at), judge(*one)) for at, one in enumerate(said)), tally=tally)
    seconds = time.perf_counter() - start
    judgements = [one for one in found if isinstance(one, Judgement)]
    assert len(judgements) == len(said)
    return judgements, {"seconds": seconds, "tokens": tally.counts["judge"]["completion_tokens"]}


def to_judge(engine: HF, n: int) -> list[Said]:
    """Return answers of the model itself to half as many held-out prompts, and as many labelled verses."""
    asked = suite().draw("test", n // 2, 0)
    replies = engine.generate([Request([user(one.prompt)], ANSWERING) for one in asked])
    own = [(one.prompt, reply.text) for one, reply in zip(asked, replies, strict=True) if isinstance(reply, Completion)]
    draw = suite().judged
    assert draw
    return [*own, *((one.prompt, one.response) for one in draw(n - len(own), 0))]


def asked(model: Path, n: int, times: int = 1) -> dict[str, float]:
    """Have a model judge, with all votes and with votes that stop, `times` in turn."""
    engine = HF(model, device="cpu")
    said, role = to_judge(engine, n), Role("judge", engine, JUDGING)
    panels = [Panel(role, instructions.prompt("judge"), stop_early=stops) for stops in (False, True)]
    pairs = [[everything(panel, said) for panel in panels] for _ in range(times)]
    (whole, _), (stopped, _) = pairs[0]
    times_of = [(every["seconds"], fewer["seconds"]) for (_, every), (_, fewer) in pairs]
    return {
        **compared(whole, stopped),
        "votes_replayed_verdicts_changed": replayed(whole)["votes_verdicts_changed"],
        "votes_per_s": statistics.median(n / fewer for _, fewer in times_of),
        "votes_all_per_s": statistics.median(n / every for every, _ in times_of),
        "votes_seconds_ratio": statistics.median(every / fewer for every, fewer in times_of),
        "votes_tokens_ratio": pairs[0][0][1]["tokens"] / pairs[0][1][1]["tokens"],
    }


def of_runs(folders: Sequence[Path]) -> dict[str, float]:
    """Stop the votes of all judgements of answers and of held-out texts in runs."""
    lines = [
        row.get("judgement") or row
        for folder in folders
        for name in ("judgements.jsonl", "test-judgements.jsonl")
        for path in sorted(folder.glob(f"round-*/{name}"))
        for row in read_lines(path)
    ]
    if not lines:
        raise SystemExit(f"no judgements in {', '.join(map(str, folders))}")
    return replayed([Judgement.from_row(line) for line in lines])


def measure(quick: bool) -> dict[str, float]:
    return asked(instructions.MODEL, *((100, 1) if quick else (400, 3)))


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.votes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=instructions.MODEL)
    parser.add_argument("--judged", type=int, default=400)
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs with stop_early=false")
    args = parser.parse_args()
    print(json.dumps(of_runs(args.runs) if args.runs else asked(args.model, args.judged)))


if __name__ == "__main__":
    main()
