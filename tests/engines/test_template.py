"""A chat template as token ids, through templates in the shape of four families."""

import logging

import pytest

from sparring.engines.template import Template
from sparring.errors import EngineError
from sparring.types import Chat, assistant, system, user
from tests.tiny import CHATML, TEMPLATES, tiny_tokenizer

CHAT: Chat = [
    system("you are helpful ."),
    user("hello"),
    assistant("what do you like ?"),
    user("i like tea"),
    assistant("then have tea ."),
]

FAMILIES = sorted(TEMPLATES)


def template(family: str) -> Template:
    return Template(tiny_tokenizer(family=family), family)


def words(of: Template, ids: list[int]) -> list[str]:
    return of.tokenizer.convert_ids_to_tokens(ids)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process must be sayable in each test."""
    monkeypatch.setattr("sparring.engines.template._folded", set())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_assistant_span_is_its_words_and_its_end_of_turn_and_nothing_else(family: str) -> None:
    of, end_of_turn = template(family), TEMPLATES[family][1]
    rendered = of.rendered(CHAT)
    spoken = [words(of, rendered.ids[start:end]) for start, end in rendered.spans if start != end]
    assert spoken == [[*"what do you like ?".split(), end_of_turn], [*"then have tea .".split(), end_of_turn]]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_others_said_has_an_empty_span(family: str) -> None:
    of = template(family)
    chat = of.folded(CHAT)
    for message, (start, end) in zip(chat, of.rendered(CHAT).spans, strict=True):
        assert (start == end) == (message["role"] != "assistant")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_begins_with_the_very_prompt_that_was_sampled_from(family: str) -> None:
    of = template(family)
    ids, spans = of.rendered(CHAT).ids, of.rendered(CHAT).spans
    starts = [start for start, end in spans if start != end]
    assert [of.prompt(CHAT[:2]), of.prompt(CHAT[:4])] == [ids[:start] for start in starts]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_target_follows_its_prompt_and_ends_its_turn(family: str) -> None:
    of = template(family)
    before, reply = of.target(CHAT[:4], "then have tea .")
    assert before == of.prompt(CHAT[:4])
    assert words(of, reply) == ["then", "have", "tea", ".", TEMPLATES[family][1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_beginning_of_the_text_is_marked_at_most_once(family: str) -> None:
    of = template(family)
    marks = words(of, of.rendered(CHAT).ids).count("<s>")
    assert marks == (0 if family == "chatml" else 1)


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_a_system_message_moves_into_the_first_user_turn_where_it_must(family: str) -> None:
    of = template(family)
    assert of.folded(CHAT) == [user("you are helpful .\n\nhello"), *CHAT[2:]]
    text = words(of, of.rendered(CHAT).ids)
    assert text.index("helpful") < text.index("hello")


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_folding_is_said_once_however_many_chats_are_folded(family: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sparring"):
        of = template(family)
        for _ in range(3):
            of.rendered(CHAT)
    assert [record.getMessage().count("system message") for record in caplog.records] == [1]


@pytest.mark.parametrize("family", ["chatml", "llama3"])
def test_a_system_message_stays_where_the_template_takes_it(family: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sparring"):
        assert template(family).folded(CHAT) == CHAT
    assert not caplog.records


def test_a_system_message_that_the_template_drops_without_a_word_is_folded_too() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML.replace(
        "for message in messages", "for message in messages if message['role'] != 'system'"
    )
    assert Template(tokenizer, "silent").folded(CHAT)[0] == user("you are helpful .\n\nhello")


def test_a_template_that_rewrites_earlier_turns_is_refused() -> None:
    """As reasoning models do, whose thoughts are shown in the last turn only."""
    tokenizer = tiny_tokenizer()
    marked = "('three ' if loop.last and message['role'] == 'assistant' else '') + message['content']"
    tokenizer.chat_template = CHATML.replace("message['content']", marked)
    with pytest.raises(EngineError, match=r"'forgetful' rewrites earlier turns: the words of turn 3"):
        Template(tokenizer, "forgetful").rendered(CHAT)


def test_a_model_without_a_chat_template_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(EngineError, match="'base' has no chat template"):
        Template(tokenizer, "base")
