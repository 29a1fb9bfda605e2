"""Rejection: what a refiner learns of its own judgements and refinements, in which proportion, and what never."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.flow import Role, run
from sparring.rollouts.pairs import Attempt
from sparring.rollouts.rejection import KINDS, Caps, Lesson, is_no_op, lessons, refinement, sft_refined
from sparring.rollouts.tree import BEGIN, END, Refiner, Search, Tree, search
from sparring.signals.judge import Panel
from sparring.training.examples import check
from sparring.types import Chat, assistant, user
from tests.rollouts.judgements import PANEL, REFINER, grown, tried, votes


def learned(
    trees: list[Tree], attempts: list[Attempt], caps: Caps | None = None, seed: int = 0
) -> tuple[list[Lesson], dict[str, int]]:
    found, dropped = lessons(trees, attempts, PANEL, REFINER, caps or Caps(), seed)
    for lesson in found:
        check(lesson.example, lesson.id)
    return found, dropped


def by_id(found: list[Lesson]) -> dict[str, tuple[str, str]]:
    """Kind and last words of each lesson."""
    return {lesson.id: (lesson.kind, lesson.example.messages[-1]["content"]) for lesson in found}


# Refinements


def test_a_refinement_is_learned_in_the_very_chat_it_was_made_in() -> None:
    asked: list[tuple[Chat, str]] = []
    replies = {"wrong": "half", "half": "right"}

    def reply(request: Request) -> str:
        text = request.chat[0]["content"]
        response = next(one for one in ("wrong", "half", "right") if f"> {one}" in text)
        if request.role == "judge":
            says = response == "right" or (response == "half" and request.sample_index % 5 == 1)
            return f"critique {request.sample_index} of {response}\nVerdict: {'Yes' if says else 'No'}"
        refined = f"I see.\n{BEGIN}\n{replies[response]}\n{END}"
        asked.append((request.chat, refined))
        return refined

    engine = Scripted(reply)
    judge = Panel(Role("judge", engine), "Asked:\n{prompt}\nSaid:\n{response}\nVerdict?")
    refiner = Refiner(Role("refiner", engine), "Mend it.\n{begin}\n...\n{end}")
    [tree] = run([("t", search("t", "do it", "wrong", refiner, judge, Search(branch=1, beam=1)))])
    assert isinstance(tree, Tree) and tree.accepted == 2
    lesson = refinement(tree, judge, refiner)
    assert lesson is not None
    assert lesson.example.messages == [*asked[-1][0], assistant(asked[-1][1])]
    assert lesson.example.messages[1] == assistant("critique 0 of half\nVerdict: No")
    assert lesson.example.weights == [0.0, 1.0, 0.0, 1.0]
    assert lesson.id == "t node 2"


def test_a_refinement_is_of_the_accepted_nodes_parent_not_of_the_root() -> None:
    tree = grown("t", (0, "half", "nnnyn"), (1, "right", "yyyyn"), accepted=2)
    lesson = refinement(tree, PANEL, REFINER)
    assert lesson and lesson.example.messages[0] == PANEL.chat("do t", "half")[0]


def test_nothing_is_learned_of_a_refinement_that_was_not_accepted_or_changed_nothing() -> None:
    nothing = grown("t", (0, "half", "nnnnn"))
    at_once = grown("u", accepted=0, began="yyyyy")
    as_root = grown("v", (0, "half", "nnnnn"), (1, " root", "yyyyy"), accepted=2)
    as_parent = grown("w", (0, "half", "nnnnn"), (1, "half", "yyyyy"), accepted=2)
    assert [refinement(tree, PANEL, REFINER) for tree in (nothing, at_once, as_root, as_parent)] == [None] * 4
    assert [is_no_op(tree) for tree in (nothing, at_once, as_root, as_parent)] == [False, False, True, True]
    assert learned([nothing, at_once, as_root, as_parent], []) == ([], {"no-op": 2, "unanimous": 5})
    assert sft_refined([nothing, at_once, as_root, as_parent]) == []


@pytest.mark.parametrize(
    "verdicts, critique, weight",
    [("nnnnn", "n0", 1.0), ("yynnn", "n2", 1.0), ("yynn?", "n2", 0.0), ("yynyn", "n2", 0.0)],
)
def test_a_critique_that_no_majority_stands_behind_is_read_but_not_learned(
    verdicts: str, critique: str, weight: float
) -> None:
    tree = grown("t", (0, "half", verdicts), (1, "right", "yyyyy"), accepted=2)
    lesson = refinement(tree, PANEL, REFINER)
    assert lesson and lesson.example.messages[1] == assistant(f"half {critique}")
    assert lesson.example.weights == [0.0, weight, 0.0, 1.0]


# Judgements


def test_judgements_are_learned_only_where_votes_disagreed_and_say_what_the_majority_says() -> None:
    verdicts = ["nnynn", "nyyyn", "nnnnn", "yyyyy", "yynn?", "?yynn", "n????", "?yyn?"]
    attempts = [tried("a", n, f"a{n}", each) for n, each in enumerate(verdicts)]
    found, dropped = learned([], [*attempts, Attempt("a", "do a", 9, "a9")])
    assert by_id(found) == {
        "a #0": ("negative", "n0"),
        "a #1": ("positive", "y1"),
        "a #7": ("positive", "y1"),
    }
    assert dropped == {"unanimous": 2, "unscored": 4}
    assert all(lesson.example.weights == [0.0, 1.0] for lesson in found)
    assert {lesson.example.messages[0]["content"] for lesson in found} == {
        PANEL.chat("do a", f"a{n}")[0]["content"] for n in (0, 1, 7)
    }


def test_a_tree_gives_at_most_one_judgement_of_each_kind_and_none_of_its_root() -> None:
    nodes = [(0, f"yes{n}", "yyyyn") for n in range(3)] + [(0, f"no{n}", "nnnny") for n in range(4)]
    tree = grown("t", *nodes, (0, "sure", "nnnnn"), (0, "tied", "yynn?"), began="nnnny")
    for seed in range(5):
        found, dropped = learned([tree], [], seed=seed)
        assert sorted((one.kind, one.example.messages[-1]["content"][:2]) for one in found) == [
            ("tree_negative", "no"),
            ("tree_positive", "ye"),
        ]
        assert dropped == {"one a tree": 5, "unanimous": 1}
    drawn = {lesson.id for seed in range(30) for lesson in learned([tree], [], seed=seed)[0]}
    assert drawn == {f"t node {n}" for n in range(1, 8)}


def test_a_node_that_was_refined_is_not_learned_again_as_a_judgement() -> None:
    tree = grown("t", (0, "half", "nnnyn"), (1, "right", "yyyyy"), accepted=2, began="nnnny")
    root = Attempt("t", "do t", 0, "root", tree.root.judgement)
    found, dropped = learned([tree], [root])
    assert by_id(found)["t node 2"][0] == "refinement"
    assert {lesson.id for lesson in found} == {"t node 2", "t #0"}
    assert dropped["judged before"] == 1


def test_where_a_checker_decided_only_a_critique_that_agrees_with_it_is_learned() -> None:
    answers = [
        Attempt("a", "do a", 0, "a0", votes("nnnyn", value=1.0)),
        Attempt("a", "do a", 1, "a1", votes("nnnnn", value=1.0)),
        Attempt("a", "do a", 2, "a2", votes("nnnnn", value=0.0)),
    ]
    found, dropped = learned([], answers)
    assert by_id(found) == {"a #0": ("positive", "y3")}
    assert dropped == {"no agreeing critique": 1, "unanimous": 1}


# Caps


def plenty() -> tuple[list[Tree], list[Attempt]]:
    trees = [
        grown(f"t{n}", (0, f"{n} no", "nnnny"), (0, f"{n} yes", "yyyyn"), (1, f"{n} right", "yyyyy"), accepted=3)
        for n in range(20)
    ]
    trees += [grown(f"u{n}", (0, f"{n} no", "nnnny"), (0, f"{n} yes", "yynyn")) for n in range(20)]
    attempts = [tried(f"a{n}", k, f"{n} {k}", "nnnny" if k else "yyyyn") for n in range(20) for k in range(2)]
    return trees, attempts


def test_sources_are_taken_in_the_published_order_each_up_to_its_cap() -> None:
    trees, attempts = plenty()
    found, dropped = learned(trees, attempts, Caps(7, 6, 5, 4, 3))
    assert Counter(lesson.kind for lesson in found) == dict(zip(KINDS, (7, 6, 5, 4, 3), strict=True))
    assert dropped == {"judged before": 7, "over the cap": 13 + 34 + 28 + 16 + 17, "unanimous": 20}
    asked = [lesson.example.messages[0]["content"] for lesson in found]
    assert len(set(asked)) == len(asked)
    assert (Caps().refinement, Caps().tree_positive, Caps().tree_negative) == (4000, 1500, 1000)
    assert (Caps().negative, Caps().positive) == (500, 2500)


def test_rows_are_shuffled_and_depend_on_the_seed_alone() -> None:
    trees, attempts = plenty()
    caps = Caps(5, 5, 5, 5, 5)
    one, again, other = ([row.id for row in learned(trees, attempts, caps, seed)[0]] for seed in (0, 0, 1))
    assert one == again != other
    assert [row.kind for row in learned(trees, attempts, caps)[0]] != sorted(KINDS * 5, key=KINDS.index)


def test_a_cap_of_nothing_takes_nothing_and_one_below_is_refused() -> None:
    trees, attempts = plenty()
    found, _ = learned(trees, attempts, Caps(0, 0, 0, 0, 2))
    assert [lesson.kind for lesson in found] == ["positive", "positive"]
    assert learned(trees, attempts, Caps(0, 0, 0, 0, 0))[0] == []
    with pytest.raises(SettingsError, match=r"caps.negative = -1"):
        Caps(negative=-1)


def test_a_row_is_what_training_reads() -> None:
    row: dict[str, Any] = sft_refined([grown("t", (0, "right", "yyyyn"), accepted=1)])[0].row()
    assert row == {
        "id": "t",
        "kind": "refined",
        "messages": [user("do t"), assistant("right")],
        "weights": [0.0, 1.0],
    }
