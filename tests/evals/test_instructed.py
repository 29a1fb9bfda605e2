"""What an exam of actor and refiner says, from records alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparring.evals.instructed import Exam, Examined, Made, Seen, changes, counted, examine, making, verdict
from sparring.rollouts.pairs import Attempt
from tests.toy_suite import SUITE, wanted

EXAM = Exam(SUITE.draw("test", 30, 0))


def seen(right: int) -> Seen:
    """An actor that follows the first prompts, greedily and sampled."""
    said = [
        Attempt(one.id, one.prompt, 0, " ".join(wanted(one.prompt)) if at < right else "red")
        for at, one in enumerate(EXAM.test)
    ]
    return Seen(said, said)


def examined(right: int, m_0: Examined | None = None) -> Examined:
    return examine(SUITE.checkers, lambda prompt, response: True, EXAM, seen(right), Made(learned={"pairs": 1}), m_0)


def test_shares_are_of_all_prompts_and_differences_are_paired() -> None:
    first = examined(10)
    last = examined(25, first)
    for suffix in ("", "_sampled"):
        share, gain = last.metrics[f"prompt_strict{suffix}"], last.metrics[f"prompt_strict{suffix}_over_round_0"]
        assert share and share.value == pytest.approx(25 / 30)
        assert gain and (gain.value, gain.n) == (pytest.approx(0.5), 30)
    assert "prompt_strict_over_round_0" not in first.metrics


def test_an_answer_that_is_not_there_is_a_miss() -> None:
    some = replace(seen(30), greedy=seen(30).greedy[:15])
    found = examine(SUITE.checkers, lambda prompt, response: True, EXAM, some, Made(), None)
    assert (share := found.metrics["prompt_strict"]) and (share.value, share.n) == (0.5, 30)


@pytest.mark.parametrize(
    ("right", "word"),
    [(28, "improved (p < 0.001)"), (10, "did not improve (p = 1.000)"), (0, "got worse (p = 0.002)")],
    ids=["more", "as many", "fewer"],
)
def test_the_verdict_says_what_the_test_says(right: int, word: str) -> None:
    first = examined(10)
    told = verdict([first, examined(right, first)])
    assert told.startswith(f"round 1 {word}: of 30 held-out prompts it follows {right / 30:.1%}, ")


def test_a_verdict_on_nothing_is_none() -> None:
    nothing = examine(SUITE.checkers, lambda prompt, response: True, Exam([]), Seen([], []), Made(), None)
    assert verdict([nothing, nothing]) == "round 1 could not be judged: there were too few prompts"


def test_what_does_not_fit_a_model_has_no_part_in_how_log_probs_changed() -> None:
    before = [{"id": "a", "chosen": -1.0, "rejected": None}, {"id": "b", "chosen": -2.0, "rejected": None}]
    after = [{"id": "b", "chosen": -3.0, "rejected": -1.0}, {"id": "a", "chosen": None, "rejected": None}]
    found = changes(before, after)
    assert (change := found["chosen_log_prob_change"]) and (change.value, change.n) == (-1.0, 1)
    assert found["rejected_log_prob_change"] is None
    assert changes([], [])["chosen_log_prob_change"] is None


def test_a_round_without_pairs_says_so_and_one_that_learned_from_none_says_nothing() -> None:
    assert making(Made(), lambda prompt, response: True) == {}
    none = making(Made(prompts=4, pairs=[]), lambda prompt, response: True)
    assert (share := none["pairs_a_prompt"]) and share.value == 0.0
    assert none["pair_edits"] is None
    assert "pairs_a_prompt" not in making(Made(prompts=4), lambda prompt, response: True)


def test_rows_are_counted_by_what_they_have_under_a_name() -> None:
    assert counted([{"kind": "b"}, {"kind": "a"}, {"kind": "b"}], "kind") == {"a": 1, "b": 2}
