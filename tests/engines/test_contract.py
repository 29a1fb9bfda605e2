"""What every engine promises, whatever stands behind it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.engines.base import Generator, Request, Scorer
from sparring.engines.hf import HF
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.types import Chat, Completion, LogProb, Sampling, assistant, system, user
from tests.tiny import WORDS, tiny_model

CONTEXT = 64
"""Longest row of every engine here, in tokens."""


def scripted() -> Scripted:
    """A language of our own: words drawn by the request's identity, as many as `max_tokens` lets through."""

    def reply(request: Request) -> Completion:
        length = sum(len(message["content"].split()) for message in request.chat)
        if length >= CONTEXT:
            raise RolloutError("context overflow", f"{length} tokens > {CONTEXT}")
        index = request.sample_index if request.sampling.temperature else 0
        draw = random.Random(f"{request.chat}/{index}/{request.sampling.seed}/{request.sampling.temperature}")
        words = [draw.choice(WORDS) for _ in range(draw.randint(4, 9))]
        said, most = words[: request.sampling.max_tokens], request.sampling.max_tokens
        return Completion(" ".join(said), "length" if len(words) > most else "stop", length, len(said))

    def score(chat: Chat, target: str) -> float:
        if sum(len(message["content"].split()) for message in chat) >= CONTEXT:
            raise RolloutError("context overflow")
        draw = random.Random(f"{chat}/{target}")
        return -10 * draw.random()

    return Scripted(reply, score)


def hf(folder: Path) -> Any:
    return HF(tiny_model(folder, context=CONTEXT), rows=5, device="cpu")


ENGINES: dict[str, Callable[[Path], Any]] = {"scripted": lambda folder: scripted(), "hf": hf}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ENGINES[request.param](tmp_path_factory.mktemp("engine"))


CHATS: list[Chat] = [
    [user("hello")],
    [system("you are helpful ."), user("what do you like ?")],
    [user("hello"), assistant("what do you like ?"), user("i like tea and cake")],
    [user("one two three one two three red blue red blue have a nice day then")],
    [user("tea")],
    [user("coffee and tea ?"), assistant("coffee ."), user("then have coffee and cake and a nice day")],
]
LONG: Chat = [user(" ".join(["tea"] * CONTEXT))]
GREEDY = Sampling(max_tokens=8)
SAMPLED = Sampling(temperature=1.3, top_p=0.95, max_tokens=8, seed=7)
TARGETS = ["then have tea .", "i like red cake and blue tea", "coffee"]
PAIRS = [(chat, TARGETS[at % 3]) for at, chat in enumerate(CHATS)]


def texts(engine: Generator, requests: list[Request]) -> list[str]:
    """Generate, let nothing fail, and return what was said."""
    replies = engine.generate(requests)
    assert all(isinstance(reply, Completion) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, Completion)]


def test_it_is_a_generator_and_a_scorer(engine: Any) -> None:
    assert isinstance(engine, Generator)
    assert isinstance(engine, Scorer)
    assert engine.batch_size >= 1


def test_an_empty_batch_gives_no_replies(engine: Any) -> None:
    assert engine.generate([]) == []
    assert engine.log_prob([], []) == []


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_of_one_says_what_a_batch_of_many_says(engine: Any, sampling: Sampling) -> None:
    requests = [Request(chat, sampling, index) for chat in CHATS for index in range(3)]
    together = engine.generate(requests)
    assert together == [engine.generate([request])[0] for request in requests]
    assert len(set(texts(engine, requests))) >= len(CHATS) - 1


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_replies_stand_in_the_order_of_their_requests(engine: Any, sampling: Sampling) -> None:
    requests = [Request(chat, sampling, index) for chat in CHATS for index in range(3)]
    shuffled = random.Random(0).sample(range(len(requests)), len(requests))
    straight = engine.generate(requests)
    assert engine.generate([requests[at] for at in shuffled]) == [straight[at] for at in shuffled]


def test_greedy_and_sampled_requests_may_share_a_batch(engine: Any) -> None:
    mixed = [Request(chat, sampling) for chat in CHATS for sampling in (GREEDY, SAMPLED, Sampling(0.5, max_tokens=3))]
    assert engine.generate(mixed) == [engine.generate([request])[0] for request in mixed]


