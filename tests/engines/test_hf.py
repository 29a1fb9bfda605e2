"""The transformers engine against arithmetic written out by hand and against `model.generate`."""

from __future__ import annotations

import json
import logging
import math
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sparring.engines import FORMS, open_engine
from sparring.engines import hf as module
from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.errors import EngineError
from sparring.types import Chat, Completion, LogProb, Sampling, assistant, system, user
from sparring.worlds import concierge
from tests.tiny import TEMPLATES, tiny_model, tiny_tokenizer

CHATS: list[Chat] = [
    [user("hello")],
    [system("you are helpful ."), user("what do you like ?")],
    [user("hello"), assistant("what do you like ?"), user("i like tea and cake")],
    [user("one two three one two three red blue red blue have a nice day then")],
    [user("coffee and tea ?"), assistant("coffee ."), user("then have coffee and cake and a nice day")],
]
TARGETS = ["then have tea .", "i like red cake and blue tea and coffee", "tea", "what ?", "one two three"]

PAIRS = list(zip(CHATS, TARGETS, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> HF:
    return HF(folder, rows=7, device="cpu")


def log_softmax_by_hand(engine: HF, context: list[int], target: list[int]) -> np.ndarray:
    """Log-probs of the target's tokens, from the full logits of this one row in float64, nothing padded."""
    with torch.inference_mode():
        logits = engine.model(input_ids=torch.tensor([[*context, *target]])).logits[0].double().numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.array([log_probs[len(context) + at - 1, token] for at, token in enumerate(target)])


def totals(scores: Iterable[object]) -> list[float]:
    return [score.total for score in scores if isinstance(score, LogProb)]


def generated(engine: HF, chat: Chat, sampling: Sampling, count: int) -> list[str]:
    replies = engine.generate([Request(chat, sampling, index) for index in range(count)])
    return [reply.text for reply in replies if isinstance(reply, Completion)]


def next_probs(engine: HF, chat: Chat, temperature: float = 1.0) -> dict[str, float]:
    """Return the probability of each possible first word, the end of the turn being the empty one."""
    with torch.inference_mode():
        logits = engine.model(input_ids=torch.tensor([engine.template.prompt(chat)])).logits[0, -1].double()
    probs = (logits / temperature).softmax(0).tolist()
    words: Counter[str] = Counter()
    for token, prob in enumerate(probs):
        words[engine.tokenizer.decode([token], skip_special_tokens=True)] += prob
    return dict(words)


# Scoring


@pytest.mark.parametrize("family", sorted(TEMPLATES))
def test_log_probs_equal_a_log_softmax_written_by_hand_in_float64(tmp_path: Path, family: str) -> None:
    engine = HF(tiny_model(tmp_path, family=family), device="cpu")
    chats = [chat for chat in CHATS if family != "mistral" or chat[0]["role"] == "user"]
    pairs = [(chat, target) for chat in chats for target in TARGETS]
    scores = engine.log_prob([chat for chat, _ in pairs], [target for _, target in pairs])
    for (chat, target), score in zip(pairs, scores, strict=True):
        by_hand = log_softmax_by_hand(engine, *engine.template.target(chat, target))
        assert isinstance(score, LogProb)
        assert score.tokens == len(by_hand)
        assert abs(score.total - by_hand.sum()) <= 1e-4 * len(by_hand)


def test_the_end_of_turn_is_scored_with_the_words(engine: HF) -> None:
    context, target = engine.template.target(CHATS[0], "tea")
    assert target == engine.tokenizer.convert_tokens_to_ids(["tea", "<|im_end|>"])
    [score] = engine.log_prob([CHATS[0]], ["tea"])
    assert isinstance(score, LogProb)
    assert score.tokens == 2
    words_alone = log_softmax_by_hand(engine, context, target)[0]
    assert score.total < words_alone - 0.01


def test_the_sum_is_that_of_the_tokens_one_by_one(engine: HF) -> None:
    context, target = engine.template.target(CHATS[2], TARGETS[1])
    with torch.inference_mode():
        steps = [
            engine.model(input_ids=torch.tensor([[*context, *target[:at]]]))
            .logits[0, -1]
            .double()
            .log_softmax(0)[token]
            for at, token in enumerate(target)
        ]
    [score] = engine.log_prob([CHATS[2]], [TARGETS[1]])
    assert totals([score]) == pytest.approx([float(sum(steps))], abs=1e-4 * len(target))


def test_the_side_of_the_padding_does_not_matter(folder: Path, engine: HF) -> None:
    left = HF(folder, rows=7, device="cpu")
    left.tokenizer.padding_side = "left" if engine.tokenizer.padding_side == "right" else "right"
    sampling = Sampling(0.9, 0.9, 8)
    requests = [Request(chat, sampling, index) for chat in CHATS for index in range(2)]
    assert left.log_prob(CHATS, TARGETS) == engine.log_prob(CHATS, TARGETS)
    assert left.generate(requests) == engine.generate(requests)


def test_what_stands_in_the_padding_does_not_matter(engine: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request(chat, Sampling(0.9, 0.9, 8), index) for chat in CHATS for index in range(2)]
    scores, replies = engine.log_prob(CHATS, TARGETS), engine.generate(requests)
    monkeypatch.setattr(engine, "pad", engine.tokenizer.convert_tokens_to_ids("tea"))
    assert totals(engine.log_prob(CHATS, TARGETS)) == pytest.approx(totals(scores), abs=1e-5)
    assert engine.generate(requests) == replies


def test_an_end_of_turn_that_is_also_the_padding_is_still_scored(tmp_path: Path) -> None:
    engine = HF(tiny_model(tmp_path, pad="<|im_end|>"), device="cpu")
    assert engine.pad in engine.ends
    for score, chat, target in zip(engine.log_prob(CHATS, TARGETS), CHATS, TARGETS, strict=True):
        by_hand = log_softmax_by_hand(engine, *engine.template.target(chat, target))
        assert isinstance(score, LogProb)
        assert score.tokens == len(target.split()) + 1 == len(by_hand)
        assert score.total == pytest.approx(by_hand.sum(), abs=1e-4 * len(by_hand))


@pytest.mark.parametrize("at_once", [1, 60, 150])
def test_scores_are_the_same_however_few_tokens_are_read_at_once(
    engine: HF, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    pairs = [(chat, target) for chat in CHATS for target in TARGETS]
    chats, targets = [chat for chat, _ in pairs], [target for _, target in pairs]
    at_leisure = totals(engine.log_prob(chats, targets))
    read: list[torch.Size] = []
    forward = engine.model.forward

    def watching(*args: object, **kwargs: torch.Tensor) -> object:
        read.append(kwargs["input_ids"].shape)
        return forward(*args, **kwargs)

    monkeypatch.setattr(module, "READ_AT_ONCE", at_once)
    monkeypatch.setattr(engine.model, "forward", watching)
    assert totals(engine.log_prob(chats, targets)) == pytest.approx(at_leisure, abs=1e-4)
    assert all(rows == 1 or rows * length <= at_once for rows, length in read)
    assert len(read) > 4


@pytest.mark.parametrize("at_once", [1, 600, 3000])
def test_scores_are_the_same_however_few_logits_fit(engine: HF, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    pairs = [(chat, target) for chat in CHATS for target in TARGETS]
    chats, targets = [chat for chat, _ in pairs], [target for _, target in pairs]
    at_leisure = totals(engine.log_prob(chats, targets))
    held: list[int] = []
    forward = engine.model.forward

    def weighing(*args: object, **kwargs: object) -> object:
        out = forward(*args, **kwargs)
        held.append(out.logits.numel())
        return out

    monkeypatch.setattr(module, "LOGITS_AT_ONCE", at_once)
    monkeypatch.setattr(engine.model, "forward", weighing)
    assert totals(engine.log_prob(chats, targets)) == pytest.approx(at_leisure, abs=1e-4)
    largest_row = max(score.tokens for score in engine.log_prob(chats, targets)) * engine.model.config.vocab_size
    assert max(held) <= max(at_once, largest_row)


def test_only_positions_of_the_target_ever_become_logits(engine: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = engine.model.forward

    def watching(*args: object, **kwargs: object) -> object:
        out = forward(*args, **kwargs)
        shapes.append(tuple(out.logits.shape))
        return out

    monkeypatch.setattr(engine.model, "forward", watching)
    scores = engine.log_prob(CHATS, TARGETS)
    assert shapes == [(sum(score.tokens for score in scores), engine.model.config.vocab_size)]


def test_a_score_that_was_asked_for_leaves_generation_as_it_was(engine: HF) -> None:
    before = generated(engine, CHATS[1], Sampling(max_tokens=6), 1)
    engine.log_prob(CHATS, TARGETS)
    assert generated(engine, CHATS[1], Sampling(max_tokens=6), 1) == before


# Generation


def test_greedy_equals_generate_token_for_token(engine: HF) -> None:
    replies = engine.generate([Request(chat, Sampling(max_tokens=20)) for chat in CHATS])
    for chat, reply in zip(CHATS, replies, strict=True):
        ids = torch.tensor([engine.template.prompt(chat)])
        whole = engine.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
        said = whole[0, ids.shape[1] :].tolist()
        assert isinstance(reply, Completion)
        assert reply.text == engine.tokenizer.decode(said, skip_special_tokens=True)
        assert (reply.prompt_tokens, reply.completion_tokens) == (ids.shape[1], len(said))
        assert (reply.finish == "stop") == (said[-1] in engine.ends)


def test_samples_from_one_prefill_are_those_of_separate_calls(engine: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(1.2, 0.9, 12, seed=3)
    apart = [engine.generate([Request(CHATS[2], sampling, index)])[0] for index in range(6)]
    rows_read: list[int] = []
    forward = engine.model.forward

    def watching(*args: object, **kwargs: torch.Tensor) -> object:
        if kwargs["input_ids"].shape[1] > 1:
            rows_read.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine.model, "forward", watching)
    assert engine.generate([Request(CHATS[2], sampling, index) for index in range(6)]) == apart
    assert rows_read == [1]


def test_a_request_that_is_there_twice_is_spoken_once(engine: HF, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = engine.model.forward

    def watching(*args: object, **kwargs: torch.Tensor) -> object:
        rows.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine.model, "forward", watching)
    replies = engine.generate([Request(CHATS[0], Sampling(1.0, max_tokens=4), 2)] * 5)
    greedy = engine.generate([Request(CHATS[0], Sampling(max_tokens=4), index) for index in range(5)])
    assert len(set(map(repr, replies))) == len(set(map(repr, greedy))) == 1
    assert set(rows) == {1}


@pytest.mark.parametrize("share", [0.0, 0.5, 1.1])
def test_dropping_rows_that_have_ended_changes_no_sample(
    engine: HF, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    requests = [Request(chat, Sampling(1.0, 1.0, 30), index) for chat in CHATS for index in range(6)]
    expected = engine.generate(requests)
    assert len({reply.completion_tokens for reply in expected if isinstance(reply, Completion)}) > 5
    monkeypatch.setattr(module, "COMPACT_BELOW", share)
    assert engine.generate(requests) == expected


def test_rows_in_flight_do_not_change_a_sample(folder: Path, engine: HF) -> None:
    requests = [Request(chat, Sampling(1.1, 0.8, 10), index) for chat in CHATS for index in range(5)]
    assert HF(folder, rows=2, device="cpu").generate(requests) == engine.generate(requests)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampled_words_come_as_often_as_the_softmax_says(engine: HF, temperature: float) -> None:
    n = 4000
    expected = next_probs(engine, CHATS[1], temperature)
    seen = Counter(generated(engine, CHATS[1], Sampling(temperature, 1.0, 1), n))
    common = [word for word, prob in expected.items() if n * prob >= 5]
    chi_square = sum((seen[word] - n * expected[word]) ** 2 / (n * expected[word]) for word in common)
    assert len(common) >= 3
    assert set(seen) <= set(expected)
    assert chi_square < len(common) + 4 * math.sqrt(2 * len(common))


@pytest.mark.parametrize("likeliest", [1, 3, 64])
def test_a_nucleus_is_never_left_and_all_of_it_is_drawn_from(
    engine: HF, monkeypatch: pytest.MonkeyPatch, likeliest: int
) -> None:
    monkeypatch.setattr(module, "LIKELIEST", likeliest)
    probs = torch.tensor([0.4, 0.05, 0.3, 0.15, 0.1]).repeat(5000, 1)
    luck = torch.from_numpy(np.random.default_rng(0).random((5000, 1))).float()
    for top_p, nucleus in [(0.39, {0}), (0.41, {0, 2}), (0.69, {0, 2}), (0.75, {0, 2, 3}), (0.86, {0, 2, 3, 4})]:
        drawn = Counter(module._drawn_from_nucleus(probs, top_p, luck).tolist())
        mass = sum(float(probs[0, token]) for token in nucleus)
        assert set(drawn) == nucleus
        for token in nucleus:
            assert drawn[token] / 5000 == pytest.approx(float(probs[0, token]) / mass, abs=0.03)


def test_a_sample_at_a_small_top_p_stays_within_the_likeliest_words(engine: HF) -> None:
    with torch.inference_mode():
        logits = engine.model(input_ids=torch.tensor([engine.template.prompt(CHATS[3])])).logits[0, -1]
    (first, second), (one, two) = (part.tolist() for part in logits.softmax(0).topk(2))
    seen = set(generated(engine, CHATS[3], Sampling(1.0, first + second / 2, 1), 300))
    assert seen == {engine.tokenizer.decode([token], skip_special_tokens=True) for token in (one, two)}


@pytest.mark.parametrize("luck", [0.0, 1.0 - 2**-24])
def test_the_ends_of_the_unit_interval_draw_tokens_that_can_be_drawn(luck: float) -> None:
    probs, edge = torch.tensor([[0.0, 0.5, 0.25, 0.25, 0.0]]), torch.tensor([[luck]])
    assert module._drawn_from_nucleus(probs, 0.9, edge).item() in {1, 2, 3}
    assert module._drawn(probs, edge).item() in {1, 2, 3}


def test_a_prompt_that_leaves_no_room_fails_and_one_more_token_of_context_is_one_word(tmp_path: Path) -> None:
    engine = HF(tiny_model(tmp_path), device="cpu")
    prompt = len(engine.template.prompt(CHATS[0]))
    for limit, said in [(prompt, None), (prompt + 1, 1)]:
        engine.limit = limit
        [reply] = engine.generate([Request(CHATS[0], Sampling(max_tokens=5))])
        assert (reply.completion_tokens if isinstance(reply, Completion) else None) == said


def test_a_turn_that_ends_with_its_last_allowed_token_was_not_cut_off(engine: HF) -> None:
    requests = [Request(CHATS[0], Sampling(1.0, max_tokens=100), index) for index in range(10)]
    ended = [reply for reply in engine.generate(requests) if isinstance(reply, Completion) and reply.finish == "stop"]
    assert ended
    for index, reply in enumerate(engine.generate(requests)):
        assert isinstance(reply, Completion)
        for allowed in (reply.completion_tokens, reply.completion_tokens - 1):
            [again] = engine.generate([Request(CHATS[0], Sampling(1.0, max_tokens=max(allowed, 1)), index)])
            assert isinstance(again, Completion)
            assert (again.finish == "stop") == (reply.finish == "stop" and max(allowed, 1) == reply.completion_tokens)


def test_a_model_with_learned_positions_does_not_see_the_padding(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    size = {"vocab_size": len(tokenizer), "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    GPT2LMHeadModel(GPT2Config(**size, **ids, initializer_range=0.2)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = HF(tmp_path, device="cpu")
    requests = [Request(chat, Sampling(0.9, 0.9, 8), index) for chat in CHATS for index in range(3)]
    assert engine.generate(requests) == [engine.generate([request])[0] for request in requests]
    by_hand = [log_softmax_by_hand(engine, *engine.template.target(*pair)).sum() for pair in PAIRS]
    assert totals(engine.log_prob(CHATS, TARGETS)) == pytest.approx(by_hand, abs=1e-3)


def test_a_context_of_a_few_tokens_left_cuts_the_reply_there(tmp_path: Path) -> None:
    engine = HF(tiny_model(tmp_path, context=16), device="cpu")
    prompt = len(engine.template.prompt([user("hello")]))
    replies = engine.generate([Request([user("hello")], Sampling(2.0, max_tokens=100), index) for index in range(20)])
    lengths = {reply.completion_tokens for reply in replies if reply.finish == "length"}
    assert lengths == {16 - prompt}


def test_a_template_without_a_system_role_hears_the_instructions_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparring.engines.template._told", set())
    with caplog.at_level(logging.WARNING, "sparring"):
        engine = HF(tiny_model(tmp_path, family="gemma"), device="cpu")
        bare: Chat = [user("what do you like ?")]
        told: Chat = [system("you like tea ."), *bare]
        scores = engine.log_prob([bare, told, [user("you like tea .\n\nwhat do you like ?")]], ["tea"] * 3)
        replies = engine.generate([Request(told), Request([user("you like tea .\n\nwhat do you like ?")])])
    assert scores[1] == scores[2] != scores[0]
    assert replies[0] == replies[1]
    assert len(caplog.records) == 1


# Thinking


def test_without_thinking_an_empty_think_block_is_read_and_neither_spoken_nor_scored(tmp_path: Path) -> None:
    engine = HF(tiny_model(tmp_path, family="qwen3"), device="cpu")
    thoughts = engine.tokenizer.convert_tokens_to_ids(["<think>", "\n", "\n", "</think>", "\n", "\n"])
    prompt = engine.template.prompt(CHATS[2])
    assert prompt[-len(thoughts) :] == thoughts and prompt.count(thoughts[0]) == 1
    [reply] = engine.generate([Request(CHATS[2], Sampling(max_tokens=8))])
    ids = torch.tensor([prompt])
    whole = engine.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=8)
    assert isinstance(reply, Completion)
    assert reply.text == engine.tokenizer.decode(whole[0, len(prompt) :], skip_special_tokens=True)
    assert reply.prompt_tokens == len(prompt)
    [score] = engine.log_prob([CHATS[2]], ["then have tea"])
    words = engine.tokenizer.convert_tokens_to_ids(["then", "have", "tea", "<|im_end|>"])
    assert isinstance(score, LogProb)
    assert score.tokens == 4
    assert score.total == pytest.approx(log_softmax_by_hand(engine, prompt, words).sum(), abs=1e-3)


# At the door


def test_a_model_that_cannot_be_opened_is_one_line_with_its_name(tmp_path: Path) -> None:
    for name in (str(tmp_path), str(tmp_path / "absent"), "nobody/no-such-model"):
        with pytest.raises(EngineError) as caught:
            open_engine(f"hf:{name}")
        assert repr(name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", ["config.json", "tokenizer.json"])
def test_a_model_with_a_damaged_file_is_an_engine_error(tmp_path: Path, broken: str) -> None:
    (tiny_model(tmp_path) / broken).write_text('{"half": ')
    with pytest.raises(EngineError, match="cannot open model"):
        open_engine(f"hf:{tmp_path}")


def test_a_model_with_damaged_weights_is_an_engine_error(tmp_path: Path) -> None:
    weights = tiny_model(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(EngineError, match="cannot open model"):
        open_engine(f"hf:{tmp_path}")


@pytest.mark.parametrize("lacking", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight"])
def test_a_model_whose_weights_are_not_all_there_is_not_opened_with_random_ones(tmp_path: Path, lacking: str) -> None:
    path = tiny_model(tmp_path) / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != lacking}, path, {"format": "pt"})
    with pytest.raises(EngineError, match=f"cannot open model .*: its weights lack {lacking} in the size"):
        open_engine(f"hf:{tmp_path}")


def test_a_weight_of_another_size_is_named(tmp_path: Path) -> None:
    path = tiny_model(tmp_path) / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] = weights["model.norm.weight"][:5].clone()
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(EngineError, match=r"lack model\.norm\.weight in the size that its config says$"):
        open_engine(f"hf:{tmp_path}")


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    path = tiny_model(tmp_path) / "model.safetensors"
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    save_file({name: w for name, w in load_file(path).items() if name != "lm_head.weight"}, path, {"format": "pt"})
    model = HF(tmp_path, device="cpu").model
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)


def test_a_template_with_which_no_reply_can_be_learned_fails_before_anything_is_sampled(tmp_path: Path) -> None:
    template = tiny_model(tmp_path, family="qwen3") / "chat_template.jinja"
    template.write_text(template.read_text().replace("enable_thinking is defined and not enable_thinking", "false"))
    with pytest.raises(EngineError, match="does not write a finished reply as its cue and then the words"):
        HF(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hff:model", "did you mean hf:ID (a folder or a Hub id, in this process)?"),
        ("wrld:concierge/policy", "did you mean world:NAME/ROLE?"),
        ("org/model", "did you mean 'hf:org/model'?"),
        ("hf:", "did you mean hf:ID (a folder or a Hub id, in this process)?"),
        ("gpt", f"an engine is {'; '.join(FORMS.values())}"),
    ],
)
def test_an_unknown_engine_is_told_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(EngineError) as caught:
        open_engine(name)
    assert str(caught.value) == f"unknown engine {name!r}; {hint}"


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match="has no chat template"):
        open_engine(f"hf:{tmp_path}")


def test_random_chats_are_scored_in_order(engine: HF) -> None:
    draw = random.Random(0)
    chats: list[Chat] = [[user(" ".join(["tea"] * draw.randint(1, 60)))] for _ in range(40)]
    targets = [" ".join(["cake"] * draw.randint(1, 20)) for _ in range(40)]
    scores = engine.log_prob(chats, targets)
    assert [score.tokens for score in scores] == [len(target.split()) + 1 for target in targets]
    pairs = [engine.template.target(chat, target) for chat, target in zip(chats, targets, strict=True)]
    expected = [log_softmax_by_hand(engine, context, target).sum() for context, target in pairs]
    assert totals(scores) == pytest.approx(expected, abs=2e-3)


def test_how_likely_a_completion_was_is_what_a_scorer_says_of_it() -> None:
    engine = HF(concierge.MODEL, device="cpu")
    chat = [user("My name is Ada.\n\nWhere should we eat for a birthday?")]
    sampling = Sampling(temperature=0.9, top_p=0.9, max_tokens=24, log_prob=True)
    replies = engine.generate([Request(chat, sampling, index) for index in range(16)])
    scores = engine.log_prob([chat] * 16, [reply.text for reply in replies])
    for reply, score in zip(replies, scores, strict=True):
        assert reply.finish == "stop"
        assert reply.log_prob.tokens == score.tokens
        assert reply.log_prob.total == pytest.approx(score.total, abs=1e-3)
