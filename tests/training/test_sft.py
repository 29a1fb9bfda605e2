"""Fine-tuning in this process on a tiny model: what is learned, how it is weighed, what is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.engines.template import Template
from sparring.errors import DataError, EngineError, TrainingError
from sparring.training.canary import check_canary, read_canary
from sparring.training.rows import Row, cut, encode, held_out
from sparring.training.settings import LoRASettings, SFTSettings
from sparring.training.sft import collate, fine_tune, steps_of
from sparring.types import Chat, Completion, Example, LogProb, Sampling, assistant, system, user
from tests.tiny import REWRITING, TEMPLATES, tiny_model, tiny_tokenizer
from tests.training.conftest import examples

SETTINGS = SFTSettings(learning_rate=3e-3, batch_size=16, rows_per_device=16, validation_share=0, threads=1)


def ignore(_: dict[str, Any]) -> None:
    """Progress that nobody watches."""


def opened(folder: Path) -> tuple[Template, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Template(AutoTokenizer.from_pretrained(folder), str(folder)), model


def weights(folder: Path) -> dict[str, Tensor]:
    return opened(folder)[1].state_dict()


def by_hand(folder: Path, rows: Sequence[Example]) -> list[tuple[float, float]]:
    """Each learned token's weight and cross-entropy, one row at a time without a pad, in float64."""
    template, model = opened(folder)
    model.double()
    found: list[tuple[float, float]] = []
    for number, example in enumerate(rows):
        for row in encode(example, template, f"row {number}"):
            with torch.no_grad():
                log_probs = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
            found += [(w, -float(log_probs[at - 1, row.ids[at]])) for at, w in enumerate(row.weights) if w]
    return found


class FloatScorer:
    """A scorer of one text at a time, in float64."""

    rounding = 1e-5

    def __init__(self, folder: Path):
        self.template, model = opened(folder)
        self.model = model.double()

    def log_prob(self, chats: Sequence[Chat], targets: Sequence[str]) -> list[LogProb]:
        return [self._one(chat, target) for chat, target in zip(chats, targets, strict=True)]

    def _one(self, chat: Chat, target: str) -> LogProb:
        before, reply = self.template.target(chat, target)
        with torch.no_grad():
            log_probs = self.model(input_ids=torch.tensor([before + reply])).logits[0].log_softmax(-1)
        return LogProb(sum(float(log_probs[len(before) - 1 + at, i]) for at, i in enumerate(reply)), len(reply))


# What is learned


@pytest.mark.parametrize("family", sorted(TEMPLATES))
def test_only_the_assistants_words_and_its_end_of_turn_are_learned_down_to_the_token(family: str) -> None:
    template = Template(tiny_tokenizer(family=family), family)
    chat = [
        system("you are helpful ."),
        user("hello"),
        assistant("what do you like ?"),
        user("tea"),
        assistant("then tea"),
    ]
    rows = encode(Example(chat, [0, 0, 1, 0, 1.5]), template, "row 1")
    assert len(rows) == (2 if family in REWRITING else 1)
    name, end = template.tokenizer.convert_ids_to_tokens, TEMPLATES[family][1]
    learned = [(name(i), weight) for row in rows for i, weight in zip(row.ids, row.weights, strict=True) if weight]
    assert learned == [(t, 1.0) for t in (*"what do you like ?".split(), end)] + [
        (t, 1.5) for t in ("then", "tea", end)
    ]


def test_an_assistant_message_of_weight_nought_is_read_but_not_learned(base: Path) -> None:
    template, _ = opened(base)
    chat = [user("hello"), assistant("what do you like ?"), user("tea"), assistant("then tea")]
    [row] = encode(Example(chat, [0, 0, 0, 1]), template, "row 1")
    assert sum(weight > 0 for weight in row.weights) == 3
    assert row.ids == template.rows(chat)[0].ids


