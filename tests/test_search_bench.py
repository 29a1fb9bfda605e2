"""Measurements of tree search: both sides do the same work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.search import Place, grown, made_up, repeats
from bench.search_figures import OURS, POOL, PUBLISHED, medians, ratios
from bench.stub import reply
from bench.votes import replayed
from sparring.signals.judge import Judgement, Vote
from tests.serving import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(reply=reply) as found:
        yield found


def test_the_pool_grows_the_very_trees_that_a_search_grows_and_both_count_the_same(server: Server) -> None:
    found = repeats(Place(server.url, "test"), made_up(12), (OURS, POOL), 1, lambda _: None)
    assert ratios(found, OURS, POOL)["same_trees"] == 1.0
    ours, pool = (medians(found)[way] for way in (OURS, POOL))
    for name in ("refinements", "nodes", "accepted", "tokens"):
        assert ours[name] == pool[name] > 0
    assert ours["posts"] <= pool["posts"]  # siblings are asked for in one call


def test_a_worker_of_the_pool_has_one_request_under_way_and_a_search_as_many_as_it_can(server: Server) -> None:
    server.manners.latency = 0.02
    grown(OURS, Place(server.url, "test"), made_up(3), 0)
    assert server.most_at_once > 3
    server.most_at_once = 0
    grown(POOL, Place(server.url, "test"), made_up(3), 0)
    assert server.most_at_once <= 3


def test_as_published_what_changed_nothing_is_judged_as_well(server: Server) -> None:
    server.manners.reply = lambda body, seed: (
        reply(body, 0).replace("good", "bad") if len(body["messages"]) == 3 else ("Verdict: No")
    )
    roots, place = made_up(2), Place(server.url, "test")
    assert grown(POOL, place, roots, 0).figures["nodes"] < 2 * 15
    assert grown(PUBLISHED, place, roots, 0).figures["nodes"] == 2 * 15


def judgement(verdicts: str) -> Judgement:
    said = {"y": "Verdict: Yes", "n": "Verdict: No", "?": ""}
    known = {"y": True, "n": False, "?": None}
    votes = [Vote(said[one], known[one], "" if known[one] is not None else "cut off") for one in verdicts]
    return Judgement.of(votes, 3)


def test_votes_that_stop_early_change_no_verdict_and_are_fewer() -> None:
    found = replayed([judgement(verdicts) for verdicts in ("yyyyy", "nnnnn", "ynyny", "yy??n", "?????", "yyynn")])
    assert found["votes_verdicts_changed"] == found["votes_critiques_changed"] == 0
    assert found["votes_all"] == 30
    assert found["votes_stopped"] == 3 + 3 + 5 + 5 + 3 + 3
