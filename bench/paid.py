"""What is paid, and paid twice: STaR-GATE on the embedded world, its oracle and judge on a server that keeps books.

    python -m bench.paid kills [--times 50] [--seed 0]   SIGKILL while the oracle answers, rerun each time
    python -m bench.paid budget                          ever larger ceilings with 256 calls under way
    python -m bench.paid plan [key=value ...]            the estimate against the bill of the full run

The server is `python -m tests.serving`, a process of its own that outlives the kills. Prints one JSON line each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.servers import books, server
from sparring.budget import Account, Budget
from sparring.engines.base import Request
from sparring.engines.http import HTTP
from sparring.engines.kept import kept
from sparring.errors import BudgetReached, EngineError
from sparring.files import read_json, read_lines
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.types import Sampling, user
from sparring.worlds.concierge import experts

PRICES = "[test]\nprompt = 2.0\ncompletion = 10.0\n"
"""USD per million tokens of the test server's model."""


REPLY = "bench.paid:reply"


def reply(body: dict[str, Any], seed: int) -> str:
    """Speak for whichever expert of the world is asked."""
    request = Request(body["messages"], Sampling(seed=seed))
    for rule in (experts.oracle, experts.judge):
        try:
            return rule(request)
        except EngineError:
            continue
    raise ValueError(f"no expert is asked by {body['messages']}")


def usd(found: dict[str, Any]) -> float:
    """Return what the server would bill for what it has served whole."""
    return (2.0 * found["prompt_tokens"] + 10.0 * found["completion_tokens"]) / 1e6


@contextmanager
def home() -> Iterator[Path]:
    """Give the ledger a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "prices.toml").write_text(PRICES)
        os.environ["SPARRING_HOME"] = scratch
        yield Path(scratch)


def start(command: str, *arguments: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "sparring", command, "star-gate", "--json", *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kills(times: int, seed: int) -> dict[str, Any]:
    """Kill a run while its oracle answers, over and over, until the stage is done; then another, until it is enough."""
    rng, killed, per_second, made = random.Random(seed), 0, 4 / 0.05, list[Path]()
    with home() as folder, server(latency=0.05, reply=REPLY) as url:
        oracle = f"roles.oracle.engine={url}?concurrency=4#test"
        while killed < times:
            made.append(folder / f"run-{len(made)}")
            while True:
                with start("run", "--out", str(made[-1]), oracle, f"seed={len(made)}") as process:
                    if ended(process, "situations.jsonl"):
                        os.killpg(process.pid, signal.SIGKILL)
                        break
                    time.sleep(rng.uniform(0, 2 * 1380 / per_second / times))
                    # Every other kill takes the whole process group, as a power cut does.
                    (os.killpg if killed % 2 else os.kill)(process.pid, signal.SIGKILL)
                    killed += 1
        found = books(url)
        with Ledger() as ledger:
            names = [read_json(run / "run.json")["id"] for run in made]
            lost = sum(total.lost for name in names for total in ledger.totals(name))
            answers = Counter(row["key"] for row in ledger.export() if row["reply"])
        situations = sum(len(read_lines(run / "situations.jsonl")) for run in made)
    again = sum(times - 1 for times in found["seen"].values())
    return {
        "kills": killed,
        "runs": len(made),
        "situations": situations,
        "calls_seen": sum(found["seen"].values()),
        "seen_again": again,
        "in_flight_at_kills": lost,
        "seen_again_beyond_those_in_flight": max(0, again - lost),
        "answered_again": sum(answers.values()) - len(answers),
    }


def ended(process: subprocess.Popen[str], stage: str) -> bool:
    """Wait until a stage has begun; tell whether it is done already."""
    assert process.stdout
    for line in process.stdout:
        event = json.loads(line)
        if event.get("stage") == stage:
            return bool(event.get("ended"))
    raise SystemExit(f"the run ended before {stage}")


def long_reply(body: dict[str, Any], seed: int) -> str:
    """Say nearly as much as may be said, so that what is reserved is not far from what is spent."""
    return " ".join(["tea"] * random.Random(seed).randint(200, body["max_tokens"] - 2))


def budget() -> dict[str, Any]:
    """Run into ever larger ceilings, 256 calls under way, at a server that misbehaves; compare what it has billed."""
    over: list[float] = []
    most = 0
    with home(), server(latency=0.2, chaos=1.0, stall=5.0, reply="bench.paid:long_reply") as url, Ledger() as ledger:
        for ceiling in (2, 4, 6):
            account = Account(ledger, "budget", Budget.parse(f"{ceiling}usd"))
            role = Role(
                "oracle", kept(HTTP.from_name(f"{url}?deadline=3#test").open(), account), Sampling(1.0, 1.0, 256)
            )
            try:
                run((str(n), role.say([user(f"task {n}")])) for n in range(8_000))
            except BudgetReached:
                found = books(url)
                most = max(most, found["most_at_once"])
                over.append(usd(found) - ceiling)
    return {"pauses": len(over), "most_at_once": most, "usd_over_ceiling": over, "most_over": max(0.0, *over)}


def plan(overrides: list[str]) -> dict[str, Any]:
    """Compare the estimate with the bill, each with a ledger of its own."""
    with server(latency=0.02, reply=REPLY) as url:
        engines = [f"roles.{role}.engine={url}?concurrency=256#test" for role in ("oracle", "judge")]
        with home():
            estimated = last_event("plan", *engines, *overrides)
        before = usd(books(url))
        started = time.monotonic()
        with home() as folder:
            done = last_event("run", "--out", str(folder / "run"), *engines, *overrides)
        minutes = (time.monotonic() - started) / 60
        bill = usd(books(url)) - before
    roles: dict[str, float] = {}
    for line in estimated["lines"]:
        roles[line["role"]] = roles.get(line["role"], 0.0) + line["usd"]["value"]
    billed = {role: parts["billed_now"] for role, parts in done["billed"].items()}
    # What it would have cost had no call stood twice: answers of small models are often the same, and then free.
    all_paid = {role: usd(done["calls"][role]) for role in billed}
    return {
        "settings": overrides,
        "estimated_usd": estimated["usd"],
        "billed_usd": bill,
        "off_by": estimated["usd"]["value"] / bill - 1,
        "off_by_if_none_were_free": estimated["usd"]["value"] / sum(all_paid.values()) - 1,
        "off_by_role_if_none_were_free": {role: roles[role] / all_paid[role] - 1 for role in billed},
        "off_by_role": {role: roles[role] / parts["usd"] - 1 for role, parts in billed.items()},
        "calls_free": {role: 1 - parts["calls"] / done["calls"][role]["calls"] for role, parts in billed.items()},
        "minutes": [sum(band[part] for band in estimated["minutes"].values()) for part in ("low", "high")],
        "minutes_taken": minutes,
        "trial_usd": before,
    }


def last_event(command: str, *arguments: str) -> dict[str, Any]:
    """Run a command to its end and return the last event that it told."""
    with start(command, *arguments) as process:
        assert process.stdout
        return json.loads(process.stdout.read().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.paid", description=__doc__)
    parser.add_argument("what", choices=("kills", "budget", "plan"))
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, for plan")
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    match args.what:
        case "kills":
            found = kills(args.times, args.seed)
        case "budget":
            found = budget()
        case _:
            found = plan(args.overrides)
    print(json.dumps({"what": args.what, **found}))


if __name__ == "__main__":
    main()
