"""Logical deduction: what is drawn, what the verifier accepts and names, and how attempts are mended and spoiled."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import SettingsError
from sparring.tasks.deduction import DEDUCTION, rationale_of
from sparring.tasks.deduction.corrupt import KINDS, corrupt
from sparring.tasks.deduction.orders import ANY, ONE, Pattern, allowed, slots
from sparring.tasks.deduction.puzzle import read_puzzle
from sparring.tasks.deduction.rationale import repair
from sparring.tasks.deduction.verify import verify
from sparring.tasks.exercise import (
    FINAL,
    Feedback,
    agree,
    before,
    exercises,
    read_feedback,
    read_steps,
    render_feedback,
)

COUNTS = {"3 objects": 300, "5 objects": 300, "7 objects": 100}
DRAWN = {tier: [DEDUCTION.draw(random.Random(seed), tier) for seed in range(n)] for tier, n in COUNTS.items()}
GOLD = [(question, rationale or "") for drawn in DRAWN.values() for question, _, rationale in drawn]

QUESTION = """Four mugs stand on a board: a red mug, a blue mug, a green mug, and a black mug. \
The red mug is to the left of the blue mug. The green mug is the leftmost. The black mug is the second from the right.
Options:
(A) The red mug is the rightmost
(B) The blue mug is the rightmost
(C) The green mug is the rightmost
(D) The black mug is the rightmost"""
ATTEMPT = """(1) From left to right, in some order: red, blue, green, black.
(2) "The red mug is to the left of the blue mug" gives [?? red ?? blue ??].
(3) "The green mug is the leftmost" gives [green ? ? ?].
(4) "The black mug is the second from the right" gives [? ? black ?].
(5) From (3) and (4): [green ? black ?].
(6) From (2) and (5): [green red black blue].
(Final response) The blue mug is the rightmost. So the answer is (B)."""


def spoiled(old: str, new: str) -> str:
    assert old in ATTEMPT
    return ATTEMPT.replace(old, new, 1)


def named(attempt: str) -> Feedback:
    found = verify(QUESTION, attempt)
    assert found is not None
    return found


# Orders


def fits(order: Pattern, pattern: Pattern) -> bool:
    """The same by Python's own regular expressions."""
    told = "".join({ONE: ".", ANY: ".*"}.get(token, str(token)) for token in pattern)
    return re.fullmatch(told, "".join(map(str, order))) is not None


@settings(deadline=None)
@given(st.integers(3, 5), st.lists(st.sampled_from([ONE, ANY, 0, 1, 2]), max_size=8))
def test_a_pattern_allows_the_orders_that_fit_it(size: int, tokens: list[int]) -> None:
    orders = allowed(size, tuple(tokens))
    assert [bool(orders >> bit & 1) for bit in range(len([*permutations(range(size))]))] == [
        fits(order, tuple(tokens)) for order in permutations(range(size))
    ]


def test_what_stands_at_the_same_place_in_all_orders_is_found() -> None:
    assert slots(4, allowed(4, (ANY, 2, ONE)) & allowed(4, (0, ANY))) == (0, ONE, 2, ONE)


# Drawing


@pytest.mark.parametrize("tier", COUNTS)
def test_statements_allow_one_order_and_none_of_them_can_be_left_out(tier: str) -> None:
    for question, answer, _ in DRAWN[tier]:
        puzzle = read_puzzle(question)
        assert puzzle is not None
        assert puzzle.size == len(puzzle.options) == int(tier[0])
        assert puzzle.solutions().bit_count() == 1
        assert not puzzle.solutions() & ~puzzle.allowed(puzzle.options[answer.strip("()")][1])
        said = [puzzle.allowed(pattern) for _, pattern in puzzle.clues]
        for left_out in range(len(said)):
            rest = -1
            for number, orders in enumerate(said):
                rest &= -1 if number == left_out else orders
            assert rest.bit_count() > 1 or len(said) == 1


