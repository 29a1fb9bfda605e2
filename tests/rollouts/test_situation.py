"""Personas and the oracle's responses, and what a refusal costs."""

from __future__ import annotations

import json

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.flow import Role, run
from sparring.rollouts.situation import (
    Persona,
    Situation,
    check_content,
    first_name,
    oracle_response,
    write_persona,
)
from sparring.tasks import Task
from sparring.types import Completion, Failure, Sampling, user

TASK = Task("task-1", "Where should we eat?", "specific", "a")
MAYA = Persona("persona-a-1", "Maya", "I'm MAYA. I keep bees.")
ADA = Persona("persona-a-2", "Ada", "I am Ada. I say unspeakable things.")


@pytest.mark.parametrize(
    "text, name",
    [
        ("I'm MAYA ORTIZ. I keep bees.", "Maya"),
        ("I’m MAYA.", "Maya"),
        ("I am Ada. I like tea.", "Ada"),
        ("Meet Jo. He sails.", "Jo"),
        ("My name is DeShawn, and I sail.", "DeShawn"),
        ("This is Tomás. He sails.", "Tomás"),
        ("I'm ÉLODIE.", "Élodie"),
        ("I'm E\u0301LODIE.", "Élodie"),
        ("I'm ØYVIND HAMSUN.", "Øyvind"),
        ("I'm JEAN-LUC PICARD.", "Jean-Luc"),
        ("I'm O'BRIEN.", "O'Brien"),
        ("I'm 美咲.", "美咲"),
        ('"I\'m MAYA. I keep bees."', "Maya"),
        ("**I'm MAYA.** I keep bees.", "Maya"),
        ("I'm **MAYA ORTIZ**.", "Maya"),
        ("\nI'm MAYA.", "Maya"),
        ("i'm MAYA.", "Maya"),
    ],
)
def test_the_first_name_is_read_from_the_opening(text: str, name: str) -> None:
    assert first_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "I keep bees.", "I'm a nurse.", "I'm 42.", "I'm", "He met Jo.", "I am the captain.", "Imagine Ada."],
)
def test_an_opening_that_names_nobody_gives_none(text: str) -> None:
    assert first_name(text) is None


def test_what_the_author_writes_is_the_persona() -> None:
    seen: list[Request] = []

    def author(request: Request) -> str:
        seen.append(request)
        return "  I'm JO. I sail.  "

    role = Role("author", Scripted(author), Sampling(1.4, 0.9))
    [persona] = run([("p", write_persona("p", 4, role, "Like I'm A {b}.", set()))])
    assert persona == Persona("p", "Jo", "I'm JO. I sail.")
    assert seen[0].chat == [user("Like I'm A {b}.")]
    assert seen[0].sample_index == 4


def test_a_persona_without_a_name_is_a_failure_and_the_others_are_written() -> None:
    texts = ["I'm JO. I sail.", "Somebody who sails.", "I'm ED. I sail."]
    author = Role("author", Scripted(lambda r: texts[r.sample_index]))
    taken: set[str] = set()
    flows = [(f"p{i}", write_persona(f"p{i}", i, author, "Write.", taken)) for i in range(3)]
    results = run(flows)
    assert results[1] == Failure("p1", "persona without a first name", "Somebody who sails.")
    assert [result.id for result in results] == ["p0", "p1", "p2"]
    assert [isinstance(result, Persona) for result in results] == [True, False, True]


def test_a_persona_written_twice_counts_once() -> None:
    author, taken = Role("author", Scripted(lambda r: "I'm JO. I sail.")), set[str]()
    results = run([(f"p{i}", write_persona(f"p{i}", i, author, "Write.", taken)) for i in range(2)])
    assert results == [Persona("p0", "Jo", "I'm JO. I sail."), Failure("p1", "persona repeated", "I'm JO. I sail.")]


def refusing(request: Request) -> Completion:
    if "unspeakable" in request.chat[0]["content"]:
        return Completion("Content filter: hate.", "refused")
    return Completion("Gladly.")


def test_a_persona_that_the_provider_refuses_is_left_out_with_its_words() -> None:
    oracle = Role("oracle", Scripted(refusing))
    results = run([(p.id, check_content(p, oracle, "About {persona}")) for p in (MAYA, ADA)])
    assert results == [MAYA, Failure(ADA.id, "oracle refused", "Content filter: hate.")]


def test_a_refused_pair_costs_that_pair_alone_and_no_placeholder_takes_its_place() -> None:
    oracle = Role("oracle", Scripted(refusing))
    other = Task("task-2", "Who wrote Emma?", "general", "a")
    pairs = [(task, persona) for persona in (ADA, MAYA) for task in (TASK, other)]
    results = run([(f"{t.id} {p.id}", oracle_response(t, p, oracle, "{persona} asks {task}")) for t, p in pairs])
    assert [type(result) for result in results] == [Failure, Failure, Situation, Situation]
    # The published code spread one refusal's text over the rows that followed.
    assert results[2:] == [Situation(TASK, MAYA, "Gladly."), Situation(other, MAYA, "Gladly.")]


def test_the_oracle_sees_the_whole_persona_and_the_task() -> None:
    echo = Role("oracle", Scripted(lambda request: request.chat[0]["content"]))
    [situation] = run([("s", oracle_response(TASK, MAYA, echo, "{persona} asks: {task}"))])
    assert isinstance(situation, Situation)
    assert situation.oracle == "I'm MAYA. I keep bees. asks: Where should we eat?"


def test_a_response_cut_off_at_its_limit_is_not_kept_as_a_target() -> None:
    oracle = Role("oracle", Scripted(lambda _: Completion("Eat at the", "length")), Sampling(max_tokens=300))
    [result] = run([("s", oracle_response(TASK, MAYA, oracle, "{task}"))])
    assert result == Failure("s", "oracle cut off at max_tokens", "max_tokens=300: Eat at the")


def test_the_users_opening_tells_the_name_and_the_task_and_nothing_else() -> None:
    assert Situation(TASK, MAYA, "Eat.").request == "My name is Maya.\n\nWhere should we eat?"


def test_a_row_goes_through_json_and_comes_back_as_it_was() -> None:
    situation = Situation(TASK, MAYA, "Eat.")
    row = json.loads(json.dumps(situation.row()))
    assert Situation.from_row(row) == situation
    assert row["id"] == "task-1 persona-a-1"
