"""The server as a whole: its port, its page, its blocks, and a real model to talk to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sparring.errors import SettingsError
from sparring.view.server import TRIES, listening
from tests.made_runs import MAKERS, make_star_gate
from tests.view.serving import parrots, serving


@pytest.mark.parametrize("recipe", sorted(MAKERS))
def test_a_run_of_every_recipe_is_served_with_all_its_blocks(tmp_path: Path, recipe: str) -> None:
    with serving(MAKERS[recipe](tmp_path / "run"), parrots()[0]) as site:
        page = site.ask("/")
        assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
        assert 'data-live="data/1" data-edition="1"' in page.body
        assert '<section id="live"' in page.body and '<section id="chat"' in page.body
        catalogue = site.ask("/data/1/groups.json")
        groups = catalogue.json()["groups"]
        assert groups and catalogue.headers["content-type"] == "application/json; charset=utf-8"
        for group in groups:
            index = site.ask(f"/data/1/{group['index']}.json").json()
            assert len(index["ids"]) == group["n"]
            for name, n in index["blocks"][:1]:
                assert len(site.ask(f"/data/1/{name}.json").json()["details"]) == n


def test_it_says_how_the_run_stands_and_what_is_new(tmp_path: Path) -> None:
    run = make_star_gate(tmp_path / "run", pairs=1, samples=1)
    with serving(run, parrots()[0]) as site:
        row = site.ask("/now?edition=1").json()
        assert (row["state"], row["edition"], row["news"], row["problem"]) == ("done", 1, [], False)
        for odd in ("", "-1", "x", "9" * 400, "%C2%B2", "%00"):
            assert "round 1: conversations" in site.ask(f"/now?edition={odd}").json()["news"]


def test_a_journal_that_cannot_be_read_is_said_and_is_no_silence(tmp_path: Path) -> None:
    run = make_star_gate(tmp_path / "run", pairs=2, samples=2)
    with serving(run) as site:
        (run / "journal.jsonl").write_text("no line of ours\n")
        answer = site.ask("/now?edition=1")
        assert (answer.status, answer.body) == (500, "A file of the run cannot be read.")


def test_a_port_that_is_taken_gives_way_to_the_next(tmp_path: Path) -> None:
    with listening(0) as first:
        port: int = first.getsockname()[1]
        if port > 65000:
            pytest.skip("no room above this port")
        with listening(port) as second:
            assert port < second.getsockname()[1] < port + TRIES
            assert second.getsockname()[0] == "127.0.0.1"


def test_where_no_port_is_free_it_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 65535))
        taken.listen()
        with pytest.raises(SettingsError, match="--port 65535: no port from 65535 to 65535 can be had"):
            listening(65535)


def test_the_embedded_model_answers_in_the_browsers_words(tmp_path: Path) -> None:
    run = make_star_gate(tmp_path / "run", pairs=1, samples=1, until="situations.jsonl")
    with serving(run) as site:
        events = site.say("Where should we eat for a birthday?")
        assert [event["event"] for event in events][:2] == ["opening", "open"]
        assert str(tmp_path) not in events[1]["greeting"]
        said = [event for event in events if event["event"] == "message"]
        assert (said[0]["who"], said[0]["part"]) == ("m_0", "question") and said[0]["text"]
        deltas = "".join(event["text"] for event in events if event["event"] == "delta")
        assert deltas.strip() == said[0]["text"]
        assert events[-1] == {"event": "turn", "hint": "Reply, or /answer."}
