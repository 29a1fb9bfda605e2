"""The curve of score against responses generated: what each way to answer delivers, and what it takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError, SettingsError
from sparring.evals.search_curve import Answering, Way, answers, curve_ways, points
from sparring.files import Row
from sparring.flow import Role, run
from sparring.rollouts.tree import BEGIN, END, Refiner, Search
from sparring.signals.judge import Panel
from sparring.tasks.instructions import Instructed, Instruction
from sparring.types import Completion, Sampling

Reply = Callable[[Request], str | Completion]
JUDGE = "Asked:\n{prompt}\nSaid:\n{response}\nDoes it do all?"
REFINE = "Mend it.\n{begin}\n...\n{end}"


def is_long(text: str, least: int) -> bool:
    return len(text) >= least


def says(reply: str | Completion) -> Callable[[Request], str | Completion]:
    return lambda _: reply


SIZES = {"size": is_long}


def asked(least: int, id: str = "") -> Instructed:
    return Instructed(id or f"p{least}", f"write {least} letters", (Instruction("size", {"least": least}),))


def answer(request: Request) -> str | Completion:
    """Say a letter more with every sample: the greedy answer is one letter."""
    return "a" * (request.sample_index + 1)


def judge(request: Request) -> str:
    """Pass what is long enough, and of the rest like the longer better."""
    least, response = read(request)
    yes = 5 if len(response) >= least else min(2, len(response))
    return f"I have counted.\nVerdict: {'Yes' if request.sample_index % 1000 < yes else 'No'}"


def refine(request: Request) -> str:
    """Write a letter more, each try another."""
    _, response = read(request)
    return f"It is short.\n{BEGIN}\n{response}{'abc'[request.sample_index]}\n{END}"


def read(request: Request) -> tuple[int, str]:
    found = re.search(r"> write (\d+) letters\nSaid:\n> (\w+)", request.chat[0]["content"])
    assert found
    return int(found[1]), found[2]


def who(answer: Reply = answer, judge: Reply = judge, refine: Reply = refine) -> Answering:
    actor = Role("actor", Scripted(answer), Sampling(temperature=0.9))
    panel = Panel(Role("judge", Scripted(judge)), JUDGE)
    return Answering(actor, Refiner(Role("refiner", Scripted(refine)), REFINE), panel, SIZES)


def rows(ways: dict[str, Way], *prompts: Instructed, by: Answering | None = None) -> dict[str, Row]:
    """Return the rows of one prompt by way, or of several by way and id."""
    results = run([(one.id, answers(one, ways, by or who())) for one in prompts])
    found = [row for result in results if isinstance(result, list) for row in result]
    return {row["way"] if len(prompts) == 1 else f"{row['way']} {row['id']}": row for row in found}


def took(row: Row) -> tuple[str | None, bool, int, int]:
    return row["response"], row["right"], row["generated"], row["votes"]


# Ways


def test_each_way_delivers_what_its_budget_buys() -> None:
    ways: dict[str, Way] = {
        "best_of_2": 2,
        "best_of_4": 4,
        "once": Search(branch=1, beam=1, depth=1),
        "iterative": Search(branch=1, beam=1, depth=3),
        "level": Search(nodes=3),
        "bfs": Search(nodes=7),
        "dfs": Search(order="dfs", nodes=7),
    }
    found = rows(ways, asked(3))
    assert {way: took(row) for way, row in found.items()} == {
        "greedy": ("a", False, 1, 0),
        "best_of_2": ("aa", False, 2, 10),
        "best_of_4": ("aaa", True, 4, 20),
        "once": ("aa", False, 2, 10),
        "iterative": ("aaa", True, 3, 15),
        "level": ("aa", False, 4, 20),
        "bfs": ("aaa", True, 8, 40),
        "dfs": ("aaa", True, 7, 35),
    }
    assert [found[way]["accepted"] for way in ("greedy", "best_of_2", "level", "bfs")] == [None, False, False, True]


def test_what_the_judge_passes_at_once_is_answered_as_it_stands() -> None:
    found = rows({"bfs": Search(), "best_of_4": 4}, asked(1))
    assert took(found["bfs"]) == ("a", True, 1, 5) and found["bfs"]["accepted"]
    assert took(found["best_of_4"]) == ("a", True, 4, 20)  # the first of equals


def test_a_judge_that_passes_everything_makes_search_worth_nothing() -> None:
    found = rows({"bfs": Search()}, asked(3), by=who(judge=says("Verdict: Yes")))
    assert took(found["bfs"]) == ("a", False, 1, 5)


def test_greedy_is_greedy_and_what_is_drawn_is_drawn_as_set() -> None:
    met: list[tuple[float, int]] = []

    def heard(request: Request) -> str:
        met.append((request.sampling.temperature, request.sample_index))
        return "a"

    rows({"best_of_3": 3}, asked(3), by=who(heard))
    assert sorted(met) == [(0.0, 0), (0.9, 1), (0.9, 2)]
    met.clear()
    found = rows({}, asked(3), by=who(heard, judge=heard))
    assert met == [(0.0, 0)] and list(found) == ["greedy"]


def test_a_confirmed_acceptance_counts_its_votes_too() -> None:
    found = rows({"bfs": Search(confirm=3, branch=1, beam=1)}, asked(2))
    assert took(found["bfs"]) == ("aa", True, 2, 5 + 5 + 3)


# What fails


def test_a_prompt_without_a_greedy_answer_is_missed_in_every_way() -> None:
    cut = who(says(Completion("aaaa", "length")))
    found = rows({"bfs": Search(), "best_of_2": 2}, asked(1), by=cut)
    assert {way: took(row) for way, row in found.items()} == dict.fromkeys(
        ("greedy", "bfs", "best_of_2"), (None, False, 1, 0)
    )
    assert {row["reason"] for row in found.values()} == {"actor cut off at max_tokens"}


def test_a_drawn_answer_that_fails_was_generated_and_is_not_chosen() -> None:
    def broken(request: Request) -> str | Completion:
        if request.sample_index == 2:
            raise RolloutError("server error")
        return answer(request)

    assert took(rows({"best_of_3": 3}, asked(3), by=who(broken))["best_of_3"]) == ("aa", False, 3, 10)


def test_where_the_root_cannot_be_judged_the_greedy_answer_stands_and_the_reason_is_told() -> None:
    found = rows({"bfs": Search(), "best_of_2": 2}, asked(1), by=who(judge=says("I cannot tell.")))
    assert took(found["bfs"]) == ("a", True, 1, 5)
    assert found["bfs"]["reason"] == "root could not be judged" and found["bfs"]["accepted"] is None
    assert took(found["best_of_2"]) == ("a", True, 2, 10) and found["best_of_2"]["accepted"] is None


def test_a_search_that_only_repeats_its_root_delivers_the_root() -> None:
    def repeat(request: Request) -> str:
        return f"{BEGIN}\n{read(request)[1]}\n{END}"

    found = rows({"bfs": Search()}, asked(3), by=who(refine=repeat))
    assert took(found["bfs"]) == ("a", False, 4, 5) and found["bfs"]["accepted"] is False


def test_a_budget_of_no_refinement_answers_greedily() -> None:
    assert took(rows({"bfs": Search(nodes=0)}, asked(3))["bfs"]) == ("a", False, 1, 5)


# The curve


def test_every_way_stands_at_every_budget_and_keeps_to_it() -> None:
    ways = curve_ways(Search(threshold=0.6), (2, 4, 8))
    assert list(ways) == [f"{way}_{n}" for way in ("best_of", "bfs", "dfs", "iterative") for n in (2, 4, 8)]
    assert ways["best_of_4"] == 4
    assert ways["bfs_4"] == Search(threshold=0.6, nodes=3)
    assert ways["dfs_8"] == Search(threshold=0.6, order="dfs", nodes=7)
    assert ways["iterative_4"] == Search(threshold=0.6, branch=1, beam=1, depth=3)
    found = rows(ways, asked(9))
    assert all(row["generated"] <= int(way.rpartition("_")[2]) for way, row in found.items() if way != "greedy")


def test_a_budget_that_leaves_nothing_to_search_with_is_refused() -> None:
    with pytest.raises(SettingsError, match="a budget of 1 responses"):
        curve_ways(Search(), (1,))


def test_points_are_means_over_prompts_and_gains_are_paired() -> None:
    found = rows({"bfs": Search(branch=1, beam=1), "best_of_2": 2}, *(asked(n) for n in (1, 2, 3, 9)))
    told = points([*found.values()])
    assert list(told) == ["greedy", "bfs", "best_of_2"]
    shares = {way: each["prompt_strict"] for way, each in told.items()}
    assert {way: share and (share.value, share.n) for way, share in shares.items()} == {
        "greedy": (0.25, 4),
        "bfs": (0.75, 4),
        "best_of_2": (0.5, 4),
    }
    gain, generated, votes = (told["bfs"][name] for name in ("over_greedy", "generated", "votes"))
    assert gain and generated and votes
    assert (gain.value, generated.value, votes.value) == (0.5, (1 + 2 + 3 + 4) / 4, 12.5)
    assert told["greedy"]["over_greedy"] is None


def test_a_prompt_that_cannot_be_checked_has_no_part_in_the_score() -> None:
    found = rows({"bfs": Search()}, Instructed("bare", "write 3 letters"), asked(1))
    assert found["bfs bare"]["right"] is None
    share = points([*found.values()])["bfs"]["prompt_strict"]
    assert share and (share.value, share.n) == (1.0, 1)


def test_all_prompts_and_ways_are_under_way_at_once() -> None:
    batches: list[int] = []

    class Counting(Scripted):
        def generate(self, requests: Any) -> Any:
            batches.append(len(requests))
            return super().generate(requests)

    def reply(request: Request) -> str | Completion:
        return {"actor": answer, "judge": judge, "refiner": refine}[request.role](request)

    engine = Counting(reply)
    by = Answering(
        Role("actor", engine),
        Refiner(Role("refiner", engine), REFINE),
        Panel(Role("judge", engine), JUDGE),
        SIZES,
    )
    rows(curve_ways(Search()), *(asked(9, id=f"p{n}") for n in range(30)), by=by)
    assert len(batches) <= 40 and sum(batches) > 10_000