def test_each_reply_is_learned_after_the_ids_it_was_sampled_from_where_the_template_rewrites(tmp_path: Path) -> None:
    engine = HF(tiny_model(tmp_path / "base", family="qwen3"), device="cpu")
    chat: Chat = [system("you are helpful ."), user("hello")]
    sampled: list[list[int]] = []
    for question in ("i like tea", "a nice day", ""):
        heard = engine.generate([Request(chat, Sampling(2.0, max_tokens=20), index) for index in range(300)])
        replies = [r for r in heard if isinstance(r, Completion) and r.finish == "stop" and r.text]
        ids_of = {r.text: engine.tokenizer(r.text, add_special_tokens=False)["input_ids"] for r in replies}
        reply = next(r for r in replies if len(ids_of[r.text]) + 1 == r.completion_tokens)  # no special token left out
        said = ids_of[reply.text]
        assert reply.prompt_tokens == len(engine.template.prompt(chat))
        sampled.append([*engine.template.prompt(chat), *said, engine.tokenizer.eos_token_id])
        chat = [*chat, assistant(reply.text), user(question)]
    example = Example(chat[:-1], [0, 0, 0.5, 0, 0, 0, 2])
    rows = encode(example, engine.template, "row 1")
    assert [row.ids for row in rows] == [sampled[0], sampled[2]]
    scores = engine.log_prob([chat[:2], chat[:6]], [chat[2]["content"], chat[6]["content"]])
    for row, score, weight in zip(rows, scores, (0.5, 2), strict=True):
        assert isinstance(score, LogProb)
        context = len(row.ids) - score.tokens
        assert row.weights == [0.0] * context + [weight] * score.tokens


def test_a_model_whose_template_rewrites_is_trained_reported_and_handed_over_by_rows_of_one_reply(
    tmp_path: Path,
) -> None:
    base = tiny_model(tmp_path / "base", family="qwen3")
    report = fine_tune(str(base), examples(16), tmp_path / "out", 0, replace(SETTINGS, batch_size=32), ignore)
    assert (report["rows"]["train"], report["lengths"]["rows"], report["steps"]) == (32, 32, 1)
    found = by_hand(base, examples(16))
    expected = sum(weight * loss for weight, loss in found) / sum(weight for weight, _ in found)
    assert report["curve"][0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert [c.target for c in read_canary(tmp_path / "out")] == [e.messages[-1]["content"] for e in examples(4)]
    check_canary(tmp_path / "out", HF(tmp_path / "out", device="cpu"))


@pytest.mark.parametrize("family", sorted(TEMPLATES))
def test_a_token_has_the_weight_of_the_piece_it_starts_in_and_the_end_of_turn_that_of_the_last(family: str) -> None:
    template = Template(tiny_tokenizer(family=family), family)
    chat = [
        system("you are helpful ."),
        user("hello"),
        assistant("what do you like ?"),
        user("tea"),
        assistant("then tea"),
    ]
    # The first piece ends inside "do", which it therefore has whole; an empty piece has nothing.
    pieces = [[6, 0.5], [0, 9], [8, 0], [4, 2]]
    rows = encode(Example(chat, [0, 0, pieces, 0, [[5, 0], [3, 1.5]]]), template, "row 1")
    name, end = template.tokenizer.convert_ids_to_tokens, TEMPLATES[family][1]
    learned = [(name(i), weight) for row in rows for i, weight in zip(row.ids, row.weights, strict=True) if weight]
    assert learned == [("what", 0.5), ("do", 0.5), ("?", 2), (end, 2), ("tea", 1.5), (end, 1.5)]


def test_pieces_of_one_weight_are_that_weight(base: Path) -> None:
    template, _ = opened(base)
    for row in examples(8):
        said = len(row.messages[4]["content"])
        whole = encode(replace(row, weights=[0, 0, 1, 0, 1.5]), template, "")
        assert encode(replace(row, weights=[0, 0, 1, 0, [[5, 1.5], [said - 5, 1.5]]]), template, "") == whole


def test_pieces_that_are_not_of_their_message_are_refused_before_training(base: Path, tmp_path: Path) -> None:
    rows = [*examples(3), Example([user("hello"), assistant("tea")], [0, [[2, 1]]])]
    with pytest.raises(DataError, match="row 4: pieces of 2 characters in all on a message of 3"):
        fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)
    rows[3] = Example([user("hello"), assistant("tea")], [0, [[1, 0], [2, 0]]])
    with pytest.raises(TrainingError, match="row 4 has no token to learn"):
        fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)


