"""A run of SPaR looked through: answers with their votes, trees, pairs, and what the refiner learned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sparring.files import read_lines, write_lines
from sparring.report.browse import Chat, Detail, Grown
from tests.recipes.test_spar import EXAM, Stage
from tests.report.looking import check_links, entries, groups


def at_once(_: int) -> None:
    """Outlasting a power cut is the subject of other tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", at_once)
        stage = Stage(tmp_path_factory.mktemp("spar") / "run")
        stage.run()
        parts = (("test", EXAM.test), ("judged", EXAM.judged))  # as the command line writes them
        rows = [{"part": name, **asdict(one)} for name, those in parts for one in those]
        write_lines(stage.folder / "instructions.jsonl", rows)
    yield stage.folder


def tree(detail: Detail) -> Grown:
    return next(one for one in detail.parts if isinstance(one, Grown))


def test_groups_come_in_the_order_of_the_loop_with_as_many_entries_as_they_say(folder: Path) -> None:
    found = groups(folder)
    assert [id for id in found if id.startswith("round-1")] == [
        *("round-1/attempts", "round-1/trees", "round-1/actor", "round-1/refiner"),
        *("round-1/test-answers", "round-1/test-sampled", "round-1/test-votes"),
        *("round-1/test-judgements", "round-1/test-trees"),
    ]
    assert "comparison" in found
    for group in found.values():
        ids = [entry.id for entry in group.entries()]
        assert len(ids) == group.n == len({*ids})


def test_every_link_leads_to_an_entry(folder: Path) -> None:
    check_links(folder)


def test_an_answer_has_its_votes_and_its_rank_among_answers_to_its_prompt(folder: Path) -> None:
    rows = read_lines(folder / "round-1/judgements.jsonl")
    found = entries(folder, "round-1/attempts")
    for row in rows:
        entry = found[f"{row['prompt_id']} #{row['index']}"]
        siblings = [one["judgement"]["value"] for one in rows if one["prompt_id"] == row["prompt_id"]]
        assert entry.value == row["judgement"]["value"] and entry.unit == "of votes Yes"
        assert (entry.rank, entry.of) == (1 + sum(value > entry.value for value in siblings), len(siblings))
        node = tree(entry.detail()).nodes[0]
        assert [vote.text for vote in node.votes] == [vote["text"] for vote in row["judgement"]["votes"]]


def test_a_tree_has_all_its_nodes_and_what_became_none(folder: Path) -> None:
    for row in read_lines(folder / "round-1/trees.jsonl"):
        entry = entries(folder, "round-1/trees")[row["id"]]
        shown = tree(entry.detail())
        assert [(node.id, node.parent, node.text) for node in shown.nodes] == [
            (node["id"], node["parent"], node["response"]) for node in row["nodes"]
        ]
        assert [node.id for node in shown.nodes if node.accepted] == [i for i in [row["accepted"]] if i is not None]
        assert dict(shown.dropped) == row["dropped"]
        assert ("accepted" in entry.tags) == (row["accepted"] is not None)


def test_a_pair_says_what_was_chosen_over_what_and_by_which_path(folder: Path) -> None:
    pairs = {row["id"]: row for row in read_lines(folder / "round-1/actor.jsonl")}
    found = entries(folder, "round-1/actor")
    assert {*found} == {*pairs} and pairs
    for id, row in pairs.items():
        detail = found[id].detail()
        chosen, rejected = (one for one in detail.parts if isinstance(one, Chat))
        assert (chosen.label, rejected.label) == ("chosen", "rejected")
        assert (chosen.messages[-1].text, rejected.messages[-1].text) == (row["chosen"], row["rejected"])
        path = tree(detail).nodes
        assert path[0].text == row["rejected"] and path[-1].text == row["chosen"] and path[-1].accepted
        assert [node.parent for node in path] == [None, *(node.id for node in path[:-1])]
        assert all(node.votes and node.critique for node in path)
        assert dict(detail.facts)["words changed"] == str(row["edits"])
        assert "nats" in dict(detail.facts)["log-prob of what was chosen"]
        assert ("round-1/trees", id) in [(link.group, link.entry) for link in detail.links]


def test_a_row_of_the_refiner_has_its_weights_and_the_votes_that_differed(folder: Path) -> None:
    rows = read_lines(folder / "round-1/refiner.jsonl")
    found = entries(folder, "round-1/refiner")
    assert len(found) == len(rows) and rows
    for row in rows:
        entry = found[f"{row['id']} {row['kind']}"]
        detail = entry.detail()
        said = next(one for one in detail.parts if isinstance(one, Chat))
        assert [message.weight for message in said.messages] == row["weights"]
        assert row["kind"] in entry.tags
        if row["kind"] == "refinement":
            assert [message.who for message in said.messages] == ["user", "judge", "user", "refiner"]
            assert tree(detail).nodes[-1].accepted
        else:
            assert {vote.verdict for vote in tree(detail).nodes[0].votes} >= {"yes", "no"}


def test_held_out_answers_are_right_or_wrong_as_the_checkers_say(folder: Path) -> None:
    rows = [row for row in read_lines(folder / "eval.jsonl") if row["item"] == "greedy" and row["round"] == 2]
    found = entries(folder, "round-2/test-answers")
    assert rows
    for row in rows:
        assert found[f"{row['id']} #0"].tags == ("right" if row["strict"] else "wrong",)


def test_a_judgement_says_what_is_known_of_the_response(folder: Path) -> None:
    found = entries(folder, "round-1/test-judgements")
    for one in EXAM.judged:
        detail = found[one.id].detail()
        told = dict(detail.facts)
        assert told["the response follows"] == ("yes" if one.label else "no")
        assert tree(detail).nodes[0].text == one.response
        says = told["votes"].startswith("Yes")
        assert told["judged rightly"] == ("yes" if says is one.label else "no")


def test_m_0_and_the_last_model_stand_side_by_side_what_changed_first(folder: Path) -> None:
    found = [*entries(folder, "comparison").values()]
    changed = ["changed" in entry.tags for entry in found]
    assert any(changed) and changed == sorted(changed, reverse=True)
    chats = [one for one in found[0].detail().parts if isinstance(one, Chat)]
    assert [one.label for one in chats] == ["m_0", "m_2"]


def test_answers_that_are_not_judged_yet_have_no_value(folder: Path, tmp_path: Path) -> None:
    for name in ("run.json", "round-1/attempts.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert [*groups(tmp_path)] == ["round-1/attempts"]
    for entry in entries(tmp_path, "round-1/attempts").values():
        assert entry.value is None and entry.rank is None and entry.tags == ()
        assert tree(entry.detail()).nodes[0].votes == ()


@pytest.mark.parametrize("changes", [{"learn_from": "sft"}, {"learn_from": "independent"}, {"judge_pairs": True}])
def test_every_way_to_learn_can_be_looked_through(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", at_once)
    stage = Stage(tmp_path / "run")
    stage.run(rounds=1, **changes)
    rows = [
        row
        for name in ("actor", "judge")
        if f"round-1/{name}" in groups(stage.folder)
        for row in entries(stage.folder, f"round-1/{name}").values()
    ]
    assert rows
    for row in rows:
        assert all(detail_part.row() for detail_part in row.detail().parts)
        assert any(link.group == "round-1/attempts" for link in row.detail().links)