def test_no_statement_gives_the_answer_away_where_it_can_be_helped() -> None:
    given_away = 0
    for question, answer, _ in DRAWN["5 objects"]:
        puzzle = read_puzzle(question)
        assert puzzle is not None
        option = puzzle.allowed(puzzle.options[answer.strip("()")][1])
        given_away += any(puzzle.allowed(pattern) == option for _, pattern in puzzle.clues)
    assert given_away == 0


def test_questions_are_spread_over_themes_answers_and_turns_of_phrase() -> None:
    assert len({question.split(": ")[0] for question, *_ in DRAWN["5 objects"]}) == 6
    assert min(Counter(answer for _, answer, _ in DRAWN["5 objects"]).values()) > 300 / 5 * 0.6
    text = " ".join(question for question, *_ in DRAWN["5 objects"])
    for phrase in (
        "to the left of",
        "to the right of",
        "taller than",
        "shorter than",
        "from the left",
        "from the right",
    ):
        assert phrase in text


def test_seven_objects_are_met_only_in_the_test() -> None:
    assert {e.tier for e in exercises(DEDUCTION, "train", 20, 0)} == {"3 objects", "5 objects"}
    assert {(e.tier, e.seen) for e in exercises(DEDUCTION, "test", 9, 0)} == {
        *(("3 objects", True), ("5 objects", True), ("7 objects", False)),
    }
    assert exercises(DEDUCTION, "test", 9, 0) == exercises(DEDUCTION, "test", 9, 0)


# The verifier


def test_every_gold_rationale_is_accepted_and_ends_in_its_answer() -> None:
    for drawn in DRAWN.values():
        for question, answer, rationale in drawn:
            assert rationale is not None
            assert verify(question, rationale) == Feedback(), rationale
            assert DEDUCTION.answer_of(rationale) == answer


def test_the_example_is_accepted() -> None:
    assert named(ATTEMPT).is_correct
    assert rationale_of(QUESTION) == ATTEMPT


def test_every_corruption_is_named_quoted_and_mended() -> None:
    kinds = Counter[str]()
    for seed, (question, rationale) in enumerate(GOLD):
        spoil = corrupt(question, random.Random(seed))
        kinds[spoil.kind] += 1
        found = verify(question, spoil.attempt)
        assert found is not None
        assert found.step == spoil.step, (spoil, found)
        assert read_feedback(render_feedback(found, spoil.attempt), spoil.attempt) == found
        kept = before(spoil.attempt, found.step)
        assert kept is not None
        assert rationale.startswith(kept)
        mended = kept + (repair(question, spoil.attempt, found) or "")
        assert verify(question, mended) == Feedback()
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) > len(GOLD) / len(KINDS) * 0.6


@pytest.mark.parametrize("kind", ["direction", "place", "combination"])
def test_later_steps_carry_a_mistake_on(kind: str) -> None:
    carried = met = 0
    for seed, (question, rationale) in enumerate(GOLD):
        spoil = corrupt(question, random.Random(seed))
        if spoil.kind == kind:
            met += 1
            carried += spoil.attempt.splitlines()[-2] != rationale.splitlines()[-2]
    assert carried == met > 0


def test_a_corruption_repeats_with_its_draw_and_needs_a_puzzle() -> None:
    assert corrupt(QUESTION, random.Random(4)) == corrupt(QUESTION, random.Random(4))
    with pytest.raises(SettingsError, match="a puzzle with one solution is needed"):
        corrupt("Sort these.", random.Random(0))


