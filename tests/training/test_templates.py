"""Masks through the chat templates of common families, on tokenizers to which a space is something."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.engines.template import Template
from sparring.training.rows import Row, encode, encode_pair
from sparring.types import Chat, Example, Pair, assistant, system, user
from tests.training.families import FAMILIES, family_tokenizer

TEMPLATES = {
    name: Template(tokenizer, name, [tokenizer.convert_tokens_to_ids(FAMILIES[name].end_of_turn)])
    for name in FAMILIES
    for tokenizer in [family_tokenizer(name)]
}
CHAT: Chat = [
    system("You are helpful."),
    user("what's up, [/INST] user?"),
    assistant("what do you like,\n\ntea or cake?"),
    user("  i like tea – 茶\n"),
    assistant("then: have   tea.\tModel"),
]
families = pytest.mark.parametrize("family", FAMILIES)


def learned(template: Template, row: Row) -> list[str]:
    """The texts that are learned: of each run of tokens with a weight, one."""
    runs: list[list[int]] = [[]]
    for token, weight in zip(row.ids, row.weights, strict=True):
        if weight:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [template.tokenizer.decode(run) for run in runs if run]


def mask(template: Template, chat: Chat) -> tuple[list[int], list[int]]:
    """Ids, and what the template itself says is the assistant's, by transformers."""
    found: Any = template.tokenizer.apply_chat_template(
        template.folded(chat), return_dict=True, return_assistant_tokens_mask=True
    )
    return found["input_ids"], found["assistant_masks"]


@families
@pytest.mark.parametrize("chat", [CHAT, CHAT[1:]], ids=["system", "none"])
def test_what_is_learned_is_what_the_template_says_the_assistant_says(family: str, chat: Chat) -> None:
    template = TEMPLATES[family]
    weights = [float(message["role"] == "assistant") for message in chat]
    [row] = encode(Example(chat, weights), template, "row 1")
    assert (row.ids, row.weights) == mask(template, chat)
    end, space = FAMILIES[family].end_of_turn, " " if family == "mistral" else ""
    replies = [message["content"] for message in chat if message["role"] == "assistant"]
    assert learned(template, row) == [f"{space}{reply}{end}" for reply in replies]


@families
def test_a_reply_is_learned_after_the_very_ids_that_it_is_sampled_from(family: str) -> None:
    template = TEMPLATES[family]
    for at in (2, 4):
        [row] = encode(Example(CHAT[: at + 1], [0] * at + [1]), template, "row 1")
        prompt = template.prompt(CHAT[:at])
        assert row.ids[: len(prompt)] == prompt
        assert [weight > 0 for weight in row.weights].index(True) == len(prompt)
        pair = encode_pair(Pair(CHAT[:at], CHAT[at]["content"], "cake"), template)
        assert pair.prompt == prompt
        assert pair.prompt + pair.chosen == row.ids[: sum(map(bool, row.weights)) + len(prompt)]
        assert template.tokenizer.decode(pair.rejected).strip() == f"cake{FAMILIES[family].end_of_turn}"


@families
def test_a_piece_of_a_reply_has_its_weight_down_to_the_token(family: str) -> None:
    template, reply = TEMPLATES[family], CHAT[4]["content"]
    cut = reply.index(" tea")
    [row] = encode(Example(CHAT, [0, 0, 0, 0, [[cut, 1], [len(reply) - cut, 2]]]), template, "row 1")
    for weight, text in ((1, reply[:cut]), (2, reply[cut:] + FAMILIES[family].end_of_turn)):
        ids = [token for token, each in zip(row.ids, row.weights, strict=True) if each == weight]
        assert template.tokenizer.decode(ids).strip() == text.strip()


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00▁", exclude_categories=["Cs", "Cc"]), min_size=1)


@families
@settings(max_examples=40, deadline=None)
@given(asked=WORDS, reply=WORDS.filter(lambda words: words == words.strip()))
def test_whatever_is_said_the_mask_is_the_templates_own(family: str, asked: str, reply: str) -> None:
    template = TEMPLATES[family]
    chat = [system("be kind"), user(f"a {asked} b"), assistant(reply), user("and ?"), assistant(f"{reply} .")]
    [row] = encode(Example(chat, [0, 0, 1, 0, 1]), template, "row 1")
    assert (row.ids, row.weights) == mask(template, chat)
