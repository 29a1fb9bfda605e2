"""Bootstrapping: rows that a teacher makes, in the very chats in which actor and refiner are asked later."""

from __future__ import annotations

from collections import Counter

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.flow import Role, run
from sparring.rollouts.bootstrapping import ONCE, answers, demonstrate, hold_out, judgements, refinements
from sparring.rollouts.pairs import Attempt, failed, judged
from sparring.rollouts.tree import BEGIN, END, Refiner, Search, Tree, search
from sparring.signals.judge import Judgement, Panel, Vote
from sparring.types import Completion, Failure, Sampling, assistant, system, user

ASKED = "Name a fruit, in capitals."
JUDGE = "Asked:\n{prompt}\nAnswered:\n{response}\nGood?"
REFINE = "Mend it:\n{begin}\n...\n{end}"


def teacher(request: Request) -> str:
    """Judges whether an answer is in capitals, and writes it in capitals."""
    said = request.chat[-1]["content"]
    if said.startswith("Asked:"):
        answer = request.chat[0]["content"].split("Answered:\n> ")[1].splitlines()[0]
        return f"Capitals: {answer}.\nVerdict: {'Yes' if answer.isupper() else 'No'}"
    answer = request.chat[-3]["content"].split("Answered:\n> ")[1].splitlines()[0]
    return {"kiwi": f"Larger!\n{BEGIN}\nKiwi\n{END}", "fig": "I do not know.", "date": f"{BEGIN}\ndate\n{END}"}.get(
        answer, f"Larger!\n{BEGIN}\n{answer.upper()}\n{END}"
    )


ROLE = Role("teacher", Scripted(teacher), Sampling(0.7))
PANEL = Panel(ROLE, JUDGE, votes=1, quorum=1)
REFINER = Refiner(ROLE, REFINE)


def tried(answer: str, index: int = 0, prompt: str = ASKED) -> Attempt:
    """An answer, judged by the teacher."""
    [found] = run([("a", judged(Attempt(prompt, prompt, index, answer), PANEL))])
    assert isinstance(found, Attempt)
    return found


def mended(answer: str, how: Search = ONCE, prompt: str = ASKED) -> Tree:
    """What the teacher made of an answer."""
    one = tried(answer, prompt=prompt)
    [tree] = run([("m", search(one.id, prompt, answer, REFINER, PANEL, how, one.judgement))])
    assert isinstance(tree, Tree)
    return tree


def voted(*verdicts: bool | None, answer: str = "apple", index: int = 0) -> Attempt:
    votes = [Vote(f"{at}: {verdict}", verdict) for at, verdict in enumerate(verdicts)]
    return Attempt("p", ASKED, index, answer, Judgement.of(votes, 1))


# Answers


def test_the_teacher_answers_what_the_actor_will_be_asked() -> None:
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        return " APPLE "

    role = Role("teacher", Scripted(reply), Sampling(0.7))
    [found] = run([("p", demonstrate("p", ASKED, role, "Be exact."))])
    assert found == Attempt("p", ASKED, 0, "APPLE")
    assert seen[0].chat == [system("Be exact."), user(ASKED)]
    [lesson] = answers([found])
    assert lesson.row() == {
        "id": "p #0",
        "kind": "answer",
        "messages": [user(ASKED), assistant("APPLE")],
        "weights": [0.0, 1.0],
    }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "teacher said nothing"),
        (Completion("APP", "length"), "teacher cut off at max_tokens"),
        (Completion("No.", "refused"), "teacher refused"),
    ],
)
def test_an_answer_that_is_not_whole_is_not_learned(reply: str | Completion, reason: str) -> None:
    role = Role("teacher", Scripted(lambda _: reply))
    [found] = run([("p", demonstrate("p", ASKED, role, ""))])
    assert isinstance(found, Failure)
    assert found.reason == reason


def test_of_answers_that_were_judged_those_that_passed_are_learned() -> None:
    attempts = [tried("APPLE", 0), tried("pear", 1), voted(True, False, index=2), Attempt("p", ASKED, 3, "PLUM")]
    assert [lesson.id for lesson in answers(attempts)] == [f"{ASKED} #0", "p #3"]


# Judgements


def test_a_judgement_is_learned_in_the_chat_in_which_it_will_be_asked() -> None:
    one = tried("apple")
    [lesson] = judgements([one], PANEL)
    assert lesson.example.messages == [
        *PANEL.chat(ASKED, "apple"),
        assistant("Capitals: apple.\nVerdict: No"),
    ]
    assert (lesson.id, lesson.kind, lesson.example.weights) == (one.id, "negative", [0.0, 1.0])
    assert judgements([tried("APPLE")], PANEL)[0].kind == "positive"