@pytest.mark.parametrize(
    ("old", "new", "step", "span", "reason"),
    [
        (
            "left to right",
            "right to left",
            "1",
            "From right to left, in some order",
            "the order runs from left to right",
        ),
        ("blue, green,", "blue,", "1", "red, blue, black.", "green is missing"),
        ("blue, green,", "blue, blue,", "1", "blue", "blue stands there twice"),
        ("blue, green,", "blue, pink,", "1", "pink", "pink is not one of the objects"),
        (
            "?? red ?? blue ??",
            "?? blue ?? red ??",
            "2",
            "[?? blue ?? red ??]",
            "the statement gives [?? red ?? blue ??]",
        ),
        ("?? red ?? blue ??", "? red ?? blue ??", "2", "[? red ?? blue ??]", "the statement gives [?? red ?? blue ??]"),
        ("?? red ?? blue ??", "?? pink ??", "2", "pink", "pink is not one of the objects"),
        ("?? red ?? blue ??", "?? red ?? red ??", "2", "[?? red ?? red ??]", "it has red twice"),
        ("[green ? ? ?]", "[green ? ?]", "3", "[green ? ?]", "it has 3 places, not 4"),
        ("[green ? ? ?]", "[green ? ? ? ? ??]", "3", "[green ? ? ? ? ??]", "it has 5 places, not 4"),
        ("[green ? ? ?]", "[]", "3", "[]", "it has 0 places, not 4"),
        (
            "is the leftmost",
            "is the rightmost",
            "3",
            "The green mug is the rightmost",
            "the question does not state it",
        ),
        ("(3) and (4)", "(3) and (9)", "5", "(9)", "no step (9) stands before it"),
        ("(3) and (4)", "(3) and (5)", "5", "(5)", "no step (5) stands before it"),
        ("(3) and (4)", "(2) and (4)", "5", "[green ? black ?]", "it does not follow from steps (2) and (4) alone"),
        ("(3) and (4)", "(4)", "5", "[green ? black ?]", "it does not follow from step (4) alone"),
        ("[green ? black ?]", "[green black ? ?]", "5", "[green black ? ?]", "it contradicts step (4)"),
        ("[green red black blue]", "[green blue black red]", "6", "[green blue black red]", "it contradicts step (2)"),
        ("(6)", "(7)", "7", "From (2) and (5): [green red black blue].", "step (6) is due here"),
        (
            "From (2) and (5)",
            "Clearly",
            "6",
            "Clearly: [green red black blue].",
            "it names no step that it follows from",
        ),
        (
            "[green red black blue]",
            "it is clear",
            "6",
            "From (2) and (5): it is clear.",
            "it gives no pattern of places",
        ),
        (
            "The blue mug is the rightmost. So",
            "The red mug is the rightmost. So",
            FINAL,
            "The red mug is the rightmost.",
            "it contradicts step (6)",
        ),
        ("answer is (B)", "answer is (A)", FINAL, "(A)", "it contradicts step (6)"),
        ("answer is (B)", "answer is (E)", FINAL, "(E)", "option (E) is not offered"),
        ("So the answer is (B).", "Done.", FINAL, "The blue mug is the rightmost. Done.", "it names no option"),
        ("\n(6) From (2) and (5): [green red black blue].", "", FINAL, "", ""),
    ],
)
def test_the_first_wrong_step_is_named_with_its_part_and_reason(
    old: str, new: str, step: str, span: str, reason: str
) -> None:
    found = named(spoiled(old, new))
    if not span:  # What the steps lead to was never written down, but they settle it.
        assert found.is_correct
        return
    assert found == Feedback(step, span, reason)


def test_an_answer_that_the_steps_do_not_settle_is_wrong_though_it_is_right() -> None:
    attempt = "\n".join([*ATTEMPT.splitlines()[:3], ATTEMPT.splitlines()[-1]])
    assert DEDUCTION.answer_of(attempt) == "(B)"
    assert named(attempt) == Feedback(FINAL, "The blue mug is the rightmost.", "the steps before it do not settle this")


def test_a_right_answer_does_not_hide_a_wrong_step() -> None:
    assert named(spoiled("?? red ?? blue ??", "?? blue ?? red ??")).step == "2"


