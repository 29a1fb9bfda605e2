"""Word sorting: the gold rationale, the answer in a model's prose, the first wrong step, its mending and its making."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.tasks.exercise import (
    FINAL,
    Exercise,
    Feedback,
    Part,
    before,
    exercises,
    read_feedback,
    read_steps,
    render_feedback,
)
from sparring.tasks.sorting import SORTING
from sparring.tasks.sorting.claims import number_of, ordinal
from sparring.tasks.sorting.mistakes import MISTAKES, corrupt
from sparring.tasks.sorting.questions import answer_to, rationale_of, words_by_part, words_of
from sparring.tasks.sorting.verifier import evidence, repair, verify

QUESTION = "Sort the following words alphabetically: List: sack art seal sand"
GOLD = """(1) First letters: "sack"="s" (19), "art"="a" (1), "seal"="s" (19), "sand"="s" (19).
(2) So far: (1) "art" < (19) ["sack" ? "seal" ? "sand"].
(3) Second letters of ["sack" ? "seal" ? "sand"]: "sack"="a" (1), "seal"="e" (5), "sand"="a" (1).
(3.1) So far: (1) ["sack" ? "sand"] < (5) "seal".
(3.2) Third letters of ["sack" ? "sand"]: "sack"="c" (3), "sand"="n" (14).
(3.2.1) So far: (3) "sack" < (14) "sand".
(3.2.2) Hence, we have "sack" < "sand".
(3.3) Hence, we have "sack" < "sand" < "seal".
(4) Hence, we have "art" < "sack" < "sand" < "seal".
(Final response) So the answer is: art sack sand seal."""
ODD = [
    "we're we were it&t it o'connell",
    "b a b a",
    "same same",
    "one",
    "Apple apple éclair zoo",
    "a ab abc abcd",
    "a:b a]b a<b a[b",
    "b, a, c.",
    "3d 2nd 100 Aa aA",
]
"""Words that are no plain a-z, stand twice, or are the beginning of another."""


def asked(words: str) -> str:
    return f"Sort the following words alphabetically: List: {words}"


def some(part: Part, size: int) -> list[Exercise]:
    return exercises(SORTING, part, size, seed=1)


def spoilt(old: str, new: str) -> str:
    assert GOLD.count(old) == 1
    return GOLD.replace(old, new)


# Questions


def test_the_gold_rationale_goes_letter_by_letter_and_opens_a_level_where_a_group_falls_apart() -> None:
    assert rationale_of(QUESTION) == GOLD


def test_a_group_that_ties_again_goes_on_with_its_next_letter_on_the_same_level() -> None:
    alone = [step.label for step in read_steps(str(rationale_of(asked("ottoman otter"))))]
    assert alone == [*"123456789", FINAL]
    among_others = [step.label for step in read_steps(str(rationale_of(asked("otter apple ottoman"))))]
    assert among_others == [*"123", *(f"3.{count}" for count in range(1, 7)), "4", FINAL]


def test_every_gold_rationale_is_accepted_and_answers_right() -> None:
    for exercise in some("test", 300) + some("train", 100):
        assert exercise.rationale
        assert verify(exercise.question, exercise.rationale) == Feedback()
        assert SORTING.is_right(exercise, exercise.rationale)
        assert exercise.answer == " ".join(sorted(words_of(exercise.question))) == answer_to(exercise.question)


@pytest.mark.parametrize("words", ODD)
def test_words_with_signs_and_repeated_words_have_an_accepted_gold_rationale_in_pythons_order(words: str) -> None:
    gold = rationale_of(asked(words))
    assert gold and verify(asked(words), gold) == Feedback()
    assert SORTING.answer_of(gold) == answer_to(asked(words))
    assert gold.splitlines()[-1].endswith(f"is: {' '.join(sorted(words_of(asked(words))))}.")


@given(st.text("'&-.09AZabzé{", max_size=3), st.text("'&-.09AZabzé{", max_size=3))
def test_numbers_order_letters_as_python_orders_words(one: str, other: str) -> None:
    def numbers(word: str) -> list[float]:
        return [float(number_of(letter)) for letter in (*word, "")]

    assert (one < other) == (numbers(one) < numbers(other))


def test_letters_are_numbered_from_one_and_the_end_of_a_word_has_zero() -> None:
    assert [number_of(letter) for letter in ("a", "z", "", "'", "&")] == ["1", "26", "0", "0.39", "0.38"]


def test_places_past_the_twenty_first_have_names_too() -> None:
    assert [ordinal(place) for place in (0, 20, 21, 22, 30, 110)] == [
        "first",
        "twenty-first",
        "22nd",
        "23rd",
        "31st",
        "111th",
    ]


def test_training_and_test_share_no_question_and_no_word() -> None:
    words = {
        part: {word for exercise in some(part, 100) for word in words_of(exercise.question)}
        for part in ("train", "validation", "test")
    }
    assert not words["train"] & words["test"]
    assert not words["train"] & words["validation"]


def test_there_are_words_enough_and_each_is_in_plain_letters_and_stands_once() -> None:
    words = [word for part in words_by_part().values() for word in part]
    assert len(words) == len(set(words)) >= 1200
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_tiers_go_by_the_number_of_words_and_three_are_not_trained_on() -> None:
    for exercise in some("test", 200):
        least, most = map(int, exercise.tier.split("-"))
        assert least <= len(words_of(exercise.question)) <= most
    assert {exercise.tier for exercise in some("train", 20)} == {"2-3", "4-7"}


def test_a_draw_is_the_same_for_the_same_seed() -> None:
    assert some("test", 20) == some("test", 20)
    assert exercises(SORTING, "test", 20, seed=2) != some("test", 20)


# Answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (GOLD, "art sack sand seal"),
        ("(Final response) So the answer is: it&t o'connell we’re.", "it&t o'connell we're"),
        (
            "(Final response) So the answer is:\n\n1. apple\n2. banana\n\n3. cherry\n\nHope it helps!",
            "apple banana cherry",
        ),
        ("(Final response) So the answer is: apple\nbanana\n\nFeedback: none", "apple banana"),
        ("(Final response) apple banana.", "apple banana"),
        ("**(Final response)** So the answer is: **apple banana**.", "apple banana"),
        ("So the answer is apple, banana, and cherry. I hope this helps!", "apple banana cherry"),
        ("Here are the words sorted:\n\n1. **Apple**\n2. **Banana**\n\nLet me know!", "apple banana"),
        ('The sorted list is: ["apple", "banana"]', "apple banana"),
        ("the final answer is $\\boxed{apple\\ banana}$.", "apple banana"),
        ('Answer:\n"apple" < "banana"\n\nFeedback: good', "apple banana"),
        ("The answer is 1. apple 2. banana", "apple banana"),
        ("### Answer\napple banana", "apple banana"),
        ("Answer: apple -> banana", "apple banana"),
        ("The answer is:\n```\napple\nbanana\n```", "apple banana"),
        ("The words in alphabetical order are: and, answer and order.", "and answer order"),
        ("So the answer is: answer list order.", "answer list order"),
        ("- apple\n- banana", "apple banana"),
        ("apple banana", "apple banana"),
        ("I think the answer is: b a. No, the answer is: a b.", "a b"),
        ("(1) First letters: none", None),
        ("(Final response) So the answer is:", None),
        ("I have sorted them.\nIt took long.", None),
        (" \n", None),
        ("", None),
    ],
)
def test_an_answer_is_read_out_of_a_models_prose(text: str, answer: str | None) -> None:
    assert SORTING.answer_of(text) == answer


# Checking


@pytest.mark.parametrize(
    ("attempt", "step", "span", "reason"),
    [
        (spoilt('"art"="a" (1)', '"art"="r" (18)'), "1", '"art"="r" (18)', 'the first letter of "art" is "a"'),
        (spoilt('"art"="a" (1)', '"art"="a" (2)'), "1", '"art"="a" (2)', 'the number of "a" is 1'),
        (
            spoilt('"art"="a" (1), ', ""),
            "1",
            GOLD.splitlines()[0][4:].replace('"art"="a" (1), ', ""),
            '"art" is missing',
        ),
        (spoilt('"art"="a" (1)', '"ant"="a" (1)'), "1", '"ant"', '"ant" is not among the words to look at here'),
        (spoilt('"art"="a" (1)', '"art"="a" (1), "art"="a" (1)'), "1", '"art"', '"art" is duplicated'),
        (
            spoilt('(1) "art" < (19) ["sack" ? "seal" ? "sand"]', '(19) ["sack" ? "seal" ? "sand"] < (1) "art"'),
            "2",
            '(19) ["sack" ? "seal" ? "sand"] < (1) "art"',
            "the words with (1) come before those with (19)",
        ),
        (
            spoilt('(1) ["sack" ? "sand"] <', '(1) "sack" < (1) "sand" <'),
            "3.1",
            '(1) "sack" < (1) "sand"',
            "the words with (1) belong in one group, since their order is not known yet",
        ),
        (spoilt('(5) "seal"', '(6) "seal"'), "3.1", '(6) "seal"', 'the number of "seal" is 5'),
        (spoilt('(5) "seal"', '(5) ["seal"]'), "3.1", '(5) ["seal"]', "brackets hold at least two words"),
        (spoilt("(3.2) Third", "(3.2) Fourth"), "3.2", "Fourth letters", "the fourth letters come after the third"),
        (
            spoilt("(3.2) Third", "(3.2) Second"),
            "3.2",
            "Second letters",
            "the second letters have been looked at already",
        ),
        (
            spoilt('Third letters of ["sack" ? "sand"]', 'Third letters of ["sack" ? "seal"]'),
            "3.2",
            '["sack" ? "seal"]',
            "this is no part whose order still has to be found",
        ),
        (
            spoilt('(3.2.2) Hence, we have "sack" < "sand".', '(3.2.2) Hence, we have "sand" < "sack".'),
            "3.2.2",
            '"sand" < "sack"',
            '"sack" comes before "sand"',
        ),
        (spoilt('(4) Hence, we have "art" <', '(4) Hence, we have "art" >'), "4", '"art" > "sack"', None),
        (
            spoilt('"art" < "sack" < "sand" <', '"art" < "sack" < "sack" < "sand" <'),
            "4",
            '"sack"',
            '"sack" is duplicated',
        ),
        (
            spoilt("art sack sand seal.", "art sand sack seal."),
            FINAL,
            "sand sack",
            '"sack" comes before "sand" in step (4)',
        ),
        (spoilt("art sack sand seal.", "art sack sand seal zoo."), FINAL, "zoo", None),
        (
            spoilt("art sack sand seal.", "art sack seal."),
            FINAL,
            "So the answer is: art sack seal.",
            '"sand" is missing',
        ),
        (spoilt(" art sack sand seal.", ""), FINAL, "So the answer is:", '"art" is missing'),
        (spoilt("(3.3)", "(4)"), "4", 'Hence, we have "sack" < "sand" < "seal".', "step (3.3) has to stand here"),
        (GOLD[: GOLD.index("(Final")], "4", GOLD.splitlines()[-2][4:], "no final response follows this step"),
        (spoilt("(3.2.1) So far: (3)", "(3.2.1) Well, (3)"), "3.2.1", None, None),
        (spoilt('(3.2.2) Hence, we have "sack" < "sand".', "(3.2.2) Hence, we have nothing."), "3.2.2", None, None),
        ("(1) First letters:\n(2) So far:", "1", "First letters:", "it names no word"),
        ("(1)\n(2)", "1", "", "it is none of the steps in which words are sorted"),
        ("(Final response) So the answer is: art sack sand seal.", FINAL, None, "step (1) has to stand here"),
        ("\n".join(reversed(GOLD.splitlines()[:3])), "3", None, "step (1) has to stand here"),
        ("(1) First letters: __import__('os').system('ls')", "1", "__import__('os').system('ls')", None),
    ],
)
def test_the_first_wrong_step_is_named_quoted_and_explained(
    attempt: str, step: str, span: str | None, reason: str | None
) -> None:
    feedback = verify(QUESTION, attempt)
    assert feedback and feedback.step == step
    assert span is None or feedback.span == span
    assert reason is None or feedback.reason == reason
    assert read_feedback(render_feedback(feedback, attempt), attempt) == feedback


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("First letters:", "The first letter:"),
        ('So far: (1) "art"', 'We now have: (1) "art"'),
        (
            'Third letters of ["sack" ? "sand"]',
            'Now sort this subpart ["sand"?"sack"] by looking at their third letters',
        ),
        ('"sack"="c" (3), "sand"="n" (14)', '"sand" = "n" (14),\n"sack"="c"(3)'),
        ('"art" < "sack" < "sand" < "seal"', "“art” < “sack”<“sand” < “seal”"),
        ("is: art sack sand seal.", "is: art, sack, sand and seal"),
    ],
)
def test_a_right_step_in_words_of_its_own_is_right(old: str, new: str) -> None:
    assert verify(QUESTION, spoilt(old, new)) == Feedback()


def test_parts_may_be_sorted_in_any_order() -> None:
    question = asked("sand arm salt ant")
    gold = str(rationale_of(question)).splitlines()
    head, arms, sands, tail = gold[:2], gold[2:5], gold[5:-2], gold[-2:]
    swapped = [line.replace("(4", "(3") for line in sands] + [line.replace("(3", "(4") for line in arms]
    assert verify(question, "\n".join(head + swapped + tail)) == Feedback()


def test_nothing_is_said_of_an_attempt_without_labels_or_a_question_without_words() -> None:
    assert verify(QUESTION, "art sack sand seal") is None
    assert verify(QUESTION, "") is None
    assert verify(asked(""), GOLD) is None
    assert verify("What is 1 + 1?", GOLD) is None
    assert repair("What is 1 + 1?", GOLD, Feedback("1", "x", "y")) is None


PIECES = st.sampled_from(
    [*GOLD.split(" "), *GOLD.splitlines(keepends=True), '"', "(", "[", "]", "<", "?", "=", "“", "\n", " is incorrect."]
)


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200), st.integers(0, 10), st.booleans())
def test_any_text_is_judged_without_failing_and_its_feedback_reads_back(text: str, kept: int, labelled: bool) -> None:
    attempt = "".join(GOLD.splitlines(keepends=True)[:kept]) + ("(5) " if labelled else "") + text
    SORTING.answer_of(attempt)
    evidence(QUESTION, attempt)
    if feedback := verify(QUESTION, attempt):
        assert read_feedback(render_feedback(feedback, attempt), attempt) == feedback
        rest = repair(QUESTION, attempt, feedback)
        assert (rest is None) == feedback.is_correct
        if rest and feedback.step:
            assert verify(QUESTION, str(before(attempt, feedback.step)) + rest) == Feedback()


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_question_is_read_without_failing(words: str) -> None:
    gold = rationale_of(asked(words))
    assert gold is None or verify(asked(words), gold) == Feedback()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        '["' * 10_000,
        '"a"="b" (1)' + " " * 19_000 + "x",
        '(1) "a"' + " " * 19_000 + "x",
        "Hence, " + '"a" < ' * 3_000,
        "a" * 20_000,
        "first " * 3_000,
        "answer " * 2_800,
        "a and " * 3_000 + ",",
        "list " * 4_000,
        " " * 20_000,
        "9" * 20_000,
    ],
    ids=range(12),
)
@pytest.mark.parametrize("opening", ["(1) ", "(1) First letters: ", "(1) So far: ", "(Final response) ", ""])
def test_text_made_to_hang_a_reader_is_judged_at_once(text: str, opening: str) -> None:
    began = time.process_time()
    verify(QUESTION, opening + text)
    SORTING.answer_of(opening + text)
    assert time.process_time() - began < 5  # a reader that hangs would take minutes


def test_a_rationale_too_long_or_too_deep_to_be_read_is_not_written() -> None:
    began = time.process_time()
    assert rationale_of(asked("a" * 9_000 + " " + "a" * 9_001)) is None
    assert rationale_of(asked("a " * 9_000)) is None
    assert time.process_time() - began < 5  # a reader that hangs would take minutes
    assert rationale_of(asked(" ".join("a" * count for count in range(1, 7)))) is not None
    assert rationale_of(asked(" ".join("a" * count for count in range(1, 12)))) is None


# Making and mending


def test_the_first_wrong_step_of_a_corruption_is_named_and_mended() -> None:
    rng = random.Random(3)
    for exercise in some("test", 300) + some("train", 100):
        made = corrupt(exercise.question, rng)
        feedback = verify(exercise.question, made.attempt)
        assert feedback and feedback.step == made.step, made
        assert read_feedback(render_feedback(feedback, made.attempt), made.attempt) == feedback
        rest = repair(exercise.question, made.attempt, feedback)
        assert rest is not None
        mended = str(before(made.attempt, made.step)) + rest
        assert verify(exercise.question, mended) == Feedback()
        assert SORTING.is_right(exercise, mended)


@pytest.mark.parametrize("words", ODD)
def test_a_corruption_of_odd_words_is_found_too(words: str) -> None:
    for seed in range(60):
        made = corrupt(asked(words), random.Random(seed))
        feedback = verify(asked(words), made.attempt)
        assert feedback and feedback.step == made.step, made


def test_kinds_of_mistakes_are_drawn_evenly() -> None:
    rng = random.Random(4)
    kinds = Counter(corrupt(QUESTION, rng).kind for _ in range(1300))
    assert set(kinds) == set(MISTAKES)
    assert max(kinds.values()) < 2 * min(kinds.values())


def test_a_mistake_is_carried_to_the_answer() -> None:
    rng = random.Random(5)
    made = [corrupt(QUESTION, rng) for _ in range(300)]
    swapped = [one for one in made if one.kind == "wrong order"]
    assert swapped and all(SORTING.answer_of(one.attempt) != "art sack sand seal" for one in swapped)
    invented = [one for one in made if one.kind == "invented word"]
    assert invented and all(len(str(SORTING.answer_of(one.attempt)).split()) == 5 for one in invented)


def test_a_corruption_needs_words() -> None:
    with pytest.raises(ValueError, match="no words to sort"):
        corrupt(asked(""), random.Random(0))


def test_nothing_is_mended_where_nothing_is_wrong_or_an_earlier_step_is() -> None:
    assert repair(QUESTION, GOLD, Feedback()) is None
    assert repair(QUESTION, GOLD, Feedback("9", "x", "y")) is None
    early = spoilt('"art"="a" (1)', '"art"="a" (2)')
    assert repair(QUESTION, early, Feedback("4", "Hence", "it is wrong")) is None
    assert repair(QUESTION, early, Feedback("1", '"art"="a" (2)', "it is wrong")) == GOLD


def test_evidence_works_out_each_step_up_to_the_first_wrong_one() -> None:
    lines = GOLD.splitlines()
    assert evidence(QUESTION, GOLD).splitlines() == [f"{line.split(')')[0]}) agrees: {line}" for line in lines]
    wrong = spoilt('(3.2.2) Hence, we have "sack" < "sand".', '(3.2.2) Hence, we have "sand" < "sack".')
    told = evidence(QUESTION, wrong).splitlines()
    assert len(told) == 7 and told[-1] == f"(3.2.2) differs: {lines[6]}"
    assert evidence(asked(""), GOLD) == ""


def test_two_thousand_rationales_are_judged_in_a_second() -> None:
    those = [exercise for exercise in some("train", 300) if exercise.rationale]
    began = time.process_time()
    for exercise in those:
        verify(exercise.question, str(exercise.rationale))
    assert len(those) / (time.process_time() - began) > 2000
