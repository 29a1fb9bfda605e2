"""What embedded models are made with: tokens that lose nothing, and weights that mean what they say."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import DataError
from sparring.types import Example, assistant, user

torch = pytest.importorskip("torch", reason="a model needs the extra [local]")
small_model = pytest.importorskip("sparring.worlds.small_model")

PIECES = r"\n|\.| ?[^ \n.]+"
TEXTS = ("(1) 7 + 4 = 11.", "(1) 7 + 4 = 12.\n(2) So it is\n\n12.", " 4 = 11 .", "\n\n.. ( 7")
WORDS = [f"{space}{word}" for word in "(1) (2) ( 7 4 11 12 + = So it is".split() for space in ("", " ")]
WORDS += ["\n", ".", " ."]


@pytest.fixture(scope="module")
def lexicon() -> Any:
    return small_model.Lexicon(WORDS, r"\n| ?\.| ?[^ \n.]+", context=64)


def chat(*weights: Any) -> Example:
    return Example([user(TEXTS[0]), assistant(TEXTS[1])], list(weights))


def test_tokens_that_hold_their_space_lose_nothing(lexicon: Any) -> None:
    tokenizer = lexicon.tokenizer()
    for text in TEXTS:
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids, text
        assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer("(1) 7").input_ids) == "(1) 7"


def test_they_lose_nothing_after_a_checkpoint_is_written_and_opened(lexicon: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    lexicon.tokenizer().save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert opened.decode(opened(text).input_ids) == text


def test_a_text_that_the_pieces_do_not_cover_is_unknown_and_not_dropped() -> None:
    tokenizer = small_model.Lexicon(["7"], "7").tokenizer()
    assert tokenizer.unk_token_id in tokenizer("7?7").input_ids


def test_chats_are_encoded_as_the_chat_template_has_them(lexicon: Any) -> None:
    ids, weights = small_model.ChatEncoder(lexicon)(chat(0, 1))
    tokenizer = lexicon.tokenizer()
    assert ids == tokenizer.apply_chat_template(chat(0, 1).messages, return_dict=True)["input_ids"]
    reply = len(tokenizer(TEXTS[1]).input_ids) + 1  # and the end of the turn
    assert weights == [0.0] * (len(ids) - reply) + [1.0] * reply


def test_a_word_that_is_no_token_is_named(lexicon: Any) -> None:
    with pytest.raises(DataError, match="no token ' 99' for '7 99'"):
        small_model.ChatEncoder(lexicon)(Example([user("7 99")], [0.0]))
    with pytest.raises(DataError, match="lost"):
        small_model.ChatEncoder(lexicon)(Example([user("7  4")], [0.0]))


@pytest.fixture(scope="module")
def model(lexicon: Any) -> Any:
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(small_model.Shape(1, 16, 2).config(lexicon)).eval()


def one(lexicon: Any, *weights: Any) -> Any:
    ids, learned = small_model.ChatEncoder(lexicon)(chat(*weights))
    return torch.tensor([ids]), torch.tensor([learned])


def each(model: Any, ids: Any) -> Any:
    """Cross-entropy of every token but the first, by the whole model."""
    logits = model(ids).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")


def test_weights_multiply_the_loss_of_their_tokens_and_are_its_normaliser(lexicon: Any, model: Any) -> None:
    ids, weights = one(lexicon, 0.5, 1.5)
    by_hand = (weights[0, 1:] * each(model, ids)).sum() / weights[0, 1:].sum()
    assert small_model.loss_of(model, ids, weights).item() == pytest.approx(by_hand.item(), rel=1e-6)
    assert small_model.loss_of(model, ids, 3 * weights).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_what_has_weight_zero_is_not_learned_and_one_is_the_plain_mean(lexicon: Any, model: Any) -> None:
    ids, weights = one(lexicon, 0, 1)
    plain = each(model, ids)[weights[0, 1:] == 1].mean()
    assert small_model.loss_of(model, ids, weights).item() == pytest.approx(plain.item(), rel=1e-6)


def test_a_message_of_several_weights_has_each_on_its_own_characters(lexicon: Any) -> None:
    first = TEXTS[1].index("\n")
    _, weights = small_model.ChatEncoder(lexicon)(chat(0, [[first, 0.5], [len(TEXTS[1]) - first, 2]]))
    before = len(lexicon.tokenizer()(TEXTS[1][:first]).input_ids)
    learned = [weight for weight in weights if weight]
    assert learned == [0.5] * before + [2.0] * (len(learned) - before)


def test_batches_pad_without_weight_and_tell_how_many_were_made(lexicon: Any) -> None:
    asked: list[int] = []

    def draw(rng: random.Random, number: int) -> Example:
        asked.append(number)
        return rng.choice([chat(0, 1), Example([user("7"), assistant("4")], [0.0, 1.0])])

    encode = small_model.ChatEncoder(lexicon)
    made = list(small_model.batches(encode, draw, random.Random(0), 2, small_model.POOL + 1))
    assert len(made) == small_model.POOL + 1
    assert asked == [0] * 2 * small_model.POOL + [small_model.POOL] * 2 * small_model.POOL
    for ids, weights in made:
        assert ids.shape == weights.shape == (2, ids.shape[1])
        assert not weights[ids == lexicon.ids[small_model.PAD]].any()


def test_a_model_learns_what_it_is_shown_and_the_same_seed_learns_the_same(lexicon: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    for folder in ("one", "two"):
        small_model.build_model(
            tmp_path / folder,
            lexicon,
            lambda rng, number: chat(0, 1),
            name="test",
            seed=0,
            shape=small_model.Shape(1, 16, 2),
            schedule=small_model.Schedule(steps=60, batch=2, lr=1e-2),
            max_new_tokens=8,
            log=lines.append,
        )
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("one", "two")]
    assert weights[0] == weights[1]
    losses = [line.split("loss ")[1].split()[0] for line in lines if "loss" in line]
    assert losses[0] == losses[1] and float(losses[0]) < 1.0
