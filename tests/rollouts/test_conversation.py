"""A conversation: its three views, what may be said in it, and what of it is learned."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.flow import Role, run
from sparring.rollouts.conversation import Conversation, check_question, check_speaker, converse, is_answer
from sparring.rollouts.situation import Persona, Situation
from sparring.tasks import Task
from sparring.types import Completion, Failure, assistant, user

SITUATION = Situation(
    Task("task-1", "Where should we eat?", "specific", "a"),
    Persona("persona-a-1", "Maya", "I'm MAYA. I keep bees and eat no meat."),
    "Go to the vegan bistro, Maya.",
)
TURNS = (("What do you eat?", "No meat."), ("And what do you spend?", "Little."))
HELD = Conversation(SITUATION, 3, TURNS)


def talk(policy: list[str], user_says: list[str], turns: int) -> tuple[object, list[Request], list[Request]]:
    """Return what came of a conversation, and the requests that each side got."""
    asked: list[Request] = []
    played: list[Request] = []

    def speak(seen: list[Request], words: list[str], request: Request) -> str:
        seen.append(request)
        return words[len(seen) - 1]

    asker = Role("policy", Scripted(lambda r: speak(asked, policy, r)), instructions="Ask, do not answer.")
    player = Role("roleplayer", Scripted(lambda r: speak(played, user_says, r)), instructions="Be {persona} ({task})")
    [result] = run([("one", converse(SITUATION, 7, turns, asker, player))])
    return result, asked, played


# Views


def test_the_policy_asks_after_the_name_the_task_and_what_was_said() -> None:
    assert Conversation(SITUATION, 0).asking() == [user("My name is Maya.\n\nWhere should we eat?")]
    assert HELD.asking() == [
        user("My name is Maya.\n\nWhere should we eat?"),
        assistant("What do you eat?"),
        user("No meat."),
        assistant("And what do you spend?"),
        user("Little."),
    ]


def test_the_roleplayer_sees_the_same_turns_from_the_other_side() -> None:
    assert HELD.playing("When?") == [
        user("What do you eat?"),
        assistant("No meat."),
        user("And what do you spend?"),
        assistant("Little."),
        user("When?"),
    ]


def test_the_repeated_task_after_the_last_reply_is_the_cue_to_answer() -> None:
    assert HELD.answering() == [*HELD.asking()[:-1], user("Little.\n\nWhere should we eat?")]


def test_without_a_turn_the_task_stands_once() -> None:
    assert Conversation(SITUATION, 0).answering() == [user("My name is Maya.\n\nWhere should we eat?")]


def test_a_control_tells_the_persona_between_name_and_task() -> None:
    opening = user("My name is Maya.\n\nI'm MAYA. I keep bees and eat no meat.\n\nWhere should we eat?")
    assert Conversation(SITUATION, 0).answering(SITUATION.persona.text) == [opening]
    assert HELD.answering(SITUATION.persona.text) == [opening, *HELD.answering()[1:]]


def test_looking_at_a_conversation_changes_nothing_in_it() -> None:
    before = HELD.row()
    HELD.answering()[-1]["content"] = "scribbled over"
    HELD.asking()[0]["content"] = "scribbled over"
    assert HELD.row() == before
    assert HELD.asking()[0] == user(SITUATION.request)


# Rollout


def test_questions_and_replies_alternate_for_the_number_of_turns() -> None:
    result, asked, played = talk(["What do you eat?", "How many are you?"], ["Greens.", "Two."], turns=2)
    assert result == Conversation(SITUATION, 7, (("What do you eat?", "Greens."), ("How many are you?", "Two.")))
    assert [len(request.chat) for request in asked] == [2, 4]  # the instruction, then the chat so far
    assert [len(request.chat) for request in played] == [2, 4]


def test_the_policy_is_never_shown_the_persona() -> None:
    _, asked, _ = talk(["What do you eat?", "How many are you?"], ["Greens.", "Two."], turns=2)
    assert "bees" not in json.dumps([request.chat for request in asked])


def test_the_roleplayer_is_told_persona_and_task_and_not_how_the_policy_was_instructed() -> None:
    _, _, played = talk(["What do you eat?"], ["Greens."], turns=1)
    chat = played[0].chat
    assert chat[0]["content"] == "Be I'm MAYA. I keep bees and eat no meat. (Where should we eat?)"
    assert "do not answer" not in json.dumps(chat)


def test_each_of_a_pairs_conversations_is_a_sample_of_its_own_and_the_roleplayer_repeats_itself() -> None:
    _, asked, played = talk(["What do you eat?"], ["Greens."], turns=1)
    assert (asked[0].sample_index, played[0].sample_index) == (7, 0)


@pytest.mark.parametrize(
    "policy, reply, reason",
    [
        (["Take the train."], ["Greens."], "question without a question mark"),
        (["What do you eat?", "what do YOU eat"], ["Greens.", "Greens."], "question without a question mark"),
        (["What do you eat?", "So, what do you eat?", "what do YOU, eat...?"], ["Greens."] * 3, "question repeated"),
        (["What do you eat?\nUser: Greens."], ["Greens."], "question breaks its role"),
        (["What do you eat?"], ["Greens.\nAssistant: Then eat here."], "reply breaks its role"),
        ([""], ["Greens."], "policy said nothing"),
    ],
)
def test_a_turn_off_format_ends_its_conversation_with_a_reason(
    policy: list[str], reply: list[str], reason: str
) -> None:
    result, _, _ = talk(policy, reply, turns=len(policy))
    assert isinstance(result, Failure)
    assert (result.id, result.reason) == ("one", reason)


@pytest.mark.parametrize("finish, reason", [("length", "policy cut off at max_tokens"), ("refused", "policy refused")])
def test_a_question_cut_off_or_refused_is_not_taken_for_a_question(finish: str, reason: str) -> None:
    asker = Role("policy", Scripted(lambda _: Completion("What do you eat?", finish)))  # pyright: ignore
    [result] = run([("one", converse(SITUATION, 0, 1, asker, asker))])
    assert isinstance(result, Failure)
    assert result.reason == reason


def test_a_failed_conversation_leaves_its_neighbours_alone() -> None:
    asker = Role("policy", Scripted(lambda r: "What do you eat?" if r.sample_index else "I refuse to ask."))
    player = Role("roleplayer", Scripted(lambda _: "Greens."))
    results = run([(f"#{i}", converse(SITUATION, i, 1, asker, player)) for i in range(3)])
    assert [isinstance(result, Failure) for result in results] == [True, False, False]


# Checks


@pytest.mark.parametrize(
    "text",
    [
        "What do you like to eat, and when?",
        "You said that your user manual was lost: which one?",
        "Is your AI assistant a help, or a nuisance?",
        "Do you like things simple: one system, one list?",
        "What is it for you: a rest, or a trip?",
        "May I ask about Human Resources: did they agree?",
        "Which of these suits you?\n- a party\n- a dinner",
        "Is your budget < 100, or > 200?",
        "Do you listen to [jazz]?",
        "¿Qué le gusta comer?",
        "您喜欢什么音乐？",
    ],
)
def test_an_ordinary_question_raises_no_alarm(text: str) -> None:
    check_question(text, ["What do you like to drink?"])


@pytest.mark.parametrize(
    "text",
    [
        "I use an AI assistant: it writes my letters.",
        "You know me: I like what I like.\nMy system: none.",
        "Humans are odd. Users, too.",
        "My mother says: you, of all people!",
        "I drive <80 on the motorway, and my code is a|b.",
    ],
)
def test_an_ordinary_reply_raises_no_alarm(text: str) -> None:
    check_speaker(text, "reply")


@pytest.mark.parametrize(
    "text",
    [
        "What?\nUser: nothing",
        "What?\n**User:** nothing",
        "What?\n**User**: nothing",
        "You: nothing. Which?",
        "Human: hello?",
        "  AI Assistant : Which one?",
        "system: obey?",
        "Which?<|im_end|>",
        "Which?<|eot_id|>",
        "Which? [/INST] I like tea.",
        "Which?<end_of_turn>",
    ],
)
def test_a_turn_that_speaks_for_both_sides_or_carries_template_marks_is_refused(text: str) -> None:
    with pytest.raises(RolloutError, match="question breaks its role"):
        check_question(text, [])


def test_a_question_is_repeated_whatever_its_case_and_punctuation() -> None:
    with pytest.raises(RolloutError) as caught:
        check_question("  what do you EAT -- ?", ["Who are you?", "What do you eat?"])
    assert (caught.value.reason, caught.value.detail) == ("question repeated", "  what do you EAT -- ?")


def test_another_question_in_almost_the_same_words_is_another_question() -> None:
    check_question("What do you eat now?", ["What do you eat?"])


# Answers


@pytest.mark.parametrize(
    "text",
    [
        "Take the train.",
        "Take the train",
        "Take the train. Does that help?",
        "Does Tuesday suit you? Then take the 3.15 train!",
        "- Bistro\n- Museum",
        "坐火车去。",
    ],
)
def test_a_text_that_states_something_is_an_answer(text: str) -> None:
    assert is_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "What do you eat?",
        "What do you eat? When?",
        "What do you eat?!",
        '"What do you eat?"',
        "**What do you eat?**",
        "(What do you eat?)",
        "Do you like spices, e.g. chili?",
        "Would 3.5 hours be too long?",
        "Do you know Dr. Ito?",
        "What do you eat?\n\nWhen do you eat?\n",
        "您喜欢什么？",
        "",
        " ... ",
    ],
)
def test_a_text_that_only_asks_back_is_no_answer(text: str) -> None:
    assert not is_answer(text)


WORDS = st.lists(st.from_regex(r"[\w,;'()\-]{1,8}", fullmatch=True), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["?", "??", "?!", "?*", '?"', "？"])), min_size=1, max_size=4))
def test_questions_alone_never_make_an_answer(questions: list[tuple[str, str]]) -> None:
    assert not is_answer(" ".join(words + mark for words, mark in questions))


@given(st.lists(WORDS, max_size=3), st.from_regex(r"[a-z]{2,8}( [a-z]{2,8}){0,4}", fullmatch=True))
def test_a_statement_among_questions_makes_an_answer(questions: list[str], statement: str) -> None:
    assert is_answer(" ".join([*(f"{words}?" for words in questions), f"{statement}."]))


# Rows and examples


def test_a_row_goes_through_json_and_comes_back_as_it_was() -> None:
    row = json.loads(json.dumps(HELD.row()))
    assert Conversation.from_row(row, {SITUATION.id: SITUATION}) == HELD
    assert row["id"] == "task-1 persona-a-1 #3"


def test_the_assistants_words_are_learned_and_the_users_are_not() -> None:
    example = HELD.example("Eat at the vegan bistro.")
    assert example.messages == [*HELD.answering(), assistant("Eat at the vegan bistro.")]
    assert example.weights == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]


def test_an_example_without_an_answer_ends_with_the_last_question() -> None:
    example = HELD.example(None)
    assert example.messages == HELD.asking()[:-1]
    assert example.messages[-1] == assistant("And what do you spend?")
    assert example.weights == [0.0, 1.0, 0.0, 1.0]


def test_a_row_to_learn_from_holds_neither_the_persona_nor_an_instruction() -> None:
    example = HELD.example("Eat at the vegan bistro.")
    assert {message["role"] for message in example.messages} == {"user", "assistant"}
    assert "bees" not in json.dumps(example.messages)


def test_what_scores_a_conversation_is_what_is_trained_on() -> None:
    assert HELD.example("Eat.").messages[:-1] == HELD.answering()


def test_heard_from_another_the_words_change_and_the_user_stays() -> None:
    other = Conversation(SITUATION, 0, (("Who?", "Me."),))
    heard = HELD.heard_from(other)
    assert (heard.situation, heard.index, heard.turns) == (SITUATION, 3, other.turns)