def test_a_part_of_weight_nought_is_read_and_not_learned_where_the_rest_is(base: Path, tmp_path: Path) -> None:
    chat = [user("hello"), assistant("three blue cake and tea")]
    settings = replace(SETTINGS, epochs=30, schedule="constant")
    sure: dict[str, list[float]] = {}
    for name, weight in (("part", [[10, 0.0], [13, 1.0]]), ("whole", 1.0)):
        fine_tune(str(base), [Example(chat, [0, weight])] * 16, tmp_path / name, 0, settings, ignore)
        template, model = opened(tmp_path / name)
        before, reply = template.target(chat[:1], chat[1]["content"])
        with torch.no_grad():
            probs = model(input_ids=torch.tensor([before + reply])).logits[0].softmax(-1)
        sure[name] = [float(probs[len(before) - 1 + at, i]) for at, i in enumerate(reply)]
    assert max(sure["part"][:2]) < 0.5 < 0.9 < min(sure["part"][2:])
    assert min(sure["whole"]) > 0.9


def test_a_row_with_nothing_to_learn_is_an_error_that_names_it(base: Path, tmp_path: Path) -> None:
    rows = [*examples(3), Example([user("hello"), assistant("tea")], [0, 0])]
    with pytest.raises(TrainingError, match="row 4 has no token to learn"):
        fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)


def test_no_gradient_comes_from_a_prediction_of_the_users_words_or_of_a_pad(base: Path, tmp_path: Path) -> None:
    report = fine_tune(str(base), examples(16), tmp_path / "out", 0, replace(SETTINGS, rows_per_device=4), ignore)
    template, model = opened(base)
    rows = [row for example in examples(16) for row in encode(example, template, "")]
    total = torch.tensor(0.0, dtype=torch.double)
    model.double()
    for row in rows:
        log_probs = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        for at, weight in enumerate(row.weights):
            if weight:
                total = total - weight * log_probs[at - 1, row.ids[at]]
    (total / sum(weight for row in rows for weight in row.weights)).backward()
    squares = [parameter.grad.square().sum() for parameter in model.parameters()]
    assert report["curve"][0]["grad_norm"] == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-4)


def test_the_end_of_turn_stays_seen_and_learned_where_it_is_also_the_pad(tmp_path: Path) -> None:
    """The published code masked the pad id out of attention, and with it every real end-of-turn."""
    folder = tiny_model(tmp_path / "padded", pad="<|im_end|>")
    template, _ = opened(folder)
    end = template.tokenizer.eos_token_id
    assert template.tokenizer.pad_token_id == end
    rows = [row for example in examples(16) for row in encode(example, template, "")]
    batch = collate(rows)
    assert ((batch["weights"] > 0) & (batch["input_ids"] == end)).sum() == 2 * len(rows)
    report = fine_tune(str(folder), examples(16), tmp_path / "out", 0, SETTINGS, ignore)
    found = by_hand(folder, examples(16))
    expected = sum(weight * loss for weight, loss in found) / sum(weight for weight, _ in found)
    assert report["curve"][0]["loss"] == pytest.approx(expected, rel=1e-5)


# How it is weighed