def test_a_sample_repeats_and_another_index_or_seed_makes_another(engine: Any) -> None:
    first = texts(engine, [Request(CHATS[1], SAMPLED, index) for index in range(8)])
    assert first == texts(engine, [Request(CHATS[1], SAMPLED, index) for index in range(8)])
    assert len(set(first)) >= 7
    other_seed = Sampling(SAMPLED.temperature, SAMPLED.top_p, SAMPLED.max_tokens, seed=8)
    assert first != texts(engine, [Request(CHATS[1], other_seed, index) for index in range(8)])


def test_raising_the_number_of_samples_keeps_the_first_ones(engine: Any) -> None:
    def samples(count: int) -> list[str]:
        return texts(engine, [Request(CHATS[2], SAMPLED, index) for index in range(count)])

    assert samples(8)[:5] == samples(5)


def test_greedy_requests_are_the_same_whatever_their_index(engine: Any) -> None:
    assert len(set(texts(engine, [Request(CHATS[1], GREEDY, index) for index in range(4)]))) == 1


def test_a_chat_too_long_for_the_model_fails_alone(engine: Any) -> None:
    one, error, two = engine.generate([Request(CHATS[0], GREEDY), Request(LONG, GREEDY), Request(CHATS[1], GREEDY)])
    assert isinstance(error, RolloutError)
    assert error.reason == "context overflow"
    assert str(CONTEXT) in error.detail
    assert [one, two] == engine.generate([Request(CHATS[0], GREEDY), Request(CHATS[1], GREEDY)])


def test_a_reply_as_long_as_allowed_is_cut_off_and_says_so(engine: Any) -> None:
    whole = engine.generate([Request(chat, Sampling(1.3, max_tokens=3), index) for chat in CHATS for index in range(3)])
    cut = [reply for reply in whole if reply.finish == "length"]
    assert cut
    assert {reply.completion_tokens for reply in cut} == {3}
    assert all(reply.completion_tokens <= 3 for reply in whole)


def test_log_probs_are_negative_and_count_the_tokens_of_the_target(engine: Any) -> None:
    for score, (_, target) in zip(engine.log_prob(*zip(*PAIRS, strict=True)), PAIRS, strict=True):
        assert isinstance(score, LogProb)
        assert score.total < 0
        assert score.tokens >= len(target.split())


def test_log_probs_of_a_batch_of_one_are_those_of_a_batch_of_many_in_order(engine: Any) -> None:
    pairs = [(chat, target) for chat in CHATS for target in TARGETS]
    together = engine.log_prob([chat for chat, _ in pairs], [target for _, target in pairs])
    for score, (chat, target) in zip(together, pairs, strict=True):
        [alone] = engine.log_prob([chat], [target])
        assert score.tokens == alone.tokens
        assert math.isclose(score.total, alone.total, rel_tol=0, abs_tol=1e-5 * score.tokens)
    assert len({round(score.total, 3) for score in together}) == len(pairs)


def test_a_text_too_long_to_score_fails_alone(engine: Any) -> None:
    one, error, two = engine.log_prob([CHATS[0], LONG, CHATS[1]], ["tea"] * 3)
    assert isinstance(error, RolloutError)
    assert error.reason == "context overflow"
    assert isinstance(one, LogProb)
    assert isinstance(two, LogProb)


def test_targets_must_be_as_many_as_chats(engine: Any) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        engine.log_prob(CHATS, ["tea"])


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_completion_ends_before_a_stop_string(engine: Any, sampling: Sampling) -> None:
    requests = [Request(chat, sampling, index) for chat in CHATS for index in range(3)]
    whole = texts(engine, requests)
    word = max((word for text in whole for word in text.split()), key=lambda word: sum(word in text for text in whole))
    stopped = [replace(request, sampling=replace(sampling, stop=(word, "never said"))) for request in requests]
    assert sum(word in text for text in whole) > 1
    for text, reply in zip(whole, engine.generate(stopped), strict=True):
        assert reply.text == text.partition(word)[0]
        assert word not in text or reply.finish == "stop"


def test_being_asked_how_likely_it_was_changes_no_completion(engine: Any) -> None:
    plain = [Request(chat, SAMPLED, index) for chat in CHATS for index in range(3)]
    asked = [replace(request, sampling=replace(SAMPLED, log_prob=True)) for request in plain]
    silent = engine.generate(plain)
    assert [replace(reply, log_prob=None) for reply in engine.generate(asked)] == silent
    assert all(reply.log_prob is None for reply in silent)
