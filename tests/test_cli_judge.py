"""`sparring eval ENGINE --suite judge`: a judge's certificate over servers, on files and worlds, read or compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparring.cli.judge import Asked, certify_judge, show
from sparring.errors import DataError, SettingsError, UsageError
from sparring.evals.certificate import Bin, Certificate
from sparring.evals.statistics import Interval
from tests.serving import Server, serving


def labelled(path: Path, n: int = 40) -> Path:
    """Write pairs of a good and a bad response, in either of which the longer may be."""
    rows = [
        {
            "key": f"r{at}",
            "prompt": f"Ask {at // 2}.",
            "response": f"{'good' if at % 2 else 'bad'}{' word' * (20 if at % 4 in (0, 3) else 5)}",
            "label": at % 2 == 1,
        }
        for at in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reply(body: dict[str, Any], seed: int) -> str:
    """Judge rightly; of two, prefer the first. A model named `yes` says Yes, one named `long` prefers the longer."""
    said = body["messages"][-1]["content"]
    if "Answer A:" in said:
        a, b = re.findall(r"> ((?:good|bad).*)", said)
        prefers_a = len(a) > len(b) if body["model"] == "long" else True
        return f"Final Response: {'A' if prefers_a else 'B'}"
    response = re.findall(r"> (.*)", said)[-1]
    return f"Verdict: {'Yes' if body['model'] == 'yes' or response.startswith('good') else 'No'}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(reply=reply, model="fair") as found:
        yield found


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))
    labelled(tmp_path / "items.jsonl")


def asked(judge: str, *overrides: str, **given: Any) -> Asked:
    given = {"items": "items.jsonl", "n": None, "compares": False, "anchor": None, "require": []} | given
    return Asked.read(judge, overrides=overrides, **given)


def told(capsys: pytest.CaptureFixture[str], wanted: Asked, status: int = 0, out: Path | None = None) -> dict[str, Any]:
    assert certify_judge(wanted, out, None, as_json=True) == status
    return json.loads(capsys.readouterr().out)


def test_a_judge_that_is_right_gets_a_certificate(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = ["balanced_accuracy=0.65", "length_bias=0.1", "yes_bias=0.1"]
    found = told(capsys, asked(f"{server.url}#fair", require=bounds), out=Path("votes.jsonl"))
    assert (found["event"], found["n"], found["failed"]) == ("summary", 40, [])
    assert found["require"] == {"balanced_accuracy": 0.65, "length_bias": 0.1, "yes_bias": 0.1}
    assert found["metrics"]["balanced_accuracy"]["value"] == 1.0
    assert found["billed"]["judge"]["billed_now"]["calls"] == 200
    rows = [json.loads(line) for line in Path("votes.jsonl").read_text().splitlines()]
    assert len(rows) == 40 and all(len(row["votes"]) == 5 and row["value"] == row["label"] for row in rows)


def test_a_judge_that_always_says_yes_fails_and_the_status_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(reply=reply, model="yes") as server:
        found = told(capsys, asked(f"{server.url}#yes", "votes=1", "quorum=1", require=["yes_bias=0.1"]), status=1)
    assert found["failed"] == [
        "yes_bias is 0.500 (95 % interval 0.350 to 0.650, n = 40), and must be between -0.1 and 0.1"
    ]
    assert found["metrics"]["accuracy_bad"]["value"] == 0.0


def test_a_judge_is_held_beside_an_anchor(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(reply=reply, model="yes") as other:
        found = told(capsys, asked(f"{other.url}#yes", anchor=f"{server.url}#fair"))
    assert (found["metrics"]["drift"]["value"], found["metrics"]["drift_yes"]["value"]) == (-0.5, 0.5)


@pytest.mark.parametrize(
    ("model", "biased", "fair"), [("first", "position_bias", "length_bias"), ("long", "length_bias", "position_bias")]
)
def test_a_judge_that_compares_is_asked_in_both_orders(
    capsys: pytest.CaptureFixture[str], model: str, biased: str, fair: str
) -> None:
    bounds = ["position_bias=0.1", "length_bias=0.1"]
    with serving(reply=reply, model=model) as server:
        wanted = asked(f"{server.url}#{model}", "votes=2", "quorum=1", compares=True, require=bounds)
        found = told(capsys, wanted, status=1, out=Path("votes.jsonl"))
    assert found["n"] == 20 and found["calibration"] == []
    assert (found["metrics"][biased]["value"], found["metrics"][fair]["value"]) == (1.0, 0.0)
    assert [reason.split()[0] for reason in found["failed"]] == [biased]
    rows = [json.loads(line) for line in Path("votes.jsonl").read_text().splitlines()]
    assert {(len(row["good_first"]), len(row["bad_first"])) for row in rows} == {(2, 2)}
    assert "Nothing is known of them." in server.bodies[0]["messages"][-1]["content"]


def test_fewer_items_may_be_drawn_and_votes_are_not_asked_twice(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told(capsys, asked(f"{server.url}#fair", n=10))
    posts = server.posts
    assert first["n"] == 10 and posts
    assert told(capsys, asked(f"{server.url}#fair", n=10))["metrics"] == first["metrics"]
    assert server.posts == posts


def test_where_no_vote_can_be_read_the_command_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(reply=lambda body, seed: "Hm.") as server:
        found = told(capsys, asked(f"{server.url}#test"), status=1)
    assert found["metrics"]["unreadable"]["value"] == 1.0 and found["metrics"]["balanced_accuracy"] is None


def test_the_judge_of_a_world_is_certified_by_its_own_checks(capsys: pytest.CaptureFixture[str]) -> None:
    teacher = "world:instructions/teacher"
    found = told(capsys, asked(teacher, items="world:instructions", n=40, require=["accuracy_bad=0.9"]))
    assert found["n"] == 40 and found["billed"] == {}


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        ((), {"items": None}, "--suite judge takes labelled responses: --items world:instructions"),
        (("search.branch=2",), {}, "search has no part in a certificate; what has is judging, votes"),
        ((), {"require": ["balanced=0.6"]}, "a certificate has no 'balanced'; did you mean 'balanced_accuracy'?"),
        ((), {"require": ["accuracy"]}, "--require 'accuracy': write NAME=BOUND"),
        ((), {"anchor": "world:instructions/policy"}, "has words for judging one response of --items"),
        ((), {"items": "world:concierge"}, "a world for star-gate, not for spar"),
        (("votes=0",), {}, "votes = 0"),
    ],
)
def test_wrong_usage_is_refused_at_the_door(overrides: tuple[str, ...], given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        asked("http://127.0.0.1:9/v1#m", *overrides, **given)


def test_files_that_cannot_certify_a_judge_are_refused(server: Server) -> None:
    Path("good.jsonl").write_text('{"prompt": "Ask.", "response": "x", "label": true}\n')
    Path("apart.jsonl").write_text(
        '{"prompt": "Ask.", "response": "x", "label": true}\n{"prompt": "Other.", "response": "y", "label": false}\n'
    )
    judge = f"{server.url}#fair"
    with pytest.raises(DataError, match="1 responses, not good ones and bad ones"):
        certify_judge(asked(judge, items="good.jsonl"), None, None, True)
    with pytest.raises(DataError, match="no prompt has a good response and a bad one"):
        certify_judge(asked(judge, items="apart.jsonl", compares=True), None, None, True)
    with pytest.raises(DataError, match=r"--out items\.jsonl is a folder, or the responses"):
        certify_judge(asked(judge), Path("items.jsonl"), None, True)
    Path("judge.md").write_text("{task} {a}")
    with pytest.raises(SettingsError, match=re.escape("judge.md has no {b}")):
        certify_judge(asked(judge, "prompts=.", compares=True), None, None, True)
    assert server.posts == 0


def test_a_terminal_is_shown_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    bias = Interval(0.5, 0.35, 0.65, 40)
    found = Certificate({"yes_bias": bias, "agreement": None}, 40, (Bin(0.9, 1.0, 1.0, 0.5, 40),))
    wanted = asked("http://127.0.0.1:9/v1#m", require=["yes_bias=0.1"])
    show(Console(width=120), wanted, found, found.passes(wanted.require), Path("votes.jsonl"))
    shown = capsys.readouterr().out
    assert "Certificate of a judge on 40 labelled responses" in shown
    assert re.search(r"yes bias +50\.0 +35\.0 to 65\.0 +40 +10 *\n", shown) and re.search(r"agreement +- *\n", shown)
    assert "share of Yes 0.9 to 1.0: 40 responses, 50% follow" in shown
    assert "not as required: yes_bias is 0.500" in shown and "votes.jsonl holds every vote." in shown