def test_an_attempt_that_breaks_off_is_wrong_where_it_ends() -> None:
    for lines in (1, 3, 6):
        cut = "\n".join(ATTEMPT.splitlines()[:lines])
        found = named(cut)
        assert found.step == str(lines)
        assert found.reason == "no final response follows it"
        mended = (before(cut, found.step) or "") + (repair(QUESTION, cut, found) or "")
        assert mended == ATTEMPT


def test_case_spacing_and_words_around_a_pattern_do_not_matter() -> None:
    assert named(spoiled("[?? red ?? blue ??]", "[ ??  Red, ??, BLUE ?? ]")).is_correct
    assert named(spoiled('"The red mug', 'Since "the  red mug')).is_correct
    assert named(spoiled("From (3) and (4):", "Combining (3) with (4) we get")).is_correct
    assert named("Let us think.\n" + ATTEMPT).is_correct


@pytest.mark.parametrize(
    ("question", "attempt"),
    [
        ("((1 + 2)) =", ATTEMPT),
        (QUESTION.replace("is the leftmost", "is not the leftmost"), ATTEMPT),
        (QUESTION.replace("is to the left of", "is older than"), ATTEMPT),
        (QUESTION.replace("a black mug", "a red mug"), ATTEMPT),
        (QUESTION.partition("\nOptions")[0], ATTEMPT),
        ("", ""),
        (QUESTION, ""),
        (QUESTION, "The blue one, I think."),
        (QUESTION, "(1) Red is left of blue.\n(Final response) So the answer is (B)."),
    ],
)
def test_other_questions_and_attempts_in_prose_cannot_be_judged(question: str, attempt: str) -> None:
    assert verify(question, attempt) is None
    assert repair(question, attempt, Feedback("2", "x", "y")) is None


@settings(deadline=None)
@given(st.integers(0, len(GOLD) - 1), st.data())
def test_an_edited_attempt_that_is_accepted_has_the_right_answer(number: int, data: st.DataObject) -> None:
    question, rationale = GOLD[number]
    tokens = re.split(r"(\W)", rationale)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(tokens) - 1))
        tokens[place] = data.draw(st.sampled_from([*tokens, "", "(9)", '"', "[", "]", "\n(3) ", "??"]))
    attempt = "".join(tokens)
    found = verify(question, attempt)
    if found is not None and found.is_correct:
        assert DEDUCTION.answer_of(attempt) == DEDUCTION.answer_of(rationale)
    elif found is not None:
        read = read_feedback(render_feedback(found, attempt), attempt)
        assert read is None or agree(read, found)
        mended = repair(question, attempt, found)
        assert mended is None or verify(question, (before(attempt, found.step or "") or "") + mended) == Feedback()


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_makes_the_verifier_fail(question: str, attempt: str) -> None:
    assert verify(question, attempt) is None
    verify(QUESTION, f"(1) [{attempt}]\n(Final response) {attempt}")
    assert repair(question, attempt, Feedback("1", attempt, "")) is None


@pytest.mark.parametrize(
    "attempt",
    [
        "(1) From " + "(1) " * 10**6,
        "(1) " + "[" * 10**6,
        "(1) From (1): [" + "?? " * 10**5 + "]",
        ATTEMPT.replace("[green ? black ?]", "[" + "?? " * 130 + "]"),
        ATTEMPT.replace("[green ? black ?]", "[green ? black ?]" * 10**4),
        "\n".join(f"({n}) [?? red ??]" for n in range(10**5)),
        '(1) "' * 10**5,
        ATTEMPT + "answer is " * 10**5,
        ATTEMPT + "\\boxed{" * 10**5,
        "(Final response) " + " ." * 10**6,
    ],
)
def test_every_attempt_is_judged_in_bounded_time(attempt: str) -> None:
    start = time.process_time()
    verify(QUESTION, attempt)
    DEDUCTION.answer_of(attempt)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "question",
    ["a: " * 10**6, "x: " + "b, " * 10**6 + ".", "Q: a, b, and c. " + "The a is " * 10**6, QUESTION + "\n(A) " * 10**6],
)
def test_every_question_is_read_in_bounded_time(question: str) -> None:
    start = time.process_time()
    read_puzzle(question)
    assert time.process_time() - start < 1


