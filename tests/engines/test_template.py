"""A chat template as token ids, through templates in the shape of five families."""

import logging
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from sparring.engines.template import Template
from sparring.errors import EngineError
from sparring.types import Chat, assistant, system, user
from tests.tiny import CHATML, REWRITING, TEMPLATES, WORDS, tiny_tokenizer

CHAT: Chat = [
    system("you are helpful ."),
    user("hello"),
    assistant("what do you like ?"),
    user("i like tea"),
    assistant("then have tea ."),
]

FAMILIES = sorted(TEMPLATES)
APPENDING = sorted(set(TEMPLATES) - REWRITING)


@cache
def tokenizer(family: str) -> Any:
    return tiny_tokenizer(family=family)


def template(family: str) -> Template:
    return Template(tokenizer(family), family)


def words(of: Template, ids: list[int]) -> list[str]:
    return of.tokenizer.convert_ids_to_tokens(ids)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said once a process must be sayable in each test."""
    monkeypatch.setattr("sparring.engines.template._told", set())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_assistant_span_is_its_words_and_its_end_of_turn_and_nothing_else(family: str) -> None:
    of, end_of_turn = template(family), TEMPLATES[family][1]
    spoken = [words(of, row.ids[start:end]) for row in of.rows(CHAT) for start, end in row.spans if start != end]
    assert spoken == [[*"what do you like ?".split(), end_of_turn], [*"then have tea .".split(), end_of_turn]]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_others_said_has_an_empty_span(family: str) -> None:
    of = template(family)
    chat = of.folded(CHAT)
    for row in of.rows(CHAT):
        for message, (start, end) in zip(chat, row.spans, strict=True):
            assert start == end or message["role"] == "assistant"


@pytest.mark.parametrize("family", APPENDING)
def test_a_chat_is_one_row_that_begins_with_the_very_prompts_that_were_sampled_from(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    of = template(family)
    [row] = of.rows(CHAT)
    assert words(of, row.ids) == words(of, of._encode(of._text(CHAT, cue=False)))
    starts = [start for start, end in row.spans if start != end]
    assert [of.prompt(CHAT[:2]), of.prompt(CHAT[:4])] == [row.ids[:start] for start in starts]
    assert "rewrites" not in caplog.text


@pytest.mark.parametrize("family", sorted(REWRITING))
def test_a_template_that_rewrites_earlier_turns_makes_each_reply_a_row_after_its_own_prompt(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        of = template(family)
        rows = of.rows(CHAT)
    for row, at in zip(rows, (2, 4), strict=True):
        before, reply = of.target(CHAT[:at], CHAT[at]["content"])
        assert before == of.prompt(CHAT[:at]) and row.ids == before + reply
        assert row.spans == [(len(before), len(row.ids)) if turn == at else (0, 0) for turn in range(len(CHAT))]
    assert [record.getMessage() for record in caplog.records] == [
        f"the chat template of '{family}' rewrites earlier turns: each reply is a row of its own"
    ]


def test_a_think_block_is_the_cues_and_never_the_words() -> None:
    of = template("qwen3")
    for at in (2, 4):
        before, reply = of.target(CHAT[:at], CHAT[at]["content"])
        assert words(of, before)[-5:] == ["\n", "\n", "</think>", "\n", "\n"]
        assert words(of, before).count("<think>") == 1 and not {"<think>", "</think>"} & {*words(of, reply)}


def test_words_that_the_template_would_read_as_thoughts_are_learned_as_they_were_sampled() -> None:
    of = template("qwen3")
    chat = [user("hello"), assistant("red </think> tea"), user("hello"), assistant("<think> blue </think> tea")]
    spoken = [words(of, row.ids[start:end]) for row in of.rows(chat) for start, end in row.spans if start != end]
    assert spoken == [["red", "</think>", "tea", "<|im_end|>"], ["<think>", "blue", "</think>", "tea", "<|im_end|>"]]


SAID = st.lists(st.sampled_from([*WORDS, "<think>", "</think>", "\n"]), max_size=8).map(" ".join)


@given(st.sampled_from(FAMILIES), SAID, st.lists(st.tuples(SAID, SAID), min_size=1, max_size=3))
def test_every_reply_of_every_family_follows_its_prompt_down_to_the_token(
    family: str, told: str, turns: list[tuple[str, str]]
) -> None:
    of = template(family)
    chat: Chat = [system(told)]
    expected: list[tuple[list[int], list[int]]] = []
    for question, reply in turns:
        chat.append(user(question))
        before, target = of.target(chat, reply)
        assert before == of.prompt(chat) == of.prompts([chat])[0]
        assert target[-1] == of.tokenizer.convert_tokens_to_ids(TEMPLATES[family][1])
        assert [word for word in words(of, target[:-1]) if word != "\n"] == [
            w for w in of.tokenizer.tokenize(reply) if w != "\n"
        ]
        expected.append((before, target))
        chat.append(assistant(reply))
    learned = [
        (row.ids[:start], row.ids[start:end]) for row in of.rows(chat) for start, end in row.spans if start != end
    ]
    assert learned == expected


# Where a token starts


@given(st.sampled_from(FAMILIES), SAID, SAID, st.sampled_from(["", " ", "\n", " \n\n "]))
def test_every_token_of_every_family_starts_at_its_own_word_of_what_was_sampled(
    family: str, told: str, words_said: str, margin: str
) -> None:
    of, reply = template(family), margin + words_said + margin
    chat = [user(told)]
    _, target = of.target(chat, reply)
    starts = of.starts(chat, reply)
    assert len(starts) == len(target) and starts == sorted(starts) and starts[-1] == len(reply)
    for word, at in zip(words(of, target[:-1]), starts[:-1], strict=True):
        assert reply[at:].startswith(word) or (word == "<unk>" and not reply[at].isspace())


@pytest.mark.parametrize("family", ["llama3", "gemma"])
def test_where_the_template_strips_the_words_are_found_in_what_was_sampled(family: str) -> None:
    of = template(family)
    assert of.starts(CHAT[:2], "\n then  have \n tea \n ") == [2, 8, 13, 15, 21]
    assert words(of, of.target(CHAT[:2], "\n then  have \n tea \n ")[1])[:-1] == ["then", "have", "\n", "tea"]


@cache
def byte_level(trim: bool, family: str) -> Template:
    """A byte-level BPE as GPT-2, Llama 3 (`trim`) and Qwen have it: a token holds the space before its word."""
    inner = Tokenizer(models.BPE())
    runs = Regex(r" ?\p{L}+| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(runs, "isolated"), byte_level])
    inner.post_processor = processors.ByteLevel(trim_offsets=trim)
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[TEMPLATES[family][1]]
    )
    inner.train_from_iterator(["hello tea    then tea.\n\n tea.\n\n"] * 9, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=TEMPLATES[family][1])
    made.chat_template = TEMPLATES[family][0]
    return Template(made, family)


@pytest.mark.parametrize("family", ["chatml", "mistral", "llama3", "qwen3"])
@pytest.mark.parametrize("trim", [True, False])
def test_a_space_in_a_token_is_not_its_start_whether_or_not_the_tokenizer_counts_it(trim: bool, family: str) -> None:
    of, reply = byte_level(trim, family), "hello tea.\n\n then   tea\n\ntea"
    shown = [word.replace("Ġ", " ").replace("Ċ", "\n") for word in words(of, of.target([user("tea")], reply)[1])]
    found = list(zip(shown, of.starts([user("tea")], reply), strict=True))
    assert {(" tea", 6), (" then", 13), (" tea", 20)} <= {*found} and found[-1][1] == len(reply)
    for word, at in found[:-1]:
        lead = at == 0 and word == " "  # of the template, which belongs to the first word
        assert lead or reply[at:].startswith(word.lstrip() or word)


@pytest.mark.parametrize("trim", [True, False])
def test_spaces_alone_start_where_the_word_before_them_ended(trim: bool) -> None:
    of = byte_level(trim, "chatml")
    found = zip(words(of, of.target([user("tea")], "a    tea")[1]), of.starts([user("tea")], "a    tea"), strict=True)
    assert [pair for pair in found if pair[0] != "<|im_end|>"] == [("a", 0), ("ĠĠĠ", 1), ("Ġtea", 5)]


@pytest.mark.parametrize("trim", [True, False])
def test_the_bytes_of_one_character_all_start_where_it_does(trim: bool) -> None:
    of = byte_level(trim, "chatml")
    assert of.starts([user("é")], "é 😀a") == [0, 0, 1, 2, 2, 2, 2, 3, 4]


class Slow(PreTrainedTokenizer):
    """A tokenizer in Python, a token a character: it tells no offsets."""

    def __init__(self, **rest: Any):
        self.characters = [chr(code) for code in range(32, 127)] + ["\n"]
        super().__init__(eos_token="<|im_end|>", **rest)

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def get_vocab(self) -> dict[str, int]:
        return {character: at for at, character in enumerate(self.characters)} | self.added_tokens_encoder

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.characters.index(token)

    def _convert_id_to_token(self, index: int) -> str:
        return self.characters[index]


def test_a_tokenizer_without_offsets_does_all_but_tell_where_a_token_starts() -> None:
    slow = Slow()
    slow.chat_template = CHATML
    of = Template(slow, "slow")
    assert len(of.target([user("a")], "tea")[1]) == 4
    with pytest.raises(EngineError, match="tokenizer of 'slow' does not tell which characters a token stands for"):
        of.starts([user("a")], "tea")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_target_follows_its_prompt_and_ends_its_turn(family: str) -> None:
    of = template(family)
    before, reply = of.target(CHAT[:4], "then have tea .")
    assert before == of.prompt(CHAT[:4])
    assert words(of, reply) == ["then", "have", "tea", ".", TEMPLATES[family][1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_beginning_of_the_text_is_marked_at_most_once(family: str) -> None:
    of = template(family)
    for row in of.rows(CHAT):
        assert words(of, row.ids).count("<s>") == (0 if family in ("chatml", "qwen3") else 1)


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_a_system_message_moves_into_the_first_user_turn_where_it_must(family: str) -> None:
    of = template(family)
    assert of.folded(CHAT) == [user("you are helpful .\n\nhello"), *CHAT[2:]]
    text = words(of, of.rows(CHAT)[0].ids)
    assert text.index("helpful") < text.index("hello")


@pytest.mark.parametrize("family", ["mistral", "gemma"])
def test_folding_is_said_once_however_many_chats_are_folded(family: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sparring"):
        of = template(family)
        for _ in range(3):
            of.rows(CHAT)
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


MARKED = "message['content']", "('three ' if message['role'] == 'assistant' else '') + message['content']"
UNLIKE = "<|im_start|>assistant\\n' }}", "<|im_start|>assistant\\n<think>' }}"
STERN = (
    "{%- if add_generation_prompt %}",
    "{%- if messages | length > 3 %}{{- raise_exception('too long') }}{%- endif %}",
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            MARKED,
            "'odd' does not write a finished reply as its cue and then the words: those of turn 2 cannot be found",
        ),
        (UNLIKE, "'odd' does not write a finished reply as its cue"),
        ((STERN[0], STERN[1] + STERN[0]), "'odd' takes no chat of two turns: too long"),
    ],
    ids=["words between cue and reply", "a cue that no finished turn has", "one question only"],
)
def test_a_template_with_which_no_reply_can_be_learned_is_refused_at_the_door(
    change: tuple[str, str], said: str
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML.replace(*change)
    assert tokenizer.chat_template != CHATML
    with pytest.raises(EngineError, match=said):
        Template(tokenizer, "odd")


def test_a_model_without_a_chat_template_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(EngineError, match="'base' has no chat template"):
        Template(tokenizer, "base")
