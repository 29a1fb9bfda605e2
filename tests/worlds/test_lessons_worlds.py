"""The worlds of lessons: their languages, their corpus, and their shipped models."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.flow import quoted, render
from sparring.rollouts.teaching import read_fields
from sparring.tasks.exercise import FINAL, before, exercises, part_of, read_feedback, read_steps, render_feedback
from sparring.types import Example, user
from sparring.worlds.lessons import model, prompt
from sparring.worlds.lessons.build import build, lexicon
from sparring.worlds.lessons.chain import Chain, family
from sparring.worlds.lessons.corpus import SKILLS_FIRST, Mix, document
from sparring.worlds.lessons.gates import BOUNDS, gates
from sparring.worlds.lessons.sums import Sums
from sparring.worlds.lessons.teacher import teacher
from sparring.worlds.lessons.words import WORDS, Words
from sparring.worlds.small_model import ChatEncoder

CUES = (prompt("feedback"), prompt("update"))
CHAINS = (Sums(), Words())
each_chain = pytest.mark.parametrize("chain", CHAINS, ids=["sums", "words"])

SUM = "Work out: 12 + 7 - 8"
SUM_RIGHT = "(1) 12 + 7 = 19\n(2) 19 - 8 = 11\n(Final response) So the answer is 11."
SUM_SLIPPED = "(1) 12 + 7 = 19\n(2) 19 - 8 = 27\n(Final response) So the answer is 27."
SORT = "Sort: cloud apple candle"
SORT_SLIPPED = (
    "(1) apple : apple cloud\n(2) candle : apple cloud candle\n(Final response) So the answer is apple cloud candle."
)


def criticism(chain: Chain, question: str, attempt: str) -> str | None:
    found = family(chain).verify(question, attempt)
    return found and render_feedback(found, attempt)


@each_chain
def test_gold_rationales_are_accepted_and_their_answers_read(chain: Chain) -> None:
    kind = family(chain)
    for exercise in exercises(kind, "test", 300, 0):
        assert exercise.rationale
        assert kind.is_right(exercise, exercise.rationale)
        assert kind.verify(exercise.question, exercise.rationale).is_correct


@each_chain
def test_the_first_mistake_is_named_and_mended_from_there(chain: Chain) -> None:
    kind, rng = family(chain), random.Random(0)
    for exercise in exercises(kind, "test", 300, 1):
        spoiled = kind.corrupt(exercise.question, rng)
        found = kind.verify(exercise.question, spoiled.attempt)
        assert found.step == spoiled.step
        assert read_feedback(render_feedback(found, spoiled.attempt), spoiled.attempt) == found
        mended = before(spoiled.attempt, found.step) + kind.repair(exercise.question, spoiled.attempt, found)
        assert kind.verify(exercise.question, mended).is_correct
        assert kind.answer_of(mended) == exercise.answer


def test_criticism_reads_as_it_is_meant() -> None:
    first = "Step (1) is correct. In step (2) the part"
    why = "is incorrect. This is because 19 - 8 is not equal to 27."
    assert criticism(Sums(), SUM, SUM_SLIPPED) == f'{first} " 19 - 8 = 27 " {why}'
    why = "is incorrect. This is because candle comes before cloud."
    assert criticism(Words(), SORT, SORT_SLIPPED) == f'{first} " cloud candle " {why}'


def test_evidence_works_every_step_out_from_where_the_attempt_stood() -> None:
    assert family(Sums()).evidence(SUM, SUM_SLIPPED) == "(1) 19 should be 19 yes\n(2) 27 should be 11 no"
    shown = "(1) apple cloud should be apple cloud yes\n(2) cloud candle should be candle cloud no"
    assert family(Words()).evidence(SORT, SORT_SLIPPED) == shown


@pytest.mark.parametrize(
    ("attempt", "step"),
    [
        ("(1) 12 + 7 = 19\n(2) 19 - 8 = 11", "2"),  # no final response
        ("(2) 19 - 8 = 11\n(1) 12 + 7 = 19\n(Final response) So the answer is 11.", "2"),  # out of order
        ("(1) 12 + 7 = 19\n(2) 18 - 8 = 10\n(Final response) So the answer is 10.", "2"),  # another number
        ("(1) 12 + 7 = 19\n(Final response) So the answer is 19.", FINAL),  # a step left out
        ("(1) 12 + 7 = 19\n(2) 19 - 8 = 11\n(Final response) So the answer is 12.", FINAL),
        ("(1) 12 + 7 = 19\n(2) 19 - 8 = 11\n(3) 11 + 1 = 12\n(Final response) So the answer is 12.", "3"),
        ("(1) __import__('os').system('true') = 19\n(Final response) So the answer is 19.", "1"),
        ("(1) 9**9**9**9 = 19\n(Final response) So the answer is 19.", "1"),
    ],
)
def test_what_is_no_step_of_the_question_is_wrong_where_it_stands(attempt: str, step: str) -> None:
    found = family(Sums()).verify(SUM, attempt)
    assert found
    assert found.step == step


def test_a_lost_or_doubled_word_is_a_wrong_step() -> None:
    for said in ("apple", "apple apple cloud", "apple clouds"):
        found = family(Words()).verify(SORT, f"(1) apple : {said}\n(Final response) So the answer is {said}.")
        assert found
        assert found.step == "1"


@each_chain
@given(text=st.text(max_size=200) | st.from_regex(r"\(1\) [0-9a-z +=-]{0,30}\n\(2\) .{0,20}"))
def test_no_text_of_a_model_breaks_the_reading(chain: Chain, text: str) -> None:
    kind = family(chain)
    question = SUM if isinstance(chain, Sums) else SORT
    found = kind.verify(question, text)
    assert kind.answer_of(text) is None or isinstance(kind.answer_of(text), str)
    assert isinstance(kind.evidence(question, text), str)
    assert found is None or found.step


@each_chain
def test_every_document_is_lossless_in_tokens_fits_and_is_of_no_test_question(chain: Chain) -> None:
    words = lexicon(chain)
    tokenizer, encode, rng = words.tokenizer(), ChatEncoder(words), random.Random(0)
    for at in range(300):
        example = document(rng, chain, Mix(blunder=0.2) if at % 2 else SKILLS_FIRST, CUES)
        ids, _ = encode(example)
        text = tokenizer.apply_chat_template(example.messages, tokenize=False)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        assert tokenizer.decode(ids) == text
        assert len(ids) <= words.context
        assert part_of(example.messages[0]["content"]) != "test"


@each_chain
def test_careful_documents_are_right_and_careless_ones_slip(chain: Chain) -> None:
    kind, rng = family(chain), random.Random(0)

    def right(mix: Mix) -> float:
        drawn: list[Example] = [document(rng, chain, mix, CUES) for _ in range(300)]
        return sum(kind.verify(d.messages[0]["content"], d.messages[1]["content"]).is_correct for d in drawn) / 300

    assert right(Mix(careful=1.0)) == 1.0
    assert right(Mix(careful=0.0, slip=1.0)) < 0.3


@each_chain
def test_a_slip_is_not_what_the_step_should_be(chain: Chain) -> None:
    rng = random.Random(0)
    for tier in chain.tiers:
        state, items = chain.parse(chain.draw(rng, tier))
        for item in items:
            assert chain.slip(state, item) != chain.step(state, item)
            assert chain.blunder(state, item, rng) != chain.step(state, item)
            state = chain.step(state, item)


@each_chain
def test_a_blunder_that_a_script_makes_is_never_the_slip(chain: Chain) -> None:
    kind, rng, made = family(chain), random.Random(0), set[str]()
    for exercise in exercises(kind, "test", 300, 2):
        spoiled = kind.corrupt(exercise.question, rng)
        made.add(spoiled.kind)
        state, items = chain.parse(exercise.question)
        for item in items[: int(spoiled.step) - 1]:
            state = chain.step(state, item)
        item = items[int(spoiled.step) - 1]
        after = chain.read(read_steps(spoiled.attempt)[int(spoiled.step) - 1].text, state, item)
        assert (after == chain.slip(state, item)) == (spoiled.kind == "slip")
    assert made == set(kind.mistakes)


def test_behind_a_mistake_a_step_is_flagged_by_what_its_line_says() -> None:
    attempt = "(1) apple : cloud apple\n(2) candle : candle cloud apple\n(Final response) So the answer is ?."
    told = "(1) cloud apple should be apple cloud no\n(2) candle cloud should be candle cloud yes"
    assert family(Words()).evidence(SORT, attempt) == told


def test_the_teacher_criticises_goes_on_and_refuses_what_is_not_of_its_world() -> None:
    def reply(name: str, **blanks: str) -> str:
        text = render(prompt(name), question=SUM, answer="11", attempt=quoted(SUM_SLIPPED), feedback="", **blanks)
        return teacher(Sums(), Request([user(text)]))

    found = read_fields(reply("teacher_feedback"), SUM_SLIPPED)
    assert found
    assert found.step in ("1", "2", FINAL)
    assert reply("teacher_update", step="2") == "(2) 19 - 8 = 11\n(Final response) So the answer is 11."
    assert family(Sums()).answer_of(reply("teacher_attempt"))
    with pytest.raises(RolloutError, match="not asked as in this world"):
        teacher(Sums(), Request([user("Question: What is 1 + 2?")]))


def test_words_share_their_first_letters() -> None:
    assert len(set(WORDS)) == len(WORDS)
    assert all(sum(word[0] == other[0] for other in WORDS) >= 5 for word in WORDS)


@each_chain
def test_the_shipped_model_passes_its_gates_and_is_small(chain: Chain) -> None:
    folder = model(chain.name)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000_000
    measured = gates(chain, folder, n=200)
    # Looser than the gates themselves, which are measured on more.
    assert all(low - 0.05 <= measured[name] <= high + 0.05 for name, (low, high) in BOUNDS.items()), measured


def test_a_model_is_built_from_nothing_and_a_failed_gate_is_named(tmp_path: Path) -> None:
    from sparring.errors import GateError

    with pytest.raises(GateError, match="attempts_readable is 0"):
        build(Sums(), tmp_path, steps=2, skills=1, batch=4)
    assert (tmp_path / "model.safetensors").exists()