# Mending


def test_what_is_kept_is_built_on() -> None:
    lines = ATTEMPT.splitlines()
    early = "\n".join([lines[0], lines[3].replace("(4)", "(2)"), "(3) From (1): [red ? ? ?]."])
    found = named(early)
    assert found.step == "3"
    mended = repair(QUESTION, early, found)
    assert mended is not None
    assert mended.startswith('(3) "The red mug')
    assert '"The black mug' not in mended
    assert verify(QUESTION, (before(early, "3") or "") + mended) == Feedback()


@pytest.mark.parametrize("pattern", ["[green ??]", "[green ?? blue ??]", "[?? black ?]", "[? ?? red ??]", "[?? ? ??]"])
def test_patterns_of_other_shapes_may_follow_and_are_built_on(pattern: str) -> None:
    lines = [*ATTEMPT.splitlines()[:4], f"(5) From (2), (3) and (4): {pattern}.", "(6) From (5): [red ? ? ?]."]
    found = named("\n".join(lines))
    assert found.step == "6"
    mended = repair(QUESTION, "\n".join(lines), found)
    assert mended is not None
    assert named("\n".join([*lines[:5], mended])).is_correct


def test_mending_takes_bounded_time_after_many_steps() -> None:
    """True patterns of which no few give more: a search over all sets of them would never end."""
    question, _, rationale = next(drawn for drawn in DRAWN["7 objects"] if (drawn[2] or "").count(" gives ") >= 6)
    lines = (rationale or "").splitlines()
    told = [line for line in lines if " gives " in line or "in some order" in line]
    more = [line.split("gives ")[1].replace("[", "[?? ").replace("]", " ??]") for line in told[1:] if "[??" not in line]
    more += ["[?? ? ??].", "[? ??].", "[?? ?]."] + [line.split("gives ")[1] for line in told[1:]]
    cited = " and ".join(f"({number})" for number in range(1, len(told) + 1))
    told += [f"({len(told) + 1 + number}) From {cited}: {more[number % len(more)]}" for number in range(200)]
    attempt = "\n".join([*told, f"({len(told) + 1}) It is clear."])
    start = time.process_time()
    found = verify(question, attempt)
    assert found is not None
    assert found.step == str(len(told) + 1)
    mended = repair(question, attempt, found)
    assert time.process_time() - start < 2
    assert mended is not None
    assert verify(question, (before(attempt, found.step) or "") + mended) == Feedback()


def test_only_the_final_response_is_mended_where_the_order_is_known() -> None:
    wrong = spoiled("answer is (B)", "answer is (A)")
    assert repair(QUESTION, wrong, named(wrong)) == ATTEMPT.splitlines()[-1]


def test_steps_that_are_missing_are_added_before_the_final_response() -> None:
    short = "\n".join([*ATTEMPT.splitlines()[:3], ATTEMPT.splitlines()[-1]])
    mended = (before(short, FINAL) or "") + (repair(QUESTION, short, named(short)) or "")
    assert mended == ATTEMPT
    assert read_steps(mended)[-1].label == FINAL


def test_nothing_is_mended_behind_a_mistake_or_where_nothing_is_wrong() -> None:
    wrong = spoiled("?? red ?? blue ??", "?? blue ?? red ??")
    assert repair(QUESTION, wrong, Feedback("5", "x", "y")) is None
    assert repair(QUESTION, wrong, Feedback("12", "x", "y")) is None
    assert repair(QUESTION, ATTEMPT, Feedback()) is None
    open_question = QUESTION.replace("The green mug is the leftmost. ", "")
    assert repair(open_question, ATTEMPT, Feedback("3", "x", "y")) is None
