"""What is scored of a conversation, and the controls that say what the score is about."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sparring.rollouts.controls import ceiling, ceiling_and_heard, floor, for_another, heard, rivals, shuffled
from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Persona, Situation
from sparring.tasks import Task
from sparring.types import user

TASKS = [Task(f"task-{t}", f"What about {t}?", "specific", "test") for t in range(1, 5)]
PERSONAS = [Persona(f"persona-{p}", f"Name{p}", f"I'm NAME{p}. My secret is {p}.") for p in range(1, 6)]
SITUATIONS = [Situation(t, p, f"For {p.name}: {t.id}.") for p in PERSONAS for t in TASKS]
CONVERSATIONS = [Conversation(s, i, ((f"Who? {i}", f"{s.persona.id}"),)) for s in SITUATIONS for i in range(3)]


def test_the_target_of_every_condition_is_the_same_response() -> None:
    conversation = CONVERSATIONS[0]
    situation = conversation.situation
    assert {text[1] for text in (heard(conversation), ceiling_and_heard(conversation))} == {situation.oracle}
    assert floor(situation)[1] == ceiling(situation)[1] == situation.oracle


def test_the_floor_knows_the_name_and_the_ceiling_the_persona() -> None:
    situation = SITUATIONS[0]
    assert floor(situation)[0] == [user("My name is Name1.\n\nWhat about 1?")]
    assert ceiling(situation)[0] == [user("My name is Name1.\n\nI'm NAME1. My secret is 1.\n\nWhat about 1?")]


def test_only_the_ceilings_know_the_persona() -> None:
    conversation = CONVERSATIONS[0]
    chats = {
        "heard": heard(conversation)[0],
        "floor": floor(conversation.situation)[0],
        "ceiling": ceiling(conversation.situation)[0],
        "ceiling_and_heard": ceiling_and_heard(conversation)[0],
    }
    assert [name for name, chat in chats.items() if "secret" in json.dumps(chat)] == ["ceiling", "ceiling_and_heard"]
    assert chats["ceiling_and_heard"][1:] == chats["heard"][1:]


def test_shuffled_everybody_hears_another_persona_on_the_same_task_and_keeps_name_and_target() -> None:
    mixed = shuffled(CONVERSATIONS, seed=1)
    assert sorted(c.id for c in mixed) == sorted(c.id for c in CONVERSATIONS)
    turns = {c.turns: c for c in CONVERSATIONS}
    said_by = {c.situation.id: c.turns[0][1] for c in mixed}
    for conversation in mixed:
        assert said_by[conversation.situation.id] != conversation.situation.persona.id
        source = [c for c in CONVERSATIONS if c.turns == conversation.turns]
        assert conversation.situation.task.id in {c.situation.task.id for c in source}
        chat, target = heard(conversation)
        assert chat[0]["content"].startswith(f"My name is {conversation.situation.persona.name}.")
        assert target == conversation.situation.oracle
    assert len(turns) == 15  # a persona's words name it, so that nobody could keep their own unseen


def test_shuffling_is_one_rotation_a_task_so_each_persona_is_heard_as_often_as_it_spoke() -> None:
    for task in TASKS:
        mixed = [c for c in shuffled(CONVERSATIONS, seed=3) if c.situation.task == task]
        ids = [p.id for p in PERSONAS]
        source = {c.situation.persona.id: c.turns[0][1] for c in mixed}
        steps = {(ids.index(heard_of) - ids.index(own)) % len(ids) for own, heard_of in source.items()}
        assert len(steps) == 1 and steps != {0}
        assert set(Counter(c.turns[0][1] for c in mixed).values()) == {3}


def test_shuffling_takes_each_of_the_others_conversations_once() -> None:
    mixed = shuffled(CONVERSATIONS, seed=0)
    assert Counter((c.situation.task.id, c.turns) for c in mixed) == Counter(
        (c.situation.task.id, c.turns) for c in CONVERSATIONS
    )


def test_the_seed_draws_the_rotation_and_the_same_seed_draws_the_same() -> None:
    assert shuffled(CONVERSATIONS, 0) == shuffled(CONVERSATIONS, 0)
    assert any(shuffled(CONVERSATIONS, 0) != shuffled(CONVERSATIONS, seed) for seed in range(1, 5))


def test_a_task_with_one_persona_cannot_be_shuffled_and_is_left_out() -> None:
    alone = [c for c in CONVERSATIONS if c.situation.task.id == "task-1" and c.situation.persona.id == "persona-1"]
    others = [c for c in CONVERSATIONS if c.situation.task.id == "task-2"]
    assert {c.situation.task.id for c in shuffled([*alone, *others], 0)} == {"task-2"}
    assert shuffled(alone, 0) == shuffled([], 0) == []


def test_a_persona_whose_conversations_partly_failed_borrows_and_lends_what_is_there() -> None:
    kept = [c for c in CONVERSATIONS if c.situation.persona.id != "persona-2" or c.index == 0]
    mixed = shuffled(kept, seed=0)
    assert sorted(c.id for c in mixed) == sorted(c.id for c in kept)
    assert all(c.turns[0][1] != c.situation.persona.id for c in mixed)


def test_everybodys_rival_is_another_persona_on_the_same_task() -> None:
    found = rivals(SITUATIONS)
    assert found.keys() == {s.id for s in SITUATIONS}
    for situation in SITUATIONS:
        assert found[situation.id].task == situation.task
        assert found[situation.id].persona != situation.persona
    assert Counter(s.id for s in found.values()) == dict.fromkeys(found, 1)  # each is a rival once


def test_who_is_alone_on_a_task_has_no_rival() -> None:
    assert rivals(SITUATIONS[:1]) == {}


@pytest.mark.parametrize("conversation", CONVERSATIONS[:2])
def test_information_gain_scores_the_rivals_response_after_our_own_conversation(conversation: Conversation) -> None:
    rival = rivals(SITUATIONS)[conversation.situation.id]
    assert for_another(conversation, rival) == (heard(conversation)[0], rival.oracle)
    assert rival.oracle != conversation.situation.oracle
