"""A run of STaR-GATE looked through: what every conversation lent, and why one was learned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from sparring.engines.base import Request
from sparring.files import read_lines
from sparring.report.browse import Chat, Detail, Grid, Link, Words
from tests.recipes.test_star_gate import Stage, speak
from tests.report.looking import check_links, entries, groups

Part = TypeVar("Part", Chat, Grid)


def slips(model: str, request: Request) -> str:
    """One conversation with Ada about food fails: no question is asked."""
    said = speak(model, request)
    about = request.chat[-1]["content"]
    return "I see." if said.startswith("Q2") and about.startswith("My name is Ada") and "eat" in about else said


def at_once(_: int) -> None:
    """Outlasting a power cut is the subject of other tests."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", at_once)
        stage = Stage(tmp_path_factory.mktemp("star") / "run", slips)
        stage.run()
    yield stage.folder


def part(detail: Detail, kind: type[Part]) -> Part:
    return next(one for one in detail.parts if isinstance(one, kind))


def test_groups_come_in_the_order_of_the_loop_with_as_many_entries_as_they_say(folder: Path) -> None:
    found = groups(folder)
    assert [*found] == [
        "situations",
        *("round-0/test-conversations", "round-0/test-answers"),
        *("round-1/conversations", "round-1/train", "round-1/test-conversations", "round-1/test-answers"),
        *("round-2/conversations", "round-2/train", "round-2/test-conversations", "round-2/test-answers"),
        "comparison",
        "failures/round-1/conversations.jsonl",
    ]
    for group in found.values():
        ids = [entry.id for entry in group.entries()]
        assert len(ids) == group.n == len({*ids}) and group.n
    assert found["round-2/train"].round == 2 and found["comparison"].round is None


def test_every_link_leads_to_an_entry(folder: Path) -> None:
    check_links(folder)


def test_a_conversation_is_ranked_among_those_of_its_situation(folder: Path) -> None:
    signals = {row["id"]: row["log_prob"] for row in read_lines(folder / "round-1/signals.jsonl")}
    found = entries(folder, "round-1/conversations")
    for id, entry in found.items():
        siblings = [value for other, value in signals.items() if other.rpartition(" #")[0] == id.rpartition(" #")[0]]
        assert entry.value == signals[id] and entry.unit == "nats"
        assert (entry.rank, entry.of) == (1 + sum(value > signals[id] for value in siblings), len(siblings))


def test_a_training_row_says_why_it_was_learned(folder: Path) -> None:
    for id, entry in entries(folder, "round-1/train").items():
        detail = entry.detail()
        told = dict(detail.facts)
        assert entry.rank == 1 and told["rank among its siblings"].startswith("1 of ")
        assert told["log-prob of the oracle's response after it, under m_0"].endswith(" nats")
        assert told["selection"] == "best, 1 of each situation"
        assert detail.links == (Link("the conversation", "round-1/conversations", id),)
        assert part(detail, Grid).rows[0][0] == f"{id} (this)"
        learned = [message.who for message in part(detail, Chat).messages if message.weight]
        assert learned and {*learned} == {"policy"}
        assert all(message.weight == 0 for message in part(detail, Chat).messages if message.who != "policy")


def test_what_was_learned_can_be_filtered_by_among_all_that_was_tried(folder: Path) -> None:
    tried, learned = (entries(folder, f"round-1/{name}") for name in ("conversations", "train"))
    assert {id for id, entry in tried.items() if "learned" in entry.tags} == {*learned}


def test_the_policy_knows_the_name_alone_and_the_reader_the_persona_too(folder: Path) -> None:
    detail = next(iter(entries(folder, "round-1/conversations").values())).detail()
    chat = part(detail, Chat)
    assert [message.who for message in chat.messages[:3]] == ["user", "policy", "roleplayer"]
    secret = next(one.text for one in detail.parts if isinstance(one, Words) and one.label.startswith("persona"))
    assert "secret" in secret and not any("secret" in message.text for message in chat.messages)


def test_m_0_and_the_last_model_stand_side_by_side_those_told_apart_first(folder: Path) -> None:
    found = entries(folder, "comparison")
    verdicts = [row for row in read_lines(folder / "round-2/test-verdicts.jsonl") if row["voice"] == "own"]
    assert {id: entry.value for id, entry in found.items()} == {row["situation"]: row["value"] for row in verdicts}
    order = ["better" in entry.tags for entry in found.values()]
    assert order == sorted(order, reverse=True)
    detail = next(iter(found.values())).detail()
    chats = [one for one in detail.parts if isinstance(one, Chat)]
    assert [chat.label for chat in chats] == ["m_0", "m_2"]
    assert [chat.messages[-1].text[:3] for chat in chats] == ["m_0", "m_2"]


def test_an_answer_of_m_0s_questions_leads_to_m_0s_conversation(folder: Path) -> None:
    found = entries(folder, "round-2/test-answers")
    detail = next(entry for entry in found.values() if "answers_alone" in entry.tags).detail()
    assert detail.links[0].group == "round-0/test-conversations"
    assert dict(detail.facts)["who"] == "m_0 asks, the model answers"


def test_failures_are_told_by_stage_with_reason_detail_and_what_was_asked(folder: Path) -> None:
    entry = next(groups(folder)["failures/round-1/conversations.jsonl"].entries())
    row = read_lines(folder / "failures.jsonl")[0]
    assert entry.id == row["id"] and entry.tags == ("failed", row["reason"])
    assert entry.title == f"{row['reason']}: Where should we eat?"
    assert row["detail"] in [one.text for one in entry.detail().parts if isinstance(one, Words)]


def test_a_run_in_the_middle_of_a_round_shows_what_is_there(folder: Path, tmp_path: Path) -> None:
    for name in ("run.json", "situations.jsonl", "round-1/conversations.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert [*groups(tmp_path)] == ["situations", "round-1/conversations"]
    for entry in entries(tmp_path, "round-1/conversations").values():
        assert entry.value is None and entry.rank is None and entry.tags == () and entry.unit == ""
        assert all(row[1] is None for row in part(entry.detail(), Grid).rows)
