"""`sparring score`: exact log-probs of a file, resumable, and never asked for twice."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sparring import cli
from sparring import score as scoring
from sparring.engines.hf import HF
from sparring.engines.scripted import Scripted
from sparring.errors import DataError, EngineError, RolloutError, RunError, ServerError
from sparring.score import Scored, Text, default_out, identity_of, read_texts, score
from sparring.types import Chat, assistant, system, user
from tests.serving import serving
from tests.tiny import tiny_model

ROWS = [
    {"prompt": "hello", "target": "what do you like ?"},
    {"messages": [system("you are helpful ."), user("i like tea")], "target": "then have tea .", "id": "tea"},
    {"messages": [user("hello"), assistant("what do you like ?"), user("cake")], "target": "cake and tea ."},
    {"prompt": "one two", "target": "three"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), context=64)


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Words:
    """A scorer that keeps count, and gives a text a nat for each letter of it."""

    def __init__(self, fails: Callable[[str], RolloutError | None] = lambda target: None):
        self.asked: list[str] = []

        def judge(chat: Chat, target: str) -> float:
            self.asked.append(target)
            if error := fails(target):
                raise error
            return -float(len(target))

        self.engine = Scripted(lambda _: "", judge)

    def open(self) -> Scripted:
        return self.engine


def never() -> Any:
    raise AssertionError("a model was opened")


def texts(*targets: str) -> list[Text]:
    return [Text(at, [user("hello")], target) for at, target in enumerate(targets, 1)]


# What is written


def test_scores_are_those_of_the_engine_in_the_order_of_the_input(model: Path, tmp_path: Path) -> None:
    out, engine = tmp_path / "scores.jsonl", HF(model, device="cpu")
    found = score(read_texts(jsonl(tmp_path / "rows.jsonl", ROWS)), "m", out, lambda: engine)
    chats = [row.get("messages") or [user(row["prompt"])] for row in ROWS]
    expected = engine.log_prob(chats, [row["target"] for row in ROWS])
    assert [(row["log_prob"], row["tokens"]) for row in lines(out)] == [(e.total, e.tokens) for e in expected]
    assert [row["id"] for row in lines(out)] == [1, "tea", 3, 4]
    tokens = sum(e.tokens for e in expected)
    assert found == Scored(4, 0, 0, tokens, pytest.approx(sum(e.total for e in expected) / tokens))


def test_a_text_that_stands_twice_is_scored_once_and_written_twice(tmp_path: Path) -> None:
    words, out = Words(), tmp_path / "scores.jsonl"
    score(texts("tea", "cake", "tea"), "m", out, words.open)
    assert words.asked == ["tea", "cake"]
    assert [(row["id"], row["log_prob"]) for row in lines(out)] == [(1, -3), (2, -4), (3, -3)]


def test_a_text_that_cannot_be_scored_is_null_with_its_reason_and_the_others_are_not(
    model: Path, tmp_path: Path
) -> None:
    out, told = tmp_path / "scores.jsonl", list[tuple[int, int]]()
    found = score(
        texts("tea", "cake " * 80, "cake"),
        "m",
        out,
        lambda: HF(model, device="cpu"),
        lambda done, of: told.append((done, of)),
    )
    long = lines(out)[1]
    assert (long["log_prob"], long["tokens"]) == (None, None) and long["reason"].startswith("context overflow: ")
    assert [row["log_prob"] is None for row in lines(out)] == [False, True, False]
    assert (found.failed, told) == (1, [(0, 3), (3, 3)])


def test_a_chat_that_the_template_refuses_fails_alone(tmp_path: Path) -> None:
    mistral = HF(tiny_model(tmp_path / "mistral", family="mistral"), device="cpu")
    out = tmp_path / "scores.jsonl"
    rows = [Text(1, [user("hello")], "tea"), Text(2, [user("hello"), user("hello")], "tea")]
    assert score(rows, "m", out, lambda: mistral).failed == 1
    assert lines(out)[1]["reason"].startswith("chat template: Conversation roles must alternate")


def test_a_score_that_is_no_number_is_null(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    score(texts("tea"), "m", out, lambda: Scripted(lambda _: "", lambda chat, target: float("nan")))
    assert lines(out)[0]["log_prob"] is None and "not a number" in lines(out)[0]["reason"]


# Going on


def test_a_finished_file_opens_no_model_and_is_left_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    score(texts("tea", "cake"), "m", out, Words().open)
    before = (out.read_bytes(), out.stat().st_ino)
    assert score(texts("tea", "cake"), "m", out, never).reused == 2
    assert (out.read_bytes(), out.stat().st_ino) == before


def test_what_is_missing_is_all_that_is_scored_wherever_the_file_was_torn(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    score(texts("tea", "cake", "coffee"), "m", out, Words().open)
    whole = out.read_bytes()
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    for size in sorted({0, 1, *ends, *(end + 1 for end in ends[:-1]), *range(0, len(whole), 41)}):
        out.write_bytes(whole[:size])
        words = Words()
        found = score(texts("tea", "cake", "coffee"), "m", out, words.open)
        assert out.read_bytes() == whole
        assert words.asked == ["tea", "cake", "coffee"][whole[:size].count(b"\n") :]
        assert found.reused == 3 - len(words.asked)


def test_a_part_is_on_disk_before_the_next_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "AT_ONCE", 2)
    out = tmp_path / "scores.jsonl"

    def gone(chat: Chat, target: str) -> float:
        if target == "coffee":
            assert len(lines(out)) == 2
            raise ServerError("the server has ended")
        return -1.0

    with pytest.raises(ServerError):
        score(texts("tea", "cake", "coffee"), "m", out, lambda: Scripted(lambda _: "", gone))
    words = Words()
    assert score(texts("tea", "cake", "coffee"), "m", out, words.open).reused == 2
    assert words.asked == ["coffee"]


def test_a_changed_row_is_scored_anew_and_the_rest_is_not(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    score(texts("tea", "cake", "coffee"), "m", out, Words().open)
    words = Words()
    found = score(texts("coffee", "red cake", "tea"), "m", out, words.open)
    assert (words.asked, found.reused) == (["red cake"], 2)
    assert [(row["id"], row["log_prob"]) for row in lines(out)] == [(1, -6), (2, -8), (3, -3)]


def test_another_model_scores_everything_anew(tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    score(texts("tea"), "m", out, Words().open)
    words = Words()
    assert score(texts("tea"), "other", out, words.open).reused == 0
    assert words.asked == ["tea"]


def test_a_call_that_failed_is_made_again_but_a_text_too_long_stays_too_long(tmp_path: Path) -> None:
    reasons = {"cake": RolloutError("server error", "500"), "coffee": RolloutError("context overflow", "9 > 8")}
    out = tmp_path / "scores.jsonl"
    assert score(texts("tea", "cake", "coffee"), "m", out, Words(reasons.get).open).failed == 2
    words = Words()
    assert score(texts("tea", "cake", "coffee"), "m", out, words.open).failed == 1
    assert words.asked == ["cake"]
    assert [row["log_prob"] for row in lines(out)] == [-3, -4, None]


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    for content, message in (
        (b'{"id": 1, "text": "mine"}\n', ":1: not a row of scores but id, text"),
        (b"my notes", "ends with b'my notes', which is no row of scores"),
    ):
        (tmp_path / "mine").write_bytes(content)
        with pytest.raises(DataError, match=message):
            score(texts("tea"), "m", tmp_path / "mine", never)
        assert (tmp_path / "mine").read_bytes() == content


def test_two_commands_do_not_write_one_file(tmp_path: Path) -> None:
    with (tmp_path / "scores.jsonl").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being written by another command"):
            score(texts("tea"), "m", tmp_path / "scores.jsonl", never)


def test_an_engine_that_is_no_help_leaves_no_file_behind(tmp_path: Path) -> None:
    def closed() -> Any:
        raise EngineError("not there")

    for opened, message in ((closed, "not there"), (lambda: object(), "cannot return log-probs")):
        with pytest.raises(EngineError, match=message):
            score(texts("tea"), "m", tmp_path / "scores.jsonl", opened)
    assert list(tmp_path.iterdir()) == []


# Who scores


def test_a_model_is_known_by_what_it_holds_and_not_by_where_it_lies(model: Path, tmp_path: Path) -> None:
    moved = tiny_model(tmp_path / "moved", context=64)
    assert identity_of(f"hf:{moved}") == identity_of(f"hf:{model}")
    template = moved / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|im_end|> "))
    assert identity_of(f"hf:{moved}") != identity_of(f"hf:{model}")
    assert identity_of(f"hf:{tiny_model(tmp_path / 'other', seed=1, context=64)}") != identity_of(f"hf:{model}")
    assert identity_of(f"vllm:{model}@{moved}") != identity_of(f"vllm:{model}")


def test_a_server_is_known_by_what_changes_its_scores() -> None:
    plain = identity_of("http://h/v1?tokenizer=org/name#model")
    assert identity_of("http://h/v1,http://i/v1?concurrency=9&tokenizer=org/name&key=MINE#model") == plain
    assert identity_of("http://h/v1?tokenizer=org/other#model") != plain != identity_of("http://h/v1#model")


def test_a_model_that_is_not_on_this_machine_has_no_identity_yet() -> None:
    assert identity_of("hf:nobody/nothing") is None
    assert identity_of("hf:no such id") is None


# Rows


@pytest.mark.parametrize(
    "row, message",
    [
        ('{"prompt": "hi", "target": ', "not JSON"),
        ('["hi"]', "not an object"),
        ({"target": "tea"}, "one of messages and prompt must be there, and neither is; got target"),
        ({"prompt": "a", "messages": [user("a")], "target": "tea"}, "and both is"),
        ({"prompt": "hi"}, "no target, which is what is scored; got prompt"),
        ({"prompt": "hi", "target": 3}, "target is 3, not a string"),
        ({"prompt": "hi", "target": "  "}, "target is empty"),
        ({"prompt": "", "target": "tea"}, "prompt is empty"),
        ({"prompt": "hi", "target": "\ud800"}, "target holds half of a surrogate pair"),
        ({"messages": "hi", "target": "tea"}, "messages is 'hi', not a list of messages"),
        ({"messages": [], "target": "tea"}, r"messages is \[\], not a list"),
        ({"messages": ["hi"], "target": "tea"}, r"messages\[0\] is 'hi', not an object"),
        ({"messages": [{"role": "bot", "content": "x"}], "target": "t"}, "role is 'bot'; it is one of system, user"),
        ({"messages": [{"role": "user"}], "target": "tea"}, r"messages\[0\]: content is None, not a string"),
        ({"messages": [user("a"), system("b"), user("c")], "target": "t"}, "a system message stands first"),
        ({"messages": [user("a"), assistant("b")], "target": "t"}, "ends with the assistant's words"),
        ({"prompt": "hi", "target": "tea", "id": 1.5}, "id is 1.5, neither a string nor a whole number"),
        ({"prompt": "hi", "target": "tea", "id": "first"}, "id 'first' is that of line 1 already"),
    ],
)
def test_a_bad_row_is_named_with_its_line(row: Any, message: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{"prompt": "hi", "target": "tea", "id": "first"}, "", row])
    with pytest.raises(DataError, match=f"rows.jsonl:3: .*{message}"):
        read_texts(path)


def test_scores_stand_beside_the_file_by_default() -> None:
    assert default_out(Path("data/rows.jsonl")) == Path("data/rows.scores.jsonl")
    assert default_out(Path("rows")) == Path("rows.scores.jsonl")


# The command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run `sparring score ...` and return status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARRING_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sparring", "score", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capfd.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_the_command_scores_says_so_and_goes_on(command: Any, model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS)
    status, out, err = command("rows.jsonl", "--model", f"hf:{model}")
    assert status == 0 and out.startswith("4 rows (0 there before, 0 failed)") and out.endswith("rows.scores.jsonl\n")
    assert [json.loads(line) for line in err.splitlines()][-1] == {"event": "score", "done": 4, "of": 4}
    status, out, err = command("rows.jsonl", "--model", f"hf:{model}", "--json")
    told = json.loads(out)
    assert (status, told["rows"], told["reused"], told["failed"], err) == (0, 4, 4, 0, "")
    assert told["log_prob_per_token"] < 0 and told["out"] == "rows.scores.jsonl"


def test_the_command_fails_where_every_row_did(command: Any, model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [{"prompt": "tea " * 90, "target": "tea"}])
    status, out, _ = command("rows.jsonl", "--model", f"hf:{model}")
    assert status == 1 and "1 failed" in out and "no score" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("none.jsonl", "--model", "hf:x"), "none.jsonl: no such file; did you mean"),
        (("rows.jsonl", "--model", "gpt2"), "unknown engine 'gpt2'"),
        (("rows.jsonl", "--model", "hf:./nowhere"), "cannot open model './nowhere'"),
        (("rows.jsonl", "--model", "world:concierge/oracle"), "is a rule, which has no log-probs"),
        (("rows.jsonl", "--model", "world:concierge/policy", "--out", "rows.jsonl"), "--out rows.jsonl is the input"),
        (("bad.jsonl", "--model", "hf:./nowhere"), "bad.jsonl:1: no target"),
    ],
)
def test_wrong_usage_is_one_message_and_leaves_nothing_behind(
    command: Any, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS)
    jsonl(tmp_path / "bad.jsonl", [{"prompt": "hi"}])
    status, out, err = command(*arguments)
    assert (status, out) == (2, "") and message in err and "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} <= {"rows.jsonl", "bad.jsonl", "home"}


def test_a_server_scores_each_text_once_even_where_the_file_of_scores_is_lost(
    command: Any, model: Path, tmp_path: Path
) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS)
    with serving() as server:
        name = f"{server.url}?tokenizer={model}#test"
        status, _, err = command("rows.jsonl", "--model", name)
        assert status == 0, err
        posts, scored = server.books()["posts"], lines(tmp_path / "rows.scores.jsonl")
        os.remove(tmp_path / "rows.scores.jsonl")
        assert command("rows.jsonl", "--model", name)[0] == 0
        assert server.books()["posts"] == posts
        assert lines(tmp_path / "rows.scores.jsonl") == scored
    assert command("rows.jsonl", "--model", name)[0] == 0  # the server is not even there


def test_a_server_without_prompt_log_probs_is_named_as_such(command: Any, model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS)
    with serving(scores="none") as server:
        status, _, err = command("rows.jsonl", "--model", f"{server.url}?tokenizer={model}#test")
    assert status == 2 and "cannot return prompt log-probs" in err
    assert not (tmp_path / "rows.scores.jsonl").exists()


def test_calls_of_an_engine_of_this_process_are_kept_on_request(command: Any, model: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", ROWS[:1])
    status, _, err = command("rows.jsonl", "--model", f"hf:{model}", "--ledger")
    assert status == 0, err
    with closing(sqlite3.connect(tmp_path / "home" / "ledger.sqlite")) as kept:
        assert kept.execute("SELECT count(*) FROM calls WHERE kind = 'log_prob'").fetchone() == (1,)
