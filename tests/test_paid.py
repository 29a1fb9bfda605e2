"""A run whose strong roles are paid for: nothing is billed twice, nothing is lost, the ceiling holds."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from sparring.files import read_lines
from sparring.ledger import Ledger
from sparring.prices import price_table
from sparring.worlds import concierge
from tests.command import Command, Ended, refused, start
from tests.serving import Server, serving

SMALL = (
    "personas=[2, 1, 1]",
    "samples=2",
    "test_samples=1",
    "rounds=1",
    "training.epochs=1",
    "elicit=always",
    "max_failed=1",
)


def reply(body: dict, seed: int) -> str:
    from bench.paid import reply

    return reply(body, seed)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "prices.toml").write_text("[test]\nprompt = 2.0\ncompletion = 10.0\n")
    monkeypatch.setenv("SPARRING_HOME", str(folder))
    price_table.cache_clear()
    return folder


@pytest.fixture
def server():
    with serving(reply=reply) as found:
        yield found


OF_WORLD = ("tasks=world:concierge", "prompts=world:concierge")
PLAYED = ("--config", str(concierge.HERE / "star-gate.toml"), f"policy=hf:{concierge.MODEL}", *OF_WORLD, *SMALL)


def oracle(server: Server) -> str:
    return f"roles.oracle.engine={server.url}#test"


def small(sparring: Command, server: Server, *arguments: str) -> Ended:
    return sparring("run", "star-gate", *PLAYED, oracle(server), *arguments)


def test_the_budget_pauses_a_run_and_a_larger_one_goes_on_without_paying_twice(
    sparring: Command, server: Server, home: Path, tmp_path: Path
) -> None:
    paused = small(sparring, server, "--budget", "100calls")
    refused(paused, "the budget of 100 calls is reached", "The same command with a larger --budget goes on", status=3)
    assert sum(server.books()["billed"].values()) == 100
    # The way to a server may change while a run goes on, who answers may not.
    again = small(sparring, server, "--budget", "100calls", f"roles.oracle.engine={server.url}?concurrency=8#test")
    refused(again, "100 calls", status=3)
    refused(small(sparring, server, f"roles.oracle.engine={server.url}#other"), "inputs.engines.oracle")
    # The price is known, so money can be a ceiling too: the next call alone would not fit.
    refused(small(sparring, server, "--budget", "0.000001usd"), "the budget of 0.000001 usd is reached", status=3)
    done = small(sparring, server, "--json")
    assert done.status == 0, done.err
    billed = server.books()["billed"]
    assert set(billed.values()) == {1}
    summary = json.loads(done.out.splitlines()[-1])
    parts = summary["billed"]["oracle"]
    assert parts["billed_earlier"]["calls"] == 100
    assert parts["billed_earlier"]["calls"] + parts["billed_now"]["calls"] == sum(billed.values())
    assert parts["lost"]["calls"] == 0
    # Another run with the same oracle reads the ledger.
    other = small(sparring, server, "--out", "other", "samples=1", "--json")
    assert other.status == 0, other.err
    assert set(server.books()["billed"].values()) == {1}
    assert read_lines(tmp_path / "other/situations.jsonl") == read_lines(tmp_path / "runs/star-gate/situations.jsonl")


def test_a_server_that_turns_us_away_in_the_middle_ends_the_run_and_keeps_what_was_answered(
    sparring: Command, server: Server, home: Path
) -> None:
    server.manners.latency = 0.01

    def turning(body: dict, seed: int) -> str:
        if sum(server.books()["billed"].values()) >= 20:
            server.manners.key = "another"
        return reply(body, seed)

    server.manners.reply = turning
    ended = small(sparring, server)
    assert ended.status in (1, 2) and "401" in ended.err and "Traceback" not in ended.err
    served = sum(server.books()["billed"].values())
    with Ledger() as ledger:
        answered = [row for row in ledger.export() if row["reply"]]
    assert len(answered) == served >= 20


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_lets_what_is_under_way_land_and_sends_nothing_more(
    server: Server, home: Path, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    server.manners.latency = 0.5
    with start(tmp_path, "run", "star-gate", *PLAYED, f"roles.oracle.engine={server.url}?concurrency=8#test") as run:
        while server.books()["posts"] < 20:
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        run.send_signal(sent)
        _, err = run.communicate(timeout=60)
    assert run.returncode == status
    assert "waiting for" in err and "Traceback" not in err
    books = server.books()
    assert books["posts"] <= 32 and not books["late"]
    with Ledger() as ledger:
        rows = list(ledger.export())
    assert sum(row["reply"] is not None for row in rows) == len(books["billed"]) == len(books["seen"])


@pytest.mark.parametrize(
    ("manners", "parts"),
    [
        ({"mode": "html"}, ["HTML", "/v1"]),
        ({"key": "secret"}, ["401"]),
        ({"model": "other"}, ["'test'", "other"]),
    ],
)
def test_a_server_that_is_no_help_is_known_at_the_door(
    sparring: Command, server: Server, home: Path, manners: dict[str, str], parts: list[str]
) -> None:
    for name, value in manners.items():
        setattr(server.manners, name, value)
    refused(small(sparring, server), *parts)


def test_a_server_cannot_be_the_policy_unless_it_can_be_trained(sparring: Command, server: Server, home: Path) -> None:
    refused(sparring("run", "star-gate", f"policy={server.url}#test"), "cannot be trained here", "vllm:ID")
    refused(sparring("run", "star-gate", "policy=vllm:model"), "training.lora must be set")


def test_a_ledger_that_cannot_be_used_is_known_before_a_call(sparring: Command, server: Server, home: Path) -> None:
    (home / "ledger.sqlite").write_text("not a database at all, only words")
    refused(small(sparring, server), "is not a ledger")
    assert server.books()["posts"] == 0
    assert (home / "ledger.sqlite").read_text() == "not a database at all, only words"


def test_a_budget_in_money_needs_a_price(sparring: Command, server: Server, home: Path) -> None:
    (home / "prices.toml").write_text("")
    price_table.cache_clear()
    refused(small(sparring, server, "--budget", "1usd"), "no price is known", "prices.toml")
    refused(small(sparring, server, "--budget", "1eur"), "'1eur'", "20usd")
