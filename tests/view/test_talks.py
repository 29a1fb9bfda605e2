"""Talks with a model through the page's server: streamed, one a page, stopped when asked, let go when nobody cares."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.engines.hf import HF
from sparring.view.talks import Busy, Talks, without_paths
from tests.made_runs import make_star_gate
from tests.view.serving import PAGE, Site, parrots, serving, until


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_star_gate(tmp_path_factory.mktemp("talks") / "star", pairs=1, samples=1, until="situations.jsonl")


@pytest.fixture
def slow(run: Path) -> Iterator[Site]:
    with serving(run, parrots(pause=0.05)[0]) as site:
        yield site


def kinds(events: list[dict[str, str]]) -> list[str]:
    return [event["event"] for event in events]


def test_the_first_message_opens_the_model_and_the_next_does_not(run: Path) -> None:
    opener, opened = parrots()
    with serving(run, opener) as site:
        assert opened == []
        events = site.say("one two")
        assert kinds(events) == ["opening", "open", "delta", "delta", "message", "turn"]
        assert events[1]["commands"] == {"/new": "begin anew", "/help": "this"}
        assert kinds(site.say("three")) == ["delta", "message", "turn"]
        assert len(opened) == 1 and not opened[0].closed
    assert opened[0].closed


def test_words_come_as_they_are_said(slow: Site) -> None:
    body = json.dumps({"page": PAGE, "text": " ".join("abcdefghij")})
    came: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", slow.port, timeout=20)
    connection.request("POST", "/say", body, {"Host": slow.host, "Origin": f"http://{slow.host}",
                       "Content-Type": "application/json", "X-Sparring-Token": slow.token})  # fmt: skip
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "application/x-ndjson"
    while response.readline():
        came.append(time.monotonic())
    connection.close()
    assert len(came) == 14
    assert came[-1] - came[2] > 0.2


def test_m_0_is_beside_it_where_the_page_asks(run: Path) -> None:
    opener, opened = parrots()
    with serving(run, opener) as site:
        said = [event["who"] for event in site.say("hello", compare=True) if event["event"] == "message"]
        assert said == ["m_1", "m_0"] and opened[0].compare


def test_hostile_words_arrive_as_they_were(run: Path) -> None:
    text = "<script>alert(1)</script>\u202e\x00\u2028 \U0001f600 \ud800"
    with serving(run, parrots()[0]) as site:
        answer = site.post("/say", json.dumps({"page": PAGE, "text": text}))
        messages = [json.loads(line) for line in answer.body.split("\n") if line]
        assert next(event["text"] for event in messages if event["event"] == "message") == text


def test_an_error_is_told_without_a_path_and_the_talk_goes_on(run: Path) -> None:
    with serving(run, parrots()[0]) as site:
        events = site.say("/break")
        assert events[1]["greeting"] == "m_1 of …/star: a parrot."
        assert events[-1] == {"event": "error", "text": "…/thing is gone"}
        assert kinds(site.say("again"))[-1] == "turn"


def test_a_model_that_cannot_be_opened_is_said_and_can_be_tried_again(run: Path, tmp_path: Path) -> None:
    def opener(*_: object) -> HF:
        return HF(str(tmp_path / "nothing"))

    with serving(run, opener) as site:  # type: ignore[arg-type]
        for _ in range(2):
            events = site.say("hello")
            assert kinds(events) == ["opening", "error"]
            assert str(tmp_path) not in events[1]["text"]


def test_a_second_message_while_the_first_is_answered_is_told_so(run: Path) -> None:
    opener, opened = parrots(pause=0.1)
    said: list[dict[str, str]] = []
    with serving(run, opener) as site:
        token = site.token
        thread = threading.Thread(target=lambda: said.extend(site.say("a " * 20)))
        thread.start()
        assert until(lambda: bool(opened))
        assert site.post("/say", {"page": PAGE, "text": "b"}, X_Sparring_Token=token).status == 409
        thread.join(20)
    assert kinds(said)[-1] == "turn" and kinds(said).count("delta") == 20


def test_stop_breaks_off_what_is_said(slow: Site) -> None:
    said: list[dict[str, str]] = []
    thread = threading.Thread(target=lambda: said.extend(slow.say("a " * 2000)))
    thread.start()
    time.sleep(0.5)
    assert slow.post("/stop", {"page": PAGE}).status == 200
    thread.join(20)
    assert not thread.is_alive()
    assert {"event": "note", "text": "Stopped."} in said


def test_a_page_that_goes_away_stops_what_is_said(run: Path) -> None:
    opener, opened = parrots(pause=0.02)
    with serving(run, opener) as site:
        body = json.dumps({"page": PAGE, "text": "a " * 10_000}).encode()
        head = f"POST /say HTTP/1.1\r\nHost: {site.host}\r\nOrigin: http://{site.host}\r\n"
        head += "Content-Type: application/json\r\n"
        head += f"X-Sparring-Token: {site.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
            line.sendall(head.encode() + body)
            while b'"delta"' not in line.recv(65536):
                pass
        assert until(lambda: site.post("/say", {"page": PAGE, "text": "b"}).status == 200)
        assert len(opened) == 1


def test_a_talk_that_is_ended_lets_its_model_go_and_the_next_message_opens_one_anew(run: Path) -> None:
    opener, opened = parrots()
    with serving(run, opener) as site:
        site.say("one")
        assert site.post("/end", {"page": PAGE}).status == 200
        assert until(lambda: opened[0].closed)
        assert kinds(site.say("two"))[:2] == ["opening", "open"]


def test_a_third_page_takes_the_place_of_the_one_that_was_silent_longest(run: Path) -> None:
    opener, opened = parrots()
    with serving(run, opener) as site:
        for page in ("a" * 16, "b" * 16, "c" * 16):
            site.say("hello", page=page)
        assert until(lambda: [one.closed for one in opened] == [True, False, False])


async def heard(talks: Talks, page: str, text: str) -> list[str]:
    return [event["event"] async for event in talks.say(page, text) if event]


def test_while_all_talks_are_busy_a_new_one_is_refused() -> None:
    async def play() -> None:
        talks = Talks(parrots(pause=0.05)[0], most=1)
        first = asyncio.create_task(heard(talks, "a", "one two three four"))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy, match="1 talks go on in other tabs"):
            await heard(talks, "b", "hello")
        assert (await first)[-1] == "turn"
        await talks.end_all(5)

    asyncio.run(play())


def test_a_talk_that_nobody_uses_is_ended() -> None:
    async def play() -> None:
        opener, opened = parrots()
        talks = Talks(opener, idle=0.2)
        await heard(talks, "a", "hello")
        talks.end_idle()
        assert not opened[0].closed
        await asyncio.sleep(0.3)
        talks.end_idle()
        await talks.end_all(5)
        assert await asyncio.to_thread(until, lambda: opened[0].closed)

    asyncio.run(play())


SHOWN = {
    "no /home/ada/models/m here": "no …/m here",
    "'/a/b': gone": "'…/b': gone",
    "~/models/m": "…/m",
    "and/or 3/4 a/b/c": None,
    "http://host/v1/x": None,
    "/answer, /new": None,
    "(1) 6/2/1": None,
}


@pytest.mark.parametrize("text", SHOWN)
def test_paths_are_left_out_of_words_of_ours(text: str) -> None:
    assert without_paths(text) == (SHOWN[text] or text)
