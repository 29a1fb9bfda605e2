"""Servers that answer, and servers that do not: over real connections, to a server that misbehaves on request."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from sparring.engines import awaited
from sparring.engines.base import Request, Scorer, Served
from sparring.engines.http import HTTP, seed_of
from sparring.engines.replies import completions, log_probs, summed
from sparring.engines.template import Template
from sparring.engines.wire import Unanswered, key_of, retry_after
from sparring.errors import EngineError, RolloutError, ServerError
from sparring.types import Completion, LogProb, Sampling, assistant, system, user
from tests.serving import Server, certificate, digest, likely, serving
from tests.tiny import tiny_model

DRAWN = Sampling(temperature=1.0, max_tokens=64, seed=3)
USAGE = ("prompt_tokens", "completion_tokens")
SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def engines() -> Iterator[Callable[..., HTTP]]:
    made: list[HTTP] = []

    def engine(server: Server | str, *more: Server, model: str = "test", **options: Any) -> HTTP:
        urls = [server if isinstance(server, str) else server.url, *(other.url for other in more)]
        made.append(HTTP(urls, model, **{"backoff": 0.01, **options}))
        made[-1].probing = 0.02
        return made[-1]

    yield engine
    for one in made:
        one.close()


Engines = Callable[..., HTTP]


def asked(n: int, samples: int = 1, sampling: Sampling = DRAWN, first: int = 0) -> list[Request]:
    return [
        Request([system("be kind"), user(f"hello {at}")], sampling, sample)
        for at in range(n)
        for sample in range(first, first + samples)
    ]


def texts(replies: list[Completion | RolloutError]) -> list[str]:
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, Completion)]


def failed(replies: list[Completion | RolloutError]) -> RolloutError:
    (reply,) = replies
    assert isinstance(reply, RolloutError), reply
    return reply


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# What it does


def test_it_is_a_served_generator_and_a_scorer(server: Server, engines: Engines) -> None:
    engine = engines(server)
    assert isinstance(engine, Served) and isinstance(engine, Scorer)


def test_a_group_of_samples_is_one_call_and_equals_single_calls(server: Server, engines: Engines) -> None:
    engine = engines(server).open()
    together = texts(engine.generate(asked(3, 8)))
    assert server.posts == 3 and {body["n"] for body in server.bodies} == {8}
    alone = [texts(engine.generate([request]))[0] for request in asked(3, 8)]
    assert together == alone
    assert len(set(together)) > 12, "samples differ"
    assert texts(engine.generate(asked(3, 5, first=3))) == [
        together[8 * n + at] for n in range(3) for at in range(3, 8)
    ]


def test_what_is_sent_is_what_was_asked(server: Server, engines: Engines) -> None:
    (request,) = asked(1, first=5)
    engines(server, extra={"top_k": 7}).generate([request])
    assert server.bodies == [
        {
            "model": "test",
            "messages": request.chat,
            "temperature": 1.0,
            "top_p": 1.0,
            "max_tokens": 64,
            "seed": seed_of(request.chat, DRAWN) + 5,
            "top_k": 7,
        }
    ]
    assert 0 <= server.bodies[0]["seed"] < 2**31


def test_a_reply_ends_before_a_stop_string_and_says_how_likely_it_was(server: Server, engines: Engines) -> None:
    engine = engines(server)
    plain = Request([user("hello")], Sampling(1.0, max_tokens=20))
    (whole,) = engine.generate([plain])
    word = whole.text.split()[1]
    asked = Sampling(1.0, max_tokens=20, stop=(word, "never said"), log_prob=True)
    (reply,) = engine.generate([Request(plain.chat, asked)])
    assert (reply.text, reply.finish) == (whole.text.partition(word)[0], "stop")
    tokens = len(whole.text.split()) + 1
    assert reply.log_prob == LogProb(-0.5 * tokens, tokens)
    assert whole.log_prob is None
    assert server.bodies[-1]["stop"] == [word, "never said"] and server.bodies[-1]["logprobs"] is True
    assert not {"stop", "logprobs"} & set(server.bodies[-2])


def test_what_goes_into_every_call_is_part_of_who_answers(server: Server, engines: Engines) -> None:
    plain, bold, same = (engines(server, extra=extra) for extra in ({}, {"top_k": 7, "a": 1}, {"a": 1, "top_k": 7.0}))
    assert plain.identity != bold.identity == same.identity


def test_samples_with_gaps_are_asked_for_in_runs_of_at_most_128(server: Server, engines: Engines) -> None:
    engine = engines(server)
    requests = [Request([user("hello")], DRAWN, at) for at in (7, *range(200, 400), 8, 10)]
    assert [len(group) for group in engine.apart(requests)] == [2, 1, 128, 72]
    replies = texts(engine.generate(requests))
    assert sorted(body.get("n", 1) for body in server.bodies) == [1, 2, 72, 128]
    assert replies[0] == texts(engine.generate([requests[0]]))[0]
    assert replies[-2] == texts(engine.generate([requests[-2]]))[0]


def test_greedy_samples_are_asked_for_once_and_copied_and_paid_for_once(server: Server, engines: Engines) -> None:
    replies = engines(server).generate(asked(1, 4, Sampling(temperature=0)))
    assert server.posts == 1 and len(set(texts(replies))) == 1
    tokens = [(r.prompt_tokens, r.completion_tokens) for r in replies if isinstance(r, Completion)]
    assert tokens[0][0] == 4 and (tokens[0][1] or 0) > 0 and tokens[1:] == [(0, 0)] * 3


def test_a_server_that_gives_fewer_samples_is_asked_for_the_rest_and_then_one_by_one(engines: Engines) -> None:
    with serving(most_n=1) as server, serving() as able:
        engine = engines(server)
        assert texts(engine.generate(asked(1, 4))) == texts(engines(able).generate(asked(1, 4)))
        assert [body.get("n", 1) for body in server.bodies] == [4, 1, 1, 1]
        assert len(engine.generate(asked(1, 4, first=4))) == 4
        assert [body.get("n", 1) for body in server.bodies[4:]] == [1, 1, 1, 1]
        assert set(server.books()["billed"].values()) == {1}


@pytest.mark.parametrize("field", ["n", "seed", "top_p"])
def test_a_field_that_a_server_does_not_take_is_left_out_from_then_on(field: str, engines: Engines) -> None:
    with serving(no_fields=field) as server:
        engine = engines(server)
        assert len(texts(engine.generate(asked(1, 3)))) == 3
        before = server.posts
        assert len(texts(engine.generate(asked(1, 3, first=3)))) == 3
        assert not any(field in body for body in server.bodies[before:])


def test_a_top_p_that_was_chosen_is_never_left_out(engines: Engines) -> None:
    with serving(no_fields="top_p") as server:
        sampling = Sampling(temperature=1.0, top_p=0.9)
        assert failed(engines(server).generate(asked(1, sampling=sampling))).reason == "request refused"


def test_a_server_that_asks_for_max_completion_tokens_gets_it(engines: Engines) -> None:
    with serving(demands="max_completion_tokens") as server:
        engine = engines(server)
        texts(engine.generate(asked(1)))
        texts(engine.generate(asked(2)))
        assert server.posts == 4
        assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 64, 64, 64]


def test_tokens_of_samples_made_together_add_up_and_the_prompt_counts_once(server: Server, engines: Engines) -> None:
    replies = [r for r in engines(server).generate(asked(1, 5)) if isinstance(r, Completion)]
    assert [reply.prompt_tokens for reply in replies] == [4, 0, 0, 0, 0]
    written = [reply.completion_tokens or 0 for reply in replies]
    assert sum(written) == sum(len(reply.text.split()) + 1 for reply in replies)
    assert max(written) - min(written) <= 1


def test_tokens_that_nobody_counted_are_unknown(engines: Engines) -> None:
    with serving(usage=False) as server:
        replies = engines(server).generate(asked(1, 2))
        assert [(r.prompt_tokens, r.completion_tokens) for r in replies if isinstance(r, Completion)] == [
            (None, None)
        ] * 2


@pytest.mark.parametrize("count", [10**400, 2**53, -1, 1.5, True, "7", None])
def test_a_count_of_tokens_that_can_be_none_is_unknown(count: Any) -> None:
    reply = {"choices": [{"message": {"content": "tea"}}], "usage": dict.fromkeys(USAGE, count)}
    assert completions(reply, 1) == [Completion("tea")]


@pytest.mark.parametrize("value", [float("-inf"), float("nan"), None])
def test_a_score_that_is_no_number_fails_alone_and_may_have_been_billed(value: float | None) -> None:
    values = log_probs({"choices": [{"logprobs": {"token_logprobs": [None, -1.0, value]}}]}, [1, 2, 3])
    assert values and isinstance(summed(values, 2), Unanswered)


@pytest.mark.parametrize(
    ("message", "reason", "expected"),
    [
        ({"content": "tea"}, "stop", Completion("tea", "stop")),
        ({"content": "tea"}, "length", Completion("tea", "length")),
        ({"content": ""}, "content_filter", Completion("", "refused")),
        ({"content": None, "refusal": "no"}, "stop", Completion("no", "refused")),
        ({"content": "tea"}, "tool_calls", Completion("tea", "stop")),
        ({"content": [{"type": "thinking"}, {"type": "text", "text": "tea"}]}, "stop", Completion("tea", "stop")),
        ({"content": ""}, "stop", Completion("", "stop")),
    ],
)
def test_how_a_reply_finished(message: Any, reason: str, expected: Completion) -> None:
    assert completions({"choices": [{"message": message, "finish_reason": reason}]}, 1) == [expected]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"choices": []},
        {"choices": "tea"},
        {"choices": [None, 3]},
        {"choices": [{"message": {"content": None, "tool_calls": []}, "finish_reason": "tool_calls"}]},
        {"choices": [{"message": 5, "finish_reason": {"a": 1}}]},
    ],
)
def test_an_answer_without_words_fails_the_call_and_may_have_been_billed(reply: Any) -> None:
    assert isinstance(completions(reply, 1)[0], Unanswered)


# What goes wrong on the way


def test_chaos_loses_no_call_and_bills_none_twice(engines: Engines) -> None:
    with serving(chaos=1.0, seed=5, latency=0.002, retry_after="0.01", stall=5) as server:
        engine = engines(server, deadline=1.0, backoff=0.005)
        replies = texts(engine.generate(asked(200)))
        books = server.books()
    assert len(replies) == 200
    assert set(books["billed"].values()) == {1} and len(books["billed"]) == 200
    assert books["posts"] > 220, "there was chaos"
    keys = {(digest(b), h["Idempotency-Key"]) for b, h in zip(server.bodies, server.headers, strict=True)}
    assert len(keys) == 200, "one key a call, over all its sendings"


def test_an_answer_that_came_while_the_loop_was_held_up_is_read_and_not_paid_twice(engines: Engines) -> None:
    with serving(latency=0.2) as server:
        engine = engines(server, deadline=0.4).open()
        call = awaited.start(engine.answer(asked(1)))
        while not server.posts:
            time.sleep(0.01)
        awaited.loop().call_soon_threadsafe(time.sleep, 1.0)  # the answer comes, and so does the deadline
        assert texts(call.result(30))
        assert server.books()["posts"] == 1


def test_a_server_with_less_room_than_we_think_serves_everything(engines: Engines) -> None:
    with serving(room=20, latency=0.01) as server:
        assert len(texts(engines(server).generate(asked(200)))) == 200
        assert set(server.books()["billed"].values()) == {1}


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_delays_a_call_and_is_no_try(status: int, engines: Engines) -> None:
    error = {"message": "slow down"}
    with serving(status=status, fail_next=20, error=error, retry_after="0.001") as server:
        reasons: list[str] = []

        async def permit(reason: str) -> None:
            reasons.append(reason)

        replies = awaited.start(engines(server).answer(asked(1), permit)).result()
        assert texts(replies) and server.posts == 21 and reasons == [""] * 21


def test_retry_after_is_read_in_both_forms() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": "0.5"}) == 0.5
    dates = {"Date": formatdate(1_000_000, usegmt=True), "Retry-After": formatdate(1_000_030, usegmt=True)}
    assert retry_after(dates) == 30, "by the server's own clock"
    ahead = retry_after({"Retry-After": formatdate(2**33, usegmt=True)})
    assert ahead == 3600, "no server parks us for a century"
    assert retry_after({"Retry-After": formatdate(0, usegmt=True)}) == 0
    assert [retry_after({"Retry-After": said}) for said in ("", "soon", "nan", "inf")] == [None] * 4
    assert retry_after({}) is None


@pytest.mark.parametrize("date", ["", "Mon, 01 Jan 2024 00:00:00 +99999999999999"])
@pytest.mark.parametrize(
    "said",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +9999999999999999",
        "Mon, 01 Jan 2024 9999999999999999999:00:00 GMT",
    ],
)
def test_a_date_beyond_all_dates_is_no_date(said: str, date: str) -> None:
    assert retry_after({"Retry-After": said, "Date": date}) is None


@pytest.mark.parametrize("code", [500.0, "429:slow", "503 - busy", "overloaded"])
def test_an_error_in_a_whole_answer_is_one_whatever_its_code_looks_like(code: Any, engines: Engines) -> None:
    with serving(status=200, error={"code": code, "message": "not now"}, fail_next=1) as server:
        assert texts(engines(server).generate(asked(1))) and server.posts == 2


def test_a_used_up_quota_ends_the_run(engines: Engines) -> None:
    error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    with serving(status=429, error=error) as server, pytest.raises(ServerError, match="quota"):
        engines(server).generate(asked(1))
    assert server.posts == 1


def test_a_server_that_always_fails_is_tried_eight_times(engines: Engines) -> None:
    with serving(status=500, error={"message": "out of cheese"}) as server:
        error = failed(engines(server).generate(asked(1)))
        assert server.posts == 8 and error.reason == "server error" and "500: out of cheese" in error.detail
        assert not isinstance(error, Unanswered), "an error status is not billed"


def test_the_permit_is_told_what_may_have_been_billed(engines: Engines) -> None:
    reasons: list[str] = []

    async def permit(reason: str) -> None:
        reasons.append(reason)

    with serving(chaos=1.0, stall=5.0) as server:
        draws = iter([0.16, 0.19, 0.21, 0.12, 0.9])  # dropped, stalled, truncated, failed, served
        server._draw.random = lambda: next(draws)  # type: ignore[method-assign]
        engine = engines(server, deadline=0.1)
        assert texts(awaited.start(engine.answer(asked(1), permit)).result())
    assert reasons[0] == reasons[4] == ""
    assert "connection broke" in reasons[1] and "no answer within 0.1 s" in reasons[2]
    assert "no whole JSON" in reasons[3]


def test_a_permit_that_raises_sends_nothing_and_leaves_its_place(server: Server, engines: Engines) -> None:
    async def permit(reason: str) -> None:
        raise ServerError("no money")

    engine = engines(server)
    with pytest.raises(ServerError, match="no money"):
        awaited.start(engine.answer(asked(1), permit)).result()
    assert server.posts == 0 and engine.pool.endpoints[0].in_flight == 0


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, {"message": "This model's maximum context length is 4096 tokens."}, "context overflow"),
        (400, {"message": "too long", "code": "context_length_exceeded"}, "context overflow"),
        (400, {"message": "request exceeds the available context size", "type": "x"}, "context overflow"),
        (400, {"message": "The response was filtered", "code": "content_filter"}, "refused by the provider"),
        (400, {"message": "roles must alternate"}, "request refused"),
        (422, {"message": [{"loc": ["body", "messages"], "msg": "bad"}]}, "request refused"),
    ],
)
def test_a_call_that_a_server_will_not_answer_fails_alone(
    status: int, error: Any, reason: str, engines: Engines
) -> None:
    with serving(status=status, error=error) as server:
        replies = engines(server).generate(asked(1, 3))
        assert [reply.reason for reply in replies if isinstance(reply, RolloutError)] == [reason] * 3
        assert server.posts == 1


def test_a_chat_too_long_for_the_model_fails_alone_and_the_rest_are_answered(engines: Engines) -> None:
    with serving(context=10) as server:
        long = Request([user("tea " * 11)], DRAWN)
        replies = engines(server).generate([*asked(2), long])
        assert isinstance(replies[2], RolloutError) and replies[2].reason == "context overflow"
        assert texts(replies[:2])


def test_a_message_of_a_server_is_shortened_and_holds_no_control_characters(engines: Engines) -> None:
    with serving(status=400, error={"message": "\x1b[31mred\u202e\n\n" + "x" * 5000}) as server:
        detail = failed(engines(server).generate(asked(1))).detail
        assert len(detail) < 320 and detail.isprintable() and "[31mred" in detail


@pytest.mark.parametrize(("status", "error"), [(401, ServerError), (403, ServerError), (404, EngineError)])
def test_a_server_that_shuts_us_out_in_mid_run_ends_it(
    status: int, error: type[Exception], server: Server, engines: Engines
) -> None:
    engine = engines(server).open()
    server.manners.status, server.manners.error = status, {"message": "not any more"}
    with pytest.raises(error, match=f"{status}.*not any more"):
        engine.generate(asked(1))


def test_an_endpoint_that_dies_hands_its_calls_over_and_is_used_again_once_back(engines: Engines) -> None:
    with serving() as stays:
        with serving() as dies:
            engine = engines(stays, dies).open()
            texts(engine.generate(asked(20)))
            assert stays.posts and dies.posts
            port = int(dies.url.split(":")[2].split("/")[0])
        assert len(texts(engine.generate(asked(20, sampling=Sampling(temperature=1, seed=9))))) == 20
        gone = engine.pool.endpoints[1]
        assert not gone.alive and "refused" in gone.trouble
        back = threading.Event()
        put_back = engine.pool.back
        engine.pool.back = lambda endpoint: (put_back(endpoint), back.set())[0]  # type: ignore[method-assign]
        with serving(port=port) as again:
            assert back.wait(20)
            assert len(texts(engine.generate(asked(20, sampling=Sampling(temperature=1, seed=10))))) == 20
            assert again.posts


def test_with_no_endpoint_left_the_run_ends_and_names_them(engines: Engines) -> None:
    with serving() as server:
        engine = engines(server, patience=0.1).open()
    with pytest.raises(ServerError, match=rf"no server left .*{server.url}: connection refused"):
        engine.generate(asked(3))


def test_an_engine_that_nobody_holds_any_more_closes_its_connections(server: Server) -> None:
    engine = HTTP([server.url], "test")
    texts(engine.generate(asked(1)))
    session, closing = engine._wire.session, engine._closing
    del engine
    assert not closing.alive

    async def closed() -> bool:
        await asyncio.sleep(0)
        return session.closed

    assert awaited.start(closed()).result()


# At the door


def refused(*args: Any, **options: Any) -> str:
    engine = HTTP(*args, **options)
    with pytest.raises(EngineError) as caught:
        engine.open()
    engine.close()
    return str(caught.value)


def test_a_wrong_address_is_told() -> None:
    port = closed_port()
    assert (
        refused([f"http://127.0.0.1:{port}/v1"], "test")
        == f"cannot reach http://127.0.0.1:{port}/v1: connection refused"
    )
    assert "no such host" in refused(["http://nobody.invalid/v1"], "test")


def test_every_endpoint_of_a_pool_must_answer(server: Server) -> None:
    assert "connection refused" in refused([server.url, f"http://127.0.0.1:{closed_port()}/v1"], "test")


def test_a_model_that_is_not_served_is_told_with_what_is(server: Server) -> None:
    assert refused([server.url], "tset") == f"{server.url} does not serve 'tset'; did you mean 'test'? it serves test"


def test_a_page_instead_of_json_is_told() -> None:
    with serving(mode="html") as server:
        assert "an HTML page" in (said := refused([server.url], "test")) and "usually ends in /v1" in said


def test_a_server_without_the_api_is_told() -> None:
    with serving(mode="nothing") as server:
        assert "usually ends in /v1" in refused([server.url], "test")


def test_a_server_that_keeps_no_list_of_models_is_not_refused(engines: Engines) -> None:
    with serving(mode="no_models") as server:
        engine = engines(server).open()
        assert engine.root is None and texts(engine.generate(asked(1)))


def test_what_the_model_is_made_from_is_remembered(engines: Engines) -> None:
    with serving(root="/models/seven") as server:
        assert engines(server).open().root == "/models/seven"


def test_an_untrusted_certificate_is_told(tmp_path: Path) -> None:
    with serving(tls=certificate(tmp_path)) as server:
        assert "certificate is not trusted (self-signed certificate)" in refused([server.url], "test")


def test_the_wrong_scheme_is_told(server: Server, tmp_path: Path) -> None:
    assert "is it http://, not https://?" in refused([server.url.replace("http", "https")], "test")
    with serving(tls=certificate(tmp_path)) as secure:
        assert "https" in refused([secure.url.replace("https", "http")], "test")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("http://h/v1?kee=A#m", "unknown option 'kee' in an engine's name; did you mean 'key'?"),
        ("http://h/v1?concurrency=many#m", "concurrency='many' in an engine's name is no number"),
        ("http://h/v1?concurrency=0#m", "concurrency is 0"),
        ("http://h/v1?deadline=0#m", "deadline 0.0 s"),
        ("http://h/v1,ftp://h/v1#m", "'ftp://h/v1' is no endpoint"),
        ("http://h/v1,http://h/v1/#m", "each once"),
        ("http://h/v1?key=NOT_SET_ANYWHERE#m", "environment variable NOT_SET_ANYWHERE"),
    ],
)
def test_a_bad_name_is_told(name: str, says: str) -> None:
    with pytest.raises(EngineError, match=says.replace("?", r"\?")):
        HTTP.from_name(name)


def test_a_name_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    name = "http://h1:8000/v1/,https://h2/v1?key=SOME_KEY&tokenizer=a/b&concurrency=64&deadline=30#org/model:free"
    engine = HTTP.from_name(name)
    assert list(engine.keys) == ["http://h1:8000/v1", "https://h2/v1"] and engine.model == "org/model:free"
    assert (engine.tokenizer, engine.pool.most, engine.deadline) == ("a/b", 64, 30)
    assert SECRET not in f"{engine!r} {vars(engine)!r} {engine.keys!r}"
    engine.close()


def test_a_name_without_a_model_is_told_what_is_served(server: Server) -> None:
    with pytest.raises(EngineError, match=rf"names no model; add #MODEL: {server.url} serves test"):
        HTTP.from_name(server.url)
    with pytest.raises(EngineError, match="connection refused"):
        HTTP.from_name(f"http://127.0.0.1:{closed_port()}/v1")


# Keys


def test_a_key_is_sent_where_it_was_named_and_lets_us_in(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    with serving(key=SECRET) as server:
        assert texts(engines(server, key="SOME_KEY").open().generate(asked(1)))
        assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


def test_a_server_that_wants_a_key_is_told_with_how_to_name_it() -> None:
    with serving(key=SECRET) as server:
        assert "401" in (said := refused([server.url], "test")) and "?key=NAME" in said


def test_a_providers_key_goes_to_that_provider_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("MISTRAL_API_KEY", "sk-other")
    key = key_of("https://api.openai.com/v1", None)
    assert key and key.name == "OPENAI_API_KEY"
    other = key_of("https://api.mistral.ai/v1", None)
    assert other and other.name == "MISTRAL_API_KEY"
    for url in (
        "http://127.0.0.1:8000/v1",
        "http://localhost/v1",
        "http://10.0.0.7/v1",
        "http://api.openai.com/v1",  # in the clear
        "https://api.openai.evil/v1",
        "https://openai.com.evil.net/v1",
        "https://notopenai.com/v1",
        "https://gateway.example/openai.com/v1",
    ):
        assert key_of(url, None) is None, url


def test_a_key_in_place_of_its_name_is_refused_and_not_repeated() -> None:
    for name in (f"http://h/v1?key={SECRET}#m", f"http://user:{SECRET}@h/v1#m"):
        with pytest.raises(EngineError, match="environment") as caught:
            HTTP.from_name(name)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [400, 401, 429, 500, 200])
def test_a_key_that_the_server_repeats_goes_nowhere(
    status: int, engines: Engines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    error = {"message": f"you sent Authorization: Bearer {SECRET}", "code": SECRET, "type": "insufficient_quota"}
    said: list[str] = []

    async def permit(reason: str) -> None:
        said.append(reason)

    with serving(status=status, error=error) as server:
        engine = engines(server, key="SOME_KEY").open()
        try:
            replies = awaited.start(engine.answer(asked(1), permit)).result()
            said += ["".join(traceback.format_exception(reply)) for reply in replies if isinstance(reply, RolloutError)]
        except ServerError as caught:
            said.append("".join(traceback.format_exception(caught)))
    said += [repr(engine), repr(vars(engine)), engine.identity, caplog.text]
    assert SECRET not in " ".join(said)
    assert "[key]" in " ".join(said)


def test_a_wrong_key_is_not_repeated_at_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    with serving(key="another") as server:
        said = refused([server.url], "test", key="SOME_KEY")
        assert SECRET not in said and "is the key in SOME_KEY the right one?" in said


# Scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def template(folder: Path) -> Template:
    from transformers import AutoTokenizer

    return Template(AutoTokenizer.from_pretrained(folder), "tiny")


CHAT = [user("hello"), assistant("what do you like ?"), user("i like tea")]


@pytest.mark.parametrize("scores", ["prompt_logprobs", "echo", "echo_one"])
def test_a_text_is_scored_over_its_own_tokens_alone(scores: str, engines: Engines, template: Template) -> None:
    context, words = template.target(CHAT, "have a cake .")
    expected = sum(likely([*context, *words])[len(context) :])
    with serving(scores=scores) as server:
        engine = engines(server, template=template)
        scored = engine.log_prob([CHAT] * 2, ["have a cake ."] * 2)
        assert scored == [LogProb(pytest.approx(expected), len(words))] * 2
        before = server.posts
        engine.log_prob([CHAT], ["then tea"])
        assert server.posts == before + 1, "how to ask is learned once"
        assert server.bodies[-1]["prompt"] == [i for part in template.target(CHAT, "then tea") for i in part]


def test_the_tokenizer_is_the_one_that_the_server_names(engines: Engines, folder: Path, template: Template) -> None:
    with serving(root=str(folder)) as server:
        (scored,) = engines(server).open().log_prob([CHAT], ["tea"])
        assert isinstance(scored, LogProb) and scored.tokens == len(template.target(CHAT, "tea")[1])


def test_a_server_that_cannot_score_is_told(engines: Engines, template: Template) -> None:
    with (
        serving(scores="none") as server,
        pytest.raises(EngineError, match="cannot return prompt log-probs, so it cann"),
    ):
        engines(server, template=template).log_prob([CHAT], ["tea"])


def test_scores_of_other_tokens_than_were_sent_are_refused(engines: Engines, template: Template) -> None:
    with serving(scores="short") as server, pytest.raises(EngineError, match="is the tokenizer the served model's own"):
        engines(server, template=template).log_prob([CHAT], ["tea"])


def test_a_text_too_long_to_be_scored_fails_alone(engines: Engines, template: Template) -> None:
    with serving(context=40) as server:
        long, short = engines(server, template=template).log_prob([CHAT, [user("tea")]], ["tea " * 60, "tea"])
        assert isinstance(long, RolloutError) and long.reason == "context overflow"
        assert isinstance(short, LogProb)


def test_a_tokenizer_that_is_not_there_is_told(server: Server, engines: Engines, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"has no tokenizer .*\?tokenizer=ID"):
        engines(server, tokenizer=str(tmp_path / "none")).log_prob([CHAT], ["tea"])


# The test server as a program


def test_the_test_server_runs_as_a_program_of_its_own(engines: Engines) -> None:
    command = [sys.executable, "-m", "tests.serving", "--latency", "0.001", "--reply", "tests.serving:words"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert texts(engines(url).open().generate(asked(2)))
        finally:
            process.terminate()
