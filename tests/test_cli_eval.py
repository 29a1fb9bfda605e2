"""`sparring eval`: what an actor follows, at once and with search, over servers, on files and worlds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparring.cli.eval import SHARES, show
from sparring.evals.search_curve import Metrics
from sparring.evals.statistics import Interval
from sparring.rollouts.tree import BEGIN, END
from tests.command import Command, refused
from tests.serving import Server, serving

NO_COMMA, ENDS = "punctuation:no_comma", "startend:end_checker"


def ifeval(path: Path, n: int = 6) -> Path:
    """Write prompts of which every other is followed at once: those with an odd key have no comma in their answer."""
    rows = [
        {
            "key": key,
            "prompt": f"Tell me about {'tea' if key % 2 else 'cake'}, number {key}, without commas.",
            "instruction_id_list": [NO_COMMA, ENDS],
            "kwargs": [{}, {"end_phrase": "done."}],
        }
        for key in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reply(body: dict[str, Any], seed: int) -> str:
    """Answer, judge and refine: cake is answered with a comma, which is found and taken out."""
    said = [message["content"] for message in body["messages"]]
    if len(said) == 1 and said[0].startswith("Tell me"):
        return "It is hot. done." if "tea" in said[0] else "It is sweet, I think. done."
    judged = re.findall("> (It is .*)", said[0])[-1]
    if len(said) == 1:
        return f"There is {'a' if ',' in judged else 'no'} comma.\nVerdict: {'No' if ',' in judged else 'Yes'}"
    return f"The comma goes.\n{BEGIN}\n{judged.replace(',', '')}\n{END}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(reply=reply) as found:
        yield found


@pytest.fixture
def evaluate(sparring: Command, server: Server, tmp_path: Path) -> Command:
    """`sparring eval` of that server on a file of six prompts."""
    suite, model = ifeval(tmp_path / "ifeval.jsonl"), f"{server.url}#test"

    def run(*arguments: str) -> Any:
        return sparring("eval", model, "--refiner", model, "--suite", str(suite), *arguments)

    return run


def test_four_shares_are_told_at_once_and_with_search(evaluate: Command, server: Server, tmp_path: Path) -> None:
    ended = evaluate("--json", "--out", "answers.jsonl")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert (told["event"], told["prompts"], told["failed"], told["out"]) == ("summary", 6, {}, "answers.jsonl")
    shares = {
        way: [found[f"{unit}_{how}"]["value"] for how in ("strict", "loose") for unit in ("prompt", "instruction")]
        for way, found in told["ways"].items()
    }
    assert shares == {"greedy": [0.5, 0.75, 0.5, 0.75], "search": [1.0] * 4}
    search = told["ways"]["search"]
    assert (search["over_greedy"]["value"], search["generated"]["value"]) == (0.5, 2.5)
    assert told["ways"]["greedy"]["over_greedy"] is None
    assert told["billed"]["judge"]["billed_now"]["calls"] > 0
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert {row["response"] for row in rows if row["way"] == "search"} == {
        "It is hot. done.",
        "It is sweet I think. done.",
    }
    assert json.loads(ended.err.splitlines()[-1]) == {"event": "eval", "done": 6, "of": 6}


def test_what_was_paid_for_is_not_asked_again(evaluate: Command, server: Server) -> None:
    first = json.loads(evaluate("--json").out)
    posts = server.posts
    second = json.loads(evaluate("--json", "--out", "answers.jsonl").out)
    assert server.posts == posts and second["ways"] == first["ways"]


def test_settings_are_spars_and_change_the_search(evaluate: Command, server: Server) -> None:
    told = json.loads(evaluate("--json", "search.branch=1", "search.order=dfs", "votes=3", "quorum=2").out)
    search = told["ways"]["search"]
    assert (search["generated"]["value"], search["votes"]["value"]) == (1.5, 4.5)
    assert {body.get("temperature") for body in server.bodies} == {0.0, 0.7}


def test_the_curve_has_every_way_at_every_budget(evaluate: Command) -> None:
    told = json.loads(evaluate("--json", "--curve", "--n", "4").out)
    ways = [f"{way}_{n}" for way in ("best_of", "bfs", "dfs", "iterative") for n in (2, 4, 8, 16)]
    assert list(told["ways"]) == ["greedy", "search", *ways]
    assert told["prompts"] == 4 and told["ways"]["bfs_2"]["prompt_strict"]["value"] == 1.0
    assert told["ways"]["best_of_16"]["over_greedy"]["value"] == 0.0  # every answer has the comma


def test_a_budget_pauses_it(evaluate: Command) -> None:
    refused(evaluate("--budget", "3calls"), "budget", status=3)


def test_where_no_answer_is_had_the_command_fails_and_says_why(sparring: Command, tmp_path: Path) -> None:
    suite = ifeval(tmp_path / "ifeval.jsonl")
    with serving(reply=reply, finish="length") as server:
        model = f"{server.url}#test"
        ended = sparring("eval", model, "--refiner", model, "--suite", str(suite), "--json")
    told = json.loads(ended.out)
    assert ended.status == 1
    assert told["failed"] == {way: {"policy cut off at max_tokens": 6} for way in ("greedy", "search")}
    assert told["ways"]["greedy"]["prompt_strict"]["value"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("search.order=sideways",), "search.order = 'sideways'"),
        (("search.brnch=3",), "did you mean 'search.branch'?"),
        (("search.threshold=1.5",), "search.threshold = 1.5"),
        (("rounds=3",), "rounds has no part in an evaluation; what has is attempts, judging"),
        (("--suite", "none.jsonl"), "none.jsonl: no such file"),
        (("--suite", "bare.jsonl"), "bare.jsonl: no prompt has instructions"),
        (("--suite", "world:concierge"), "a world for star-gate, not for spar"),
        (("--suite", "world:nowhere"), "no world 'nowhere'"),
        (("--refiner", "world:instructions/policy"), "has words for --suite world:instructions alone"),
        (("--refiner", "gpt2"), "unknown engine 'gpt2'"),
        (("--out", "ifeval.jsonl"), "--out ifeval.jsonl is a folder, or the prompts"),
        (("--out", "."), "--out . is a folder"),
        (("prompts=empty",), "prompts: no file judge.md in empty"),
    ],
)
def test_wrong_usage_is_one_message(
    evaluate: Command, server: Server, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bare.jsonl").write_text('{"prompt": "Say something."}\n')
    refused(evaluate(*arguments), message)
    assert server.posts == 0


def test_a_terminal_is_shown_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    share, mean = Interval(0.5, 0.25, 0.75, 6), Interval(2.5, 1.0, 4.0, 6)
    shares: Metrics = dict.fromkeys(SHARES, share)
    found: dict[str, Metrics] = {
        way: {**shares, "generated": mean, "votes": mean, "over_greedy": gain}
        for way, gain in (("greedy", None), ("bfs_8", share))
    }
    show(Console(width=160), found, {"bfs_8": {"root could not be judged": 2}}, Path("answers.jsonl"))
    shown = capsys.readouterr().out
    assert "What is followed of 6 prompts" in shown and "50.0 (25.0..75.0)" in shown
    assert re.search(r"bfs 8 .* 2\.5 +2\.5", shown)
    assert "bfs_8: 2 x root could not be judged" in shown and "answers.jsonl holds every answer." in shown


def test_a_world_brings_its_prompts_its_checks_and_its_settings(sparring: Command, tmp_path: Path) -> None:
    teacher = "world:instructions/teacher"
    ended = sparring("eval", teacher, "--refiner", teacher, "--suite", "world:instructions", "--n", "40", "--json")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["prompts"] == 40 and told["billed"] == {}
    assert told["ways"]["search"]["over_greedy"]["low"] >= 0


# `--suite judge` (append to tests/test_cli_eval.py once cli_init.patch is in)


def labelled(path: Path) -> Path:
    rows = [{"prompt": f"Ask {at}.", "response": "good" if at % 2 else "bad", "label": at % 2 == 1} for at in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_judge_is_certified_and_one_that_is_not_as_required_fails(sparring: Command, tmp_path: Path) -> None:
    labelled(tmp_path / "items.jsonl")
    with serving(reply=lambda body, seed: "Verdict: Yes") as server:
        command = ("eval", f"{server.url}#test", "--suite", "judge", "--items", "items.jsonl", "--json")
        fine = sparring(*command, "votes=3", "quorum=2")
        failed = sparring(*command, "votes=3", "quorum=2", "--require", "balanced_accuracy=0.65")
    assert (fine.status, failed.status) == (0, 1), fine.err + failed.err
    assert json.loads(fine.out)["metrics"]["yes_bias"]["value"] == 0.5
    assert json.loads(failed.out)["failed"][0].startswith("balanced_accuracy is 0.500")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--suite", "judge"), "--suite judge takes labelled responses: --items"),
        (("--suite", "judge", "--items", "items.jsonl", "--curve"), "no part for --refiner or --curve"),
        (("--suite", "judge", "--items", "items.jsonl", "--require", "x=1"), "a certificate has no 'x'"),
        (("--suite", "ifeval.jsonl"), "--refiner is missing"),
        (("--suite", "ifeval.jsonl", "--refiner", "world:x/y", "--compare"), "are of --suite judge; leave them out"),
    ],
)
def test_what_is_of_a_judge_and_what_of_an_actor_is_told_apart(
    sparring: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    labelled(tmp_path / "items.jsonl")
    refused(sparring("eval", "http://127.0.0.1:9/v1#m", *arguments), message)