def test_the_first_critique_of_the_majority_is_learned_and_of_a_tie_none() -> None:
    attempts = [
        voted(None, False, True, True, answer="a"),
        voted(True, False, answer="b"),
        voted(None, answer="c"),
        Attempt("p", ASKED, 4, "d"),
    ]
    [lesson] = judgements(attempts, PANEL)
    assert lesson.example.messages[-1] == assistant("2: True")


def test_an_answer_given_twice_is_learned_once() -> None:
    assert [lesson.id for lesson in judgements([tried("apple", 0), tried("apple", 1)], PANEL)] == [f"{ASKED} #0"]
    assert [lesson.id for lesson in judgements([voted(None), voted(True, index=1)], PANEL)] == ["p #1"]


def test_judgements_stand_as_drawn_or_balanced() -> None:
    attempts = [voted(at % 4 == 0, answer=f"apple {at}", index=at) for at in range(40)]

    def kinds(balanced: bool, most: int | None) -> dict[str, int]:
        rows = judgements(attempts, PANEL, balanced=balanced, most=most)
        assert [row.id for row in rows] == [row.id for row in judgements(attempts, PANEL, balanced=balanced, most=most)]
        return dict(Counter(row.kind for row in rows))

    assert [row.id for row in judgements(attempts, PANEL, balanced=True, seed=1)] != [
        row.id for row in judgements(attempts, PANEL, balanced=True, seed=2)
    ]
    mixed = [row.kind for row in judgements(attempts, PANEL, balanced=True)]
    assert mixed != sorted(mixed) and mixed != sorted(mixed, reverse=True), "in their first order, not side by side"
    assert kinds(False, None) == {"positive": 10, "negative": 30}
    assert kinds(True, None) == {"positive": 10, "negative": 10}
    assert kinds(True, 8) == {"positive": 4, "negative": 4}
    assert sum(kinds(False, 12).values()) == 12
    assert kinds(False, 0) == kinds(True, 1) == {}


# Refinements


def test_a_refinement_that_the_teacher_accepts_is_learned_in_three_turns() -> None:
    tree = mended("apple")
    assert [node.response for node in tree.nodes] == ["apple", "APPLE"]
    [lesson] = refinements([tree], PANEL, REFINER)
    critique = "Capitals: apple.\nVerdict: No"
    assert lesson.example.messages == [
        *REFINER.chat(PANEL, ASKED, "apple", critique),
        assistant(f"Larger!\n{BEGIN}\nAPPLE\n{END}"),
    ]
    assert [message["role"] for message in lesson.example.messages] == ["user", "assistant", "user", "assistant"]
    assert lesson.example.weights == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "nodes", "dropped"),
    [("kiwi", 2, {}), ("fig", 1, {"unreadable": 1}), ("date", 1, {"no-op": 1})],
)
def test_a_refinement_that_is_none_is_told_by_its_tree_and_not_learned(
    answer: str, nodes: int, dropped: dict[str, int]
) -> None:
    tree = mended(answer)
    assert (len(tree.nodes), tree.dropped) == (nodes, dropped)
    assert refinements([tree], PANEL, REFINER) == []


def test_a_teacher_may_try_again_on_what_it_made() -> None:
    # "Kiwi" is not in capitals either; the second refinement is.
    tree = mended("kiwi", Search(branch=1, beam=1, depth=2))
    assert [node.response for node in tree.nodes] == ["kiwi", "Kiwi", "KIWI"]
    [lesson] = refinements([tree], PANEL, REFINER)
    assert lesson.example.messages[0] == PANEL.chat(ASKED, "Kiwi")[0]


def test_the_answers_to_be_refined_are_those_judged_wrong_one_a_prompt() -> None:
    attempts = [tried("APPLE", 0), tried("apple", 1), tried("pear", 2)]
    [one] = failed(attempts, seed=0)
    assert one.response in ("apple", "pear")


# Holding out


def trees(n: int, each: int = 2) -> list[Tree]:
    return [mended(f"apple {at}", prompt=f"{ASKED} {at // each}") for at in range(n)]


def test_held_out_refinements_are_of_prompts_of_their_own() -> None:
    known = trees(12)
    learned, held = hold_out(known, 2, seed=1)
    assert len(held) == len({tree.prompt for tree in held}) == 2
    assert len(learned) == 8
    assert not {tree.prompt for tree in held} & {tree.prompt for tree in learned}
    assert hold_out(known, 2, seed=1) == (learned, held)
    assert hold_out(known, 0, seed=1) == (known, [])
    assert hold_out([], 0, seed=1) == ([], [])


@pytest.mark.parametrize("n", [-1, 3, 4])
def test_more_than_can_be_held_out_is_refused(n: int) -> None:
    with pytest.raises(SettingsError, match=f"{n} refinements held out of 3 prompts"):
        hold_out(trees(6), n, seed=0)
