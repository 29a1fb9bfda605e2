"""A run of TriPosT looked through: attempts, what the teacher made of them, and why a row was learned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from sparring.files import read_lines, write_lines
from sparring.report.browse import Chat, Detail, Grid, Message
from sparring.report.tripost import said
from tests.recipes.test_tripost import QUESTIONS, TEST, Stage
from tests.report.looking import check_links, entries, groups


def at_once(_: int) -> None:
    """Outlasting a power cut is the subject of other tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", at_once)
        stage = Stage(tmp_path_factory.mktemp("tripost") / "run")
        stage.run(test_sampled=4)
        parts = (("train", QUESTIONS), ("test", TEST))  # as the command line writes them
        write_lines(stage.folder / "exercises.jsonl", [{"part": name, **asdict(x)} for name, xs in parts for x in xs])
    yield stage.folder


def chat(detail: Detail) -> Chat:
    return next(one for one in detail.parts if isinstance(one, Chat))


def marked(message: Message, kind: str) -> list[str]:
    return [message.text[mark.start : mark.end] for mark in message.marks if mark.kind == kind]


def test_groups_come_in_the_order_of_the_loop_with_as_many_entries_as_they_say(folder: Path) -> None:
    found = groups(folder)
    assert [id for id in found if id.startswith("round-1")] == [
        *("round-1/attempts", "round-1/trajectories", "round-1/train"),
        *("round-1/test-trajectories", "round-1/test-sampled"),
    ]
    assert [*found][-1] == "comparison"
    for group in found.values():
        ids = [entry.id for entry in group.entries()]
        assert len(ids) == group.n == len({*ids}) and group.n


def test_every_link_leads_to_an_entry(folder: Path) -> None:
    check_links(folder)


def test_what_the_teacher_mended_is_marked_and_said_to_be_the_teachers(folder: Path) -> None:
    edited = [entry for entry in entries(folder, "round-1/trajectories").values() if "mended" in entry.tags]
    assert edited
    for entry in edited:
        row = next(row for row in read_lines(folder / "round-1/trajectories.jsonl") if row["id"] == entry.id)
        messages = chat(entry.detail()).messages
        update = next(message for message in messages if message.who == "update" and message.note)
        before = messages[messages.index(update) - 2]
        assert marked(update, "mended") and not marked(before, "mended")
        assert marked(before, "wrong")[0] in before.text and marked(before, "wrong")[0] not in update.text
        assert [m.text for m in messages[1:]] == [one.text for one in said(row)]


def test_words_of_the_policy_are_not_said_to_be_the_teachers(folder: Path) -> None:
    own = {row["id"]: row for row in read_lines(folder / "round-1/attempts.jsonl")}
    for id, entry in entries(folder, "round-1/trajectories").items():
        for message in chat(entry.detail()).messages:
            if message.who in ("attempt", "update") and not message.note:
                assert message.text in own[id]["attempts"]


def test_the_policys_own_feedback_quotes_and_calls_nothing_wrong_for_sure(folder: Path) -> None:
    kinds = {
        mark.kind
        for entry in entries(folder, "round-1/attempts").values()
        for message in chat(entry.detail()).messages
        for mark in message.marks
    }
    assert kinds == {"quoted"}


def test_a_training_row_says_why_it_was_learned_and_with_which_weights(folder: Path) -> None:
    rows = {row["id"]: row for row in read_lines(folder / "round-1/train.jsonl")}
    found = entries(folder, "round-1/train")
    assert {*found} == {*rows}
    for id, entry in found.items():
        detail, row = entry.detail(), rows[id]
        told = dict(detail.facts)
        assert [message.weight for message in chat(detail).messages] == row["weights"]
        assert row["kind"] in entry.tags and told["what it is"].startswith(row["kind"])
        if " turn " in id:
            assert ("round-1/trajectories", id.rpartition(" turn ")[0]) in [(x.group, x.entry) for x in detail.links]
            assert any(isinstance(one, Grid) for one in detail.parts)
    improvement = next(entry for entry in found.values() if "improvement" in entry.tags).detail()
    assert marked(chat(improvement).messages[1], "wrong") and marked(chat(improvement).messages[-1], "mended")
    kept = dict(improvement.facts)["what selection kept of its kind"]
    n = sum(row["kind"] == "improvement" for row in rows.values())
    assert kept.startswith(f"{n} of ")


def test_an_attempt_says_what_became_of_it(folder: Path) -> None:
    outcomes = {row["id"]: row["outcome"] for row in read_lines(folder / "round-1/trajectories.jsonl")}
    for id, entry in entries(folder, "round-1/attempts").items():
        assert entry.tags[0] == outcomes[id]


def test_held_out_questions_are_right_or_wrong_as_they_were_measured(folder: Path) -> None:
    rows = [row for row in read_lines(folder / "eval.jsonl") if row["item"] == "greedy" and row["round"] == 1]
    found = entries(folder, "round-1/test-trajectories")
    for row in rows:
        tags = found[f"{row['id']} #0"].tags
        assert ("right" in tags) == row["self_corrected"]
        assert ("mended" in tags) == (row["self_corrected"] and not row["direct"])


def test_m_0_and_the_last_model_stand_side_by_side_what_changed_first(folder: Path) -> None:
    found = [*entries(folder, "comparison").values()]
    changed = ["changed" in entry.tags for entry in found]
    assert any(changed) and changed == sorted(changed, reverse=True)
    chats = [one for one in found[0].detail().parts if isinstance(one, Chat)]
    assert [one.label for one in chats] == ["m_0", "m_2"]
    assert dict(found[0].detail().facts)["m_0"] != dict(found[0].detail().facts)["m_2"]


def test_before_a_run_is_evaluated_nothing_is_right_or_wrong(folder: Path, tmp_path: Path) -> None:
    for name in ("run.json", "exercises.jsonl", "round-0/test-trajectories.jsonl", "round-1/attempts.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert [*groups(tmp_path)] == ["round-0/test-trajectories", "round-1/attempts"]
    tags = {tag for id in groups(tmp_path) for entry in entries(tmp_path, id).values() for tag in entry.tags}
    assert tags == set()
    detail = next(iter(entries(tmp_path, "round-1/attempts").values())).detail()
    assert "rows learned of it" not in dict(detail.facts)


def test_where_all_rounds_learn_what_the_first_did_a_row_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", at_once)
    stage = Stage(tmp_path / "run")
    stage.run(interaction="once")
    found = entries(stage.folder, "round-2/train")
    links = [link for id, entry in found.items() if " turn " in id for link in entry.detail().links]
    assert links and {link.group.partition("/")[0] for link in links} == {"round-1"}


def test_an_exercise_shows_its_question_its_answer_and_its_gold_rationale(folder: Path) -> None:
    for id, entry in entries(folder, "round-1/attempts").items():
        exercise = next(one for one in QUESTIONS if one.id == id.rpartition(" #")[0])
        detail = entry.detail()
        assert entry.title == exercise.question == chat(detail).messages[0].text
        assert dict(detail.facts)["answer"] == exercise.answer


def test_what_is_said_of_attempts_fits_what_is_learned_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", at_once)
    stage = Stage(tmp_path / "run")
    stage.run(rounds=1, learn_from="filtered")
    found = groups(stage.folder)
    assert found["round-1/attempts"].about == "m_0 attempts a question; learned is what is right."
    tried, learned = (entries(stage.folder, f"round-1/{name}") for name in ("attempts", "train"))
    kept = [id for id, entry in tried.items() if "learned" in entry.tags]
    links = [link.entry for entry in learned.values() for link in entry.detail().links]
    assert kept and {*kept} == {*links}
