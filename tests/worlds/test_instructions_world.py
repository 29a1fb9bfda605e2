"""The world of instructions: its verses, its constraints, its corpus and its shipped model."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.engines.base import Request
from sparring.errors import RolloutError
from sparring.rollouts.tree import read_refined
from sparring.signals.judge import Panel, read_verdict
from sparring.tasks.instructions import follow, follow_loosely
from sparring.types import Chat, Sampling, assistant, system, user
from sparring.worlds import world_of
from sparring.worlds.instructions import MODEL, prompt
from sparring.worlds.instructions.build import build, lexicon
from sparring.worlds.instructions.constraints import (
    KINDS,
    TOPICS,
    Asked,
    Constraint,
    arguments,
    clash,
    draw,
    is_held_out,
    look,
    missed,
    read_asked,
)
from sparring.worlds.instructions.corpus import COUNTS, REFINE, SKILLS_FIRST, Mix, document, judgement
from sparring.worlds.instructions.gates import BOUNDS, gates
from sparring.worlds.instructions.language import read, take_apart, write
from sparring.worlds.instructions.suite import CHECKERS, judged, levels, prompts
from sparring.worlds.instructions.teacher import teacher
from sparring.worlds.instructions.writing import MEND, careless, compose, meet
from sparring.worlds.small_model import ChatEncoder

SEA = TOPICS["sea"]
VERSE = "<< boats >>\n- bright gulls drift slowly\n- 7 waves roll!\np.s. write soon"
seeds = st.integers(0, 2**32 - 1)


def asked_for(*constraints: Constraint) -> Asked:
    return Asked(SEA, constraints)


@given(seeds, st.integers(1, 5), st.booleans())
def test_a_composed_verse_meets_all_that_is_asked_and_reads_as_itself(seed: int, count: int, held_out: bool) -> None:
    rng = random.Random(seed)
    asked = draw(rng, count, held_out and count > 2)
    verse = compose(rng, asked)
    assert missed(write(verse), asked) == []
    assert read(write(verse)) == verse
    assert read_asked(asked.text) == asked


@given(seeds, st.integers(1, 5))
def test_a_careless_verse_misses_what_it_should_and_mending_that_mends_all(seed: int, count: int) -> None:
    rng = random.Random(seed)
    asked = draw(rng, count, held_out=False)
    misses = [kind for kind in asked.kinds if rng.random() < 0.5]
    verse = careless(rng, asked, misses)
    if verse is not None:
        assert set(missed(write(verse), asked)) == set(misses)
        assert missed(write(meet(rng, verse, asked, misses)), asked) == []


def test_the_solver_finds_every_clash_of_two_and_nothing_else() -> None:
    """Every pair of constraints that it lets through has a verse, and none that it refuses has any."""
    rng = random.Random(0)
    for first, second in combinations(KINDS, 2):
        for one in arguments(first, SEA) or [""]:
            for other in arguments(second, SEA) or [""]:
                asked = asked_for(Constraint(first, one), Constraint(second, other))
                if clash(SEA, asked.constraints) is None:
                    assert missed(write(compose(rng, asked)), asked) == [], asked.text
                else:
                    with pytest.raises((ValueError, IndexError)):
                        compose(rng, asked)


@pytest.mark.parametrize(
    ("kind", "argument", "found", "met"),
    [
        ("lines", "2", "2", True),
        ("lines", "3", "2", False),
        ("list", "", "dash", True),
        ("postscript", "", "p.s.", True),
        ("capitals", "", "boats", False),
        ("exclaim", "", "!", True),
        ("number", "7", "7", True),
        ("number", "3", "7", False),
        ("include", "gulls", "gulls", True),
        ("include", "ropes", "none", False),
        ("avoid", "boats", "boats", False),
        ("avoid", "ropes", "none", True),
        ("title", "", "boats", True),
        ("start", "bright", "bright", True),
        ("end", "drift", "roll", False),
        ("letter", "", "none", False),
        ("mood", "happy", "none", True),
        ("mood", "gloomy", "bright", False),
        ("style", "terse", "slowly", False),
        ("style", "ornate", "roll", False),
    ],
)
def test_a_constraint_looks_where_it_should(kind: str, argument: str, found: str, met: bool) -> None:
    assert look(take_apart(VERSE), Constraint(kind, argument)) == (found, met)


@given(st.text(max_size=60), seeds)
def test_any_text_at_all_is_checked_and_nothing_is_met_by_silence(text: str, seed: int) -> None:
    asked = draw(random.Random(seed), 5, held_out=False)
    assert set(missed(text, asked)) <= set(asked.kinds)
    assert missed("  \n ", asked) == list(asked.kinds)


def test_capitals_are_of_every_word() -> None:
    capitals = Constraint("capitals")
    assert look(take_apart(VERSE.upper()), capitals) == ("none", True)
    assert look(take_apart(VERSE.upper().replace("WRITE", "write")), capitals) == ("write", False)


def test_every_kind_has_an_edit_that_meets_it_and_eleven_categories_are_there() -> None:
    assert set(MEND) == set(KINDS)
    assert len({kind.category for kind in KINDS.values()}) >= 10


def test_prompts_of_train_and_test_are_of_unlike_combinations() -> None:
    train, test = prompts("train", 2000, 0), prompts("test", 1000, 0)
    kinds = {part: [[one.id.split(":")[1] for one in p.instructions] for p in those] for part, those in
             (("train", train), ("test", test))}  # fmt: skip
    assert not any(is_held_out(those) for those in kinds["train"])
    assert all(is_held_out(those) for those in kinds["test"])
    assert {len(those) for those in kinds["train"]} == set(COUNTS)
    assert {len(those) for those in kinds["test"]} == {3, 4, 5}
    assert len({one.prompt for one in (*train, *test)}) == 3000
    assert prompts("train", 50, 0) == train[:50]


def test_labelled_verses_are_what_they_are_labelled() -> None:
    for one in judged(400, 0):
        asked = read_asked(one.prompt)
        wrong = missed(one.response, asked)
        assert one.label is not bool(wrong)
        if not one.label and one.kind != "natural":
            assert wrong == [one.kind]


def test_levels_add_a_constraint_each() -> None:
    for group in range(20):
        of_one = levels(20, 0)[5 * group : 5 * group + 5]
        assert [one.level for one in of_one] == [1, 2, 3, 4, 5]
        assert len({one.group for one in of_one}) == 1
        for less, more in pairwise(of_one):
            assert more.instructions[:-1] == less.instructions
        assert [is_held_out(read_asked(one.prompt).kinds) for one in of_one] == [False, False, True, True, True]


def test_checks_are_those_of_the_constraints_strictly_and_loosely() -> None:
    one = prompts("test", 1, 3)[0]
    verse = write(compose(random.Random(0), read_asked(one.prompt)))
    assert all(follow(one, verse, CHECKERS))
    assert all(follow_loosely(one, f"Sure, here it is:\n{verse}", CHECKERS))


def test_corpus_falls_into_tokens_without_loss_and_within_the_context() -> None:
    words, rng = lexicon(), random.Random(0)
    encode, tokenizer = ChatEncoder(words), lexicon().tokenizer()
    for mix in (Mix(), SKILLS_FIRST):
        for _ in range(300):
            example = document(rng, mix)
            ids, weights = encode(example)
            assert len(ids) == len(weights) < words.context
            shown = tokenizer.apply_chat_template(example.messages, tokenize=True, return_dict=False)
            assert shown == ids


def test_a_judgement_ends_in_the_verdict_that_its_lines_come_to() -> None:
    rng = random.Random(0)
    for _ in range(200):
        asked = draw(rng, 4, held_out=False)
        text = write(compose(rng, asked))
        said, broken = judgement(rng, asked, text, flipped=0.2)
        assert read_verdict(said) is not bool(broken)


def test_the_teacher_answers_judges_and_refines_as_it_is_asked() -> None:
    asked = draw(random.Random(1), 4, held_out=False)
    verse = careless(random.Random(0), asked, [asked.kinds[0]])
    assert verse is not None
    panel = Panel(role=None, template=prompt("judge"))  # type: ignore[arg-type]  # nobody is asked here
    chat = panel.chat(asked.text, write(verse))
    said = [teacher(Request(chat, Sampling(), n)) for n in range(40)]
    assert sum(read_verdict(each) is False for each in said) > 30
    critique = next(each for each in said if read_verdict(each) is False)
    refined = [
        read_refined(teacher(Request([*chat, assistant(critique), user(REFINE)], Sampling(), n))) for n in range(40)
    ]
    assert 15 < sum(missed(text, asked) == [] for text in refined) < 40
    told: Chat = [system(prompt("teacher_answer")), user(asked.text)]
    answers = [teacher(Request(told, Sampling(), n)) for n in range(40)]
    assert 15 < sum(missed(text, asked) == [] for text in answers) < 40


def test_the_teacher_refuses_what_is_not_of_its_world() -> None:
    with pytest.raises(RolloutError, match="not asked as in this world"):
        teacher(Request([user("Write a limerick.")]))


def test_the_world_is_for_spar() -> None:
    world = world_of("world:instructions")
    assert world and world.recipes == ["spar"] and world.suite


def test_the_shipped_model_passes_its_gates() -> None:
    measured = gates(MODEL, n=300)
    assert {
        name: measured[name] for name, (low, high) in BOUNDS.items() if not low - 0.05 <= measured[name] <= high + 0.05
    } == {}


def test_a_model_is_built_from_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    measured = build(tmp_path / "model", steps=2, skills=1, batch=4, gated=False, log=told.append)
    assert measured["answers_sampled"] == 0.0
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 8_000_000