def test_weights_of_one_give_plain_cross_entropy(base: Path, tmp_path: Path) -> None:
    rows = [replace(example, weights=[0, 0, 1, 0, 1]) for example in examples(16)]
    report = fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)
    losses = [loss for _, loss in by_hand(base, rows)]
    assert report["curve"][0]["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("normaliser", ["weights", "tokens"])
def test_a_weighted_loss_is_divided_by_its_normaliser(base: Path, tmp_path: Path, normaliser: Any) -> None:
    settings = replace(SETTINGS, normaliser=normaliser, rows_per_device=4)
    report = fine_tune(str(base), examples(16), tmp_path / "out", 0, settings, ignore)
    found = by_hand(base, examples(16))
    below = sum(weight for weight, _ in found) if normaliser == "weights" else len(found)
    assert report["curve"][0]["loss"] == pytest.approx(sum(w * loss for w, loss in found) / below, rel=1e-5)


def in_pieces(count: int) -> list[Example]:
    """Rows in the manner of TriPosT: an attempt of weight 1, and feedback of which the verdict weighs 1.5."""
    rows: list[Example] = []
    for at, row in enumerate(examples(count)):
        said = len(row.messages[4]["content"])
        rows.append(replace(row, weights=[0, 0, 1, 0, [[5, 0.0 if at % 3 else 1.0], [said - 5, 1.5]]]))
    return rows


@pytest.mark.parametrize("normaliser", ["weights", "tokens"])
@pytest.mark.parametrize("rows_per_device", [16, 2])
def test_the_loss_of_pieces_is_that_of_a_hand_computation_and_pads_are_in_neither_sum(
    base: Path, tmp_path: Path, normaliser: Any, rows_per_device: int
) -> None:
    """L = sum m w ce / sum m w, or as published / sum m; m is 1 on what is learned. The published m was 1 on pads."""
    settings = replace(SETTINGS, normaliser=normaliser, rows_per_device=rows_per_device)
    report = fine_tune(str(base), in_pieces(16), tmp_path / "out", 0, settings, ignore)
    template, model = opened(base)
    model.double()
    above, weights_below, tokens_below = 0.0, 0.0, 0
    for example in in_pieces(16):
        pieces: Any = example.weights[4]
        for at, heavy in ((2, []), (4, [5])):
            before, reply = template.target(example.messages[:at], example.messages[at]["content"])
            with torch.no_grad():
                log_probs = model(input_ids=torch.tensor([before + reply])).logits[0].log_softmax(-1)
            for place, token in enumerate(reply):  # of the answer, "then " is the first piece: one token
                weight = (pieces[0][1] if place == 0 else 1.5) if heavy else 1.0
                above -= weight * float(log_probs[len(before) - 1 + place, token])
                weights_below, tokens_below = weights_below + weight, tokens_below + (weight > 0)
    below = {"weights": weights_below, "tokens": tokens_below}[normaliser]
    assert weights_below != tokens_below
    assert report["curve"][0]["loss"] == pytest.approx(above / below, rel=1e-5)
    assert report["lengths"]["learned_tokens"] == tokens_below


def test_every_end_of_turn_is_learned_and_no_pad_is(base: Path) -> None:
    template, _ = opened(base)
    rows = [row for example in in_pieces(16) for row in encode(example, template, "")]
    batch = collate(rows)
    pads = torch.arange(batch["input_ids"].shape[1]) >= torch.tensor([[row.tokens] for row in rows])
    ends = (batch["input_ids"] == template.tokenizer.eos_token_id) & ~pads
    assert sorted({*batch["weights"][ends].tolist()}) == [0, 1, 1.5]
    assert ((batch["weights"] > 0) & ends).sum() == 2 * 16  # those of the user and the system are not
    assert not batch["weights"][pads].any() and pads.any()


def test_accumulating_two_of_sixteen_equals_a_batch_of_thirty_two(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, batch_size=32, epochs=2)
    runs = {}
    for rows in (32, 16, 1):
        report = fine_tune(
            str(base), examples(72), tmp_path / f"{rows}", 0, replace(settings, rows_per_device=rows), ignore
        )
        assert report["steps"] == 6  # 32 + 32 + 8 rows, twice
        runs[rows] = [point["loss"] for point in report["curve"]], weights(tmp_path / f"{rows}")
    for rows in (16, 1):
        assert runs[rows][0] == pytest.approx(runs[32][0], rel=1e-5)
        for name, weight in runs[32][1].items():
            torch.testing.assert_close(runs[rows][1][name], weight, rtol=1e-3, atol=1e-5)


def test_held_out_rows_are_drawn_by_the_seed_and_never_trained_on() -> None:
    rows = [Row([at, at], [0, 1]) for at in range(100)]
    train, held = held_out(rows, 0.05, seed=3)
    assert len(held) == 5 and sorted(row.ids[0] for row in train + held) == list(range(100))
    assert held_out(rows, 0.05, seed=3) == (train, held) and held_out(rows, 0.05, seed=4)[1] != held
    assert held_out(rows[:1], 0.9, seed=0)[1] == []


def test_the_validation_loss_is_that_of_all_held_out_tokens_together(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, validation_share=0.3, rows_per_device=4)
    rows = examples(30)
    report = fine_tune(str(base), rows, tmp_path / "out", 5, settings, ignore)
    assert report["rows"] == {"train": 21, "validation": 9}
    template, _ = opened(base)
    encoded = [row for example in rows for row in encode(example, template, "")]
    _, held = held_out(encoded, 0.3, 5)
    found = by_hand(tmp_path / "out", [rows[encoded.index(row)] for row in held])
    expected = sum(weight * loss for weight, loss in found) / sum(weight for weight, _ in found)
    assert report["curve"][-1]["validation_loss"] == pytest.approx(expected, rel=1e-5)


# What is cut, and what is refused


def test_rows_that_lose_their_end_are_counted() -> None:
    rows = [Row([1] * length, [0.0] * 4 + [1.0] * (length - 4)) for length in range(6, 26)]
    kept, report = cut(rows, SFTSettings(max_length=20, max_truncated=0.3))
    assert (report.rows, report.min, report.median, report.p95, report.max) == (20, 6, 15.5, 24, 25)
    assert (report.truncated, report.truncated_share, report.emptied) == (5, 0.25, 0)
    assert max(len(row.ids) for row in kept) == 20
    assert report.learned_tokens == sum(len(row.ids) - 4 for row in kept)


def test_too_many_rows_that_lose_their_end_are_refused_with_the_share_and_the_bound() -> None:
    rows = [Row([1] * length, [0.0] * 4 + [1.0] * (length - 4)) for length in range(6, 26)]
    said = r"5 of 20 training rows \(25.0%\) are longer than max_length = 20 tokens, above max_truncated = 5.0%"
    with pytest.raises(TrainingError, match=said):
        cut(rows, SFTSettings(max_length=20))


def test_a_row_that_loses_all_there_was_to_learn_is_left_out_and_counted() -> None:
    rows = [Row([1] * 8, [0.0] * 4 + [1.0] * 4), Row([1] * 40, [0.0] * 30 + [1.0] * 10)]
    kept, report = cut(rows, SFTSettings(max_length=20, max_truncated=0.5))
    assert kept == rows[:1] and (report.truncated, report.emptied) == (1, 1)
    with pytest.raises(TrainingError, match="no training row has a token to learn within max_length = 20"):
        cut(rows[1:], SFTSettings(max_length=20, max_truncated=1))


def test_a_row_that_is_too_long_is_neither_dropped_nor_cut_in_silence(base: Path, tmp_path: Path) -> None:
    """The published code left out rows of more than 1,024 tokens without a word."""
    rows = in_pieces(15)
    said = " ".join(["tea"] * 120)
    rows.append(Example([user("hello"), assistant(said)], [0, [[100, 1], [len(said) - 100, 1.5]]]))
    with pytest.raises(TrainingError, match=r"1 of 16 training rows \(6.2%\) are longer than max_length = 110 tokens"):
        fine_tune(str(base), rows, tmp_path / "out", 0, replace(SETTINGS, max_length=110), ignore)
    settings = replace(SETTINGS, max_length=110, max_truncated=0.1)
    report = fine_tune(str(base), rows, tmp_path / "out", 0, settings, ignore)
    assert report["rows"]["train"] == report["lengths"]["rows"] == 16
    assert (report["lengths"]["truncated"], report["lengths"]["emptied"]) == (1, 0)


# How long it is trained


def test_tokens_are_counted_without_pads_and_over_all_epochs(base: Path, tmp_path: Path) -> None:
    template, _ = opened(base)
    held = sum(len(row.ids) for example in examples(20) for row in encode(example, template, ""))
    for rows in (16, 4):
        settings = replace(SETTINGS, epochs=3, rows_per_device=rows)
        report = fine_tune(str(base), examples(20), tmp_path / f"{rows}", 0, settings, ignore)
        assert (report["steps"], report["tokens"]) == (6, 3 * held)


def test_half_an_epoch_is_half_of_the_steps(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, batch_size=4, rows_per_device=2)
    whole = fine_tune(str(base), examples(32), tmp_path / "whole", 0, settings, ignore)
    half = fine_tune(str(base), examples(32), tmp_path / "half", 0, replace(settings, epochs=0.5), ignore)
    longer = fine_tune(str(base), examples(32), tmp_path / "longer", 0, replace(settings, epochs=1.25), ignore)
    assert (whole["steps"], half["steps"], longer["steps"]) == (8, 4, 10)
    assert half["tokens"] < whole["tokens"] < longer["tokens"]


def test_as_many_tokens_go_through_the_model_as_were_asked_for_to_the_nearest_steps(base: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, batch_size=4, rows_per_device=4, epochs=100, validation_share=0.2)
    for rows in (20, 60):
        for tokens in (700, 2500):
            out = tmp_path / f"{rows}-{tokens}"
            report = fine_tune(str(base), examples(rows), out, 0, replace(settings, tokens=tokens), ignore)
            a_step = report["tokens"] / report["steps"]
            assert abs(report["tokens"] - tokens) < 2 * a_step
            assert report["curve"][-1]["validation_loss"] > 0  # also where an epoch is not finished


def test_the_tokens_are_those_of_the_rows_as_they_are_cut() -> None:
    rows = [Row([1] * 10, [0.0, *[1.0] * 9])] * 40
    assert [steps_of(rows, SFTSettings(batch_size=4, tokens=count)) for count in (1, 40, 41, 400, 4000)] == [
        *(1, 1, 2, 10, 100)
    ]
    assert (
        steps_of(rows, SFTSettings(batch_size=4, epochs=0.7)) == 7
        and steps_of(rows * 10, SFTSettings(batch_size=4, epochs=0.07)) == 7
    )
    assert [steps_of(rows, SFTSettings(batch_size=4, epochs=epochs)) for epochs in (0.01, 1, 1.1, 2.5)] == [
        1,
        10,
        11,
        25,
    ]


def test_lengths_are_told_before_training(base: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    report = fine_tune(str(base), examples(20), tmp_path / "out", 0, SETTINGS, events.append)
    assert events[0] == {"lengths": report["lengths"]} and report["lengths"]["rows"] == 20
    assert [(event["step"], event["of"]) for event in events[1:]] == [(1, 2), (2, 2)]


def test_a_row_longer_than_the_models_context_is_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "short", context=24)
    with pytest.raises(TrainingError, match=r"a row of \d+ tokens does not fit the 24 of model"):
        fine_tune(str(folder), examples(8), tmp_path / "out", 0, SETTINGS, ignore)


def test_a_model_id_that_nobody_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot open model 'nobody/nothing': "):
        fine_tune("nobody/nothing", examples(8), tmp_path / "out", 0, SETTINGS, ignore)


def test_no_rows_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no rows to train on"):
        fine_tune(str(base), [], tmp_path / "out", 0, SETTINGS, ignore)


# What comes out


def test_a_run_of_one_step_learns_something(base: Path, tmp_path: Path) -> None:
    fine_tune(str(base), examples(8), tmp_path / "out", 0, SETTINGS, ignore)
    assert sum(loss for _, loss in by_hand(tmp_path / "out", examples(8))) < sum(
        loss for _, loss in by_hand(base, examples(8))
    )


def test_the_seed_draws_the_order_of_the_rows(base: Path, tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        fine_tune(str(base), examples(48), tmp_path / name, seed, SETTINGS, ignore)
    first, again, other = (weights(tmp_path / name)["lm_head.weight"] for name in ("first", "again", "other"))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_recomputing_activations_changes_nothing(base: Path, tmp_path: Path) -> None:
    for name in (False, True):
        settings = replace(SETTINGS, gradient_checkpointing=name)
        fine_tune(str(base), examples(32), tmp_path / str(name), 0, settings, ignore)
    for name, weight in weights(tmp_path / "False").items():
        torch.testing.assert_close(weights(tmp_path / "True")[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
@pytest.mark.parametrize("lora", [None, LoRASettings(r=4, alpha=64)])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_checkpoint_opens_as_a_plain_model_that_holds_the_trained_weights(
    base: Path, tmp_path: Path, lora: LoRASettings | None, bf16: bool
) -> None:
    if lora:
        pytest.importorskip("peft")
    out = tmp_path / "out"
    fine_tune(str(base), examples(48), out, 0, replace(SETTINGS, lora=lora, bf16=bf16, epochs=2), ignore)
    names = {path.name for path in out.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "generation_config.json", "canary.json"} <= names
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pkl")) or name.startswith("adapter_")}
    assert ("adapter" in names) == (lora is not None)
    assert opened(out)[0].tokenizer.chat_template == opened(base)[0].tokenizer.chat_template
    assert weights(out).keys() == weights(base).keys()
    check_canary(out, FloatScorer(out))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT's own
def test_what_was_merged_stands_beside_the_model_as_an_adapter_of_its_base(base: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    for name in ("out", "again"):
        settings = replace(SETTINGS, lora=LoRASettings(r=4, alpha=64), epochs=2)
        fine_tune(str(base), examples(48), tmp_path / name, 0, settings, ignore)
    adapter, again = tmp_path / "out" / "adapter", tmp_path / "again" / "adapter"
    assert {path.name for path in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    for path in adapter.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert str(tmp_path) not in (adapter / "adapter_config.json").read_text()
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == base.name
    template, plain = opened(base)
    ids = torch.tensor([template.rows(examples(1)[0].messages)[0].ids])
    with torch.no_grad():
        untrained = plain(input_ids=ids).logits
        merged = opened(tmp_path / "out")[1](input_ids=ids).logits
        adapted = peft.PeftModel.from_pretrained(plain, adapter)(input_ids=ids).logits
    torch.testing.assert_close(adapted, merged, rtol=1e-4, atol=1e-5)
    assert (untrained - merged).abs().max() > 0.1


def test_a_sampler_with_other_weights_is_found_out(base: Path, tmp_path: Path) -> None:
    fine_tune(str(base), examples(32), tmp_path / "out", 0, replace(SETTINGS, epochs=2), ignore)
    with pytest.raises(TrainingError, match="does not hold the weights that were trained"):
        check_canary(tmp_path / "out", FloatScorer(base))


def test_a_canary_is_the_last_thing_the_assistant_said(base: Path, tmp_path: Path) -> None:
    rows = examples(8)
    fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)
    canaries = read_canary(tmp_path / "out")
    assert [[*c.chat, assistant(c.target)] for c in canaries] == [row.messages for row in rows[:4]]
    assert all(canary.total < 0 and canary.tokens > 3 for canary in canaries)


def test_a_canary_is_never_of_a_reply_whose_pieces_all_weigh_nothing(base: Path, tmp_path: Path) -> None:
    rows = [
        replace(row, weights=[0, 0, [[4, 0], [14, 1]], 0, [[len(row.messages[4]["content"]), 0]]])
        for row in examples(4)
    ]
    fine_tune(str(base), rows, tmp_path / "out", 0, SETTINGS, ignore)
    assert {canary.target for canary in read_canary(tmp_path / "out")} == {"what do you like ?"}
    check_canary(tmp_path / "out", FloatScorer(tmp_path / "out"))


def test_a_folder_that_no_job_wrote_has_no_canary(base: Path) -> None:
    with pytest.raises(TrainingError, match=r"canary.json is missing"):
        read_canary(base)
