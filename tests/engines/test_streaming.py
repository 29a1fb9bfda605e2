"""Replies that are heard as they come: the same words as without listening, in pieces that make sense."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.budget import Account
from sparring.chat.speaking import Stopped
from sparring.engines import awaited
from sparring.engines.base import Request, Streaming, stopped
from sparring.engines.hearing import Hearing
from sparring.engines.hf import HF
from sparring.engines.http import HTTP
from sparring.engines.kept import kept
from sparring.engines.scripted import Scripted
from sparring.engines.sse import Said, events
from sparring.engines.wire import Unanswered
from sparring.errors import RolloutError
from sparring.ledger import Ledger
from sparring.types import Completion, Sampling, user
from tests.serving import Server, serving
from tests.tiny import tiny_model

DRAWN = Sampling(temperature=1.0, max_tokens=24, seed=3)


def heard(engine: Any, request: Request) -> tuple[Completion | RolloutError, list[str]]:
    pieces: list[str] = []
    return engine.stream(request, pieces.append), pieces


# In this process


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> HF:
    return HF(tiny_model(tmp_path_factory.mktemp("model"), context=64), device="cpu")


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=24),
        DRAWN,
        Sampling(temperature=1.0, max_tokens=24, log_prob=True),
        Sampling(temperature=1.0, max_tokens=24, stop=("tea", "you like")),
    ],
)
def test_a_local_model_says_word_by_word_what_it_would_say_at_once(hf: HF, sampling: Sampling) -> None:
    for index in range(8):
        request = Request([user("what do you like ?")], sampling, index)
        reply, pieces = heard(hf, request)
        assert [reply] == hf.generate([request])
        assert isinstance(reply, Completion) and "".join(pieces) == reply.text
        assert len(pieces) > 1 or len(reply.text.split()) < 2


def test_a_chat_longer_than_the_context_says_nothing(hf: HF) -> None:
    reply, pieces = heard(hf, Request([user("tea " * 80)]))
    assert isinstance(reply, RolloutError) and reply.reason == "context overflow" and not pieces


def test_who_listens_may_break_a_local_reply_off(hf: HF) -> None:
    def enough(text: str) -> None:
        raise KeyError(text)

    with pytest.raises(KeyError):
        hf.stream(Request([user("hello")], Sampling(max_tokens=24)), enough)


def test_a_scripted_engine_does_not_stream() -> None:
    assert not isinstance(Scripted(lambda request: "tea"), Streaming)


# What of a text is sure


def told(growing: list[str], stop: tuple[str, ...] = ()) -> list[str]:
    pieces: list[str] = []
    hearing = Hearing(pieces.append, stop)
    for text in growing[:-1]:
        hearing.so_far(text)
    hearing.so_far(growing[-1], ended=True)
    return pieces


def test_a_character_of_which_bytes_are_missing_waits_for_them() -> None:
    whole = "für 🦆".encode()
    growing = [whole[: at + 1].decode(errors="replace") for at in range(len(whole))]
    pieces = told(growing)
    assert "".join(pieces) == "für 🦆" and not any("\ufffd" in piece for piece in pieces)


def test_a_character_that_never_becomes_whole_is_told_in_the_end() -> None:
    assert "".join(told(["tea ", "tea \ufffd"])) == "tea \ufffd"


def test_what_may_begin_a_stop_string_is_held_back_until_it_does_not() -> None:
    assert told(["one <", "one <e", "one <ever"], ("<end>",)) == ["one ", "<ever"]
    assert told(["one <", "one <e", "one <end> and more"], ("<end>",)) == ["one "]


@given(st.text(alphabet="ab<", max_size=30), st.lists(st.text(alphabet="ab<", min_size=1, max_size=4), max_size=2))
def test_the_pieces_are_the_text_that_is_cut_where_it_was_stopped(text: str, words: list[str]) -> None:
    growing = [text[: at + 1] for at in range(len(text))] or [""]
    said = next((one for one in growing if stopped(one, tuple(words)) is not None), text)
    growing = growing[: growing.index(said) + 1]
    assert "".join(told(growing, tuple(words))) == said[: stopped(said, tuple(words))]


def test_what_a_tokenizer_takes_back_is_not_told_twice() -> None:
    assert told(["do", "do n", "don't", "do not"]) == ["do", " n", "ot"]


# From a server


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def engine(server: Server) -> Iterator[HTTP]:
    made = HTTP([server.url], "test", backoff=0.01)
    yield made
    made.close()


REQUEST = Request([user("hello")], DRAWN, 2)


def test_a_server_says_word_by_word_what_it_would_say_at_once(server: Server, engine: HTTP) -> None:
    server.manners.reply = lambda body, seed: f"  grüße — 你好 🦆\n\nnumber {seed % 7} "
    reply, pieces = heard(engine, REQUEST)
    [whole] = engine.generate([REQUEST])
    assert reply == whole and isinstance(reply, Completion) and reply.completion_tokens
    assert "".join(pieces) == reply.text and len(pieces) > 4
    streamed, plain = server.bodies
    assert {**plain, "stream": True, "stream_options": {"include_usage": True}} == streamed


def test_a_stop_string_that_a_server_lets_through_is_not_heard(server: Server, engine: HTTP) -> None:
    server.manners.reply = lambda body, seed: "tea and cake STOP more"
    sampling = Sampling(temperature=1.0, max_tokens=24, stop=("STOP",))
    reply, pieces = heard(engine, Request([user("hello")], sampling))
    assert isinstance(reply, Completion) and reply.text == "tea and cake " == "".join(pieces)


def test_a_server_that_does_not_stream_is_heard_at_the_end(server: Server, engine: HTTP) -> None:
    server.manners.streams = "whole"
    reply, pieces = heard(engine, REQUEST)
    assert isinstance(reply, Completion) and pieces == [reply.text]


@pytest.mark.parametrize("field", ["stream_options", "stream"])
def test_a_server_that_does_not_know_the_field_is_asked_without(server: Server, engine: HTTP, field: str) -> None:
    server.manners.no_fields = field
    reply, pieces = heard(engine, REQUEST)
    assert isinstance(reply, Completion) and "".join(pieces) == reply.text
    assert field in server.bodies[0] and field not in server.bodies[-1]


@pytest.mark.parametrize("how", ["broken", "error"])
def test_what_breaks_off_once_words_were_heard_is_not_asked_for_again(server: Server, engine: HTTP, how: str) -> None:
    server.manners.streams, server.manners.reply = how, lambda body, seed: "tea coffee cake red blue"
    reply, pieces = heard(engine, REQUEST)
    assert isinstance(reply, Unanswered) and "".join(pieces) == "tea coffee" and server.posts == 1
    assert ("CUDA out of memory" if how == "error" else "broke off") in reply.detail


def test_what_fails_before_a_word_was_heard_is_tried_again(server: Server, engine: HTTP) -> None:
    server.manners.status, server.manners.fail_next, server.manners.error = 500, 2, {"message": "not now"}
    reply, pieces = heard(engine, REQUEST)
    assert isinstance(reply, Completion) and "".join(pieces) == reply.text and server.posts == 3


def test_who_listens_may_break_a_servers_reply_off(server: Server, engine: HTTP) -> None:
    server.manners.streams, server.manners.reply = "slow", lambda body, seed: "tea " * 200
    pieces: list[str] = []

    def enough(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 3:
            raise KeyError

    with pytest.raises(KeyError):
        engine.stream(REQUEST, enough)
    assert len(pieces) == 3


def test_a_reply_that_was_heard_is_on_the_ledger_like_any_other(server: Server, engine: HTTP, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        over = kept(engine, Account(ledger, "chat"))
        first, pieces = heard(over, REQUEST)
        again, at_once = heard(over, REQUEST)
        [generated] = over.generate([REQUEST])
        assert isinstance(first, Completion) and isinstance(again, Completion) and isinstance(generated, Completion)
        assert first.text == again.text == generated.text == "".join(pieces) and at_once == [first.text]
    assert server.posts == 1 and len(pieces) > 1


@pytest.mark.parametrize("streams", ["yes", "silent"])
def test_a_reply_that_was_broken_off_may_have_been_billed(
    server: Server, engine: HTTP, tmp_path: Path, streams: str
) -> None:
    def enough(text: str) -> None:
        if server.posts:  # else it was not sent yet
            raise Stopped

    server.manners.streams = streams
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        account = Account(ledger, "chat")
        with pytest.raises(Stopped):
            kept(engine, account).stream(REQUEST, enough)
        account.land(10)
        assert account.totals()[""]["lost"]["calls"] == 1


# Events


def parsed(*chunks: bytes) -> list[str]:
    async def given() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def gather() -> list[str]:
        return [data async for data in events(given())]

    return awaited.start(gather()).result()


def test_events_end_with_an_empty_line_and_comments_are_none() -> None:
    assert parsed(b": hi\r\n\r\nevent: x\ndata: one\ndata:two\n\ndata: thr", b"ee\r\n\r\ndata: cut off") == [
        "one\ntwo",
        "three",
    ]


@pytest.mark.parametrize(
    "chunk",
    [
        "[]",
        "nothing",
        '{"choices": 7}',
        '{"choices": [7]}',
        '{"choices": [{"delta": {"content": [1]}}]}',
        '{"choices": null}',
    ],
)
def test_a_chunk_of_another_shape_says_nothing(chunk: str) -> None:
    pieces: list[str] = []
    said = Said(Hearing(pieces.append))
    said.take(chunk)
    assert not pieces and said.answer["choices"][0]["message"]["content"] == "" and not said.done


def test_only_the_first_choice_is_heard() -> None:
    pieces: list[str] = []
    said = Said(Hearing(pieces.append))
    for index, text in ((0, "tea"), (1, "coffee"), (0, " cake")):
        said.take(json.dumps({"choices": [{"index": index, "delta": {"content": text}}]}))
    assert pieces == ["tea", " cake"]


def test_token_ids_and_log_probs_of_chunks_are_put_together() -> None:
    said = Said(Hearing(lambda text: None))
    for ids, text in (([5], "tea"), ([6, 1], "")):
        likely = {"token_logprobs": [-0.5] * len(ids)}
        said.take(json.dumps({"choices": [{"index": 0, "text": text, "token_ids": ids, "logprobs": likely}]}))
    [choice] = said.answer["choices"]
    assert choice["token_ids"] == [5, 6, 1] and choice["logprobs"] == {"token_logprobs": [-0.5] * 3}
