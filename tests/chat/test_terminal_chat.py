"""`sparring chat` at a real terminal, and what it draws there."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sparring.cli.chat import Shown, drawn, marked
from tests.screen import screen

CHAT = ("-m", "sparring", "chat")


def test_a_person_talks_to_a_model_at_the_terminal(tmp_path: Path) -> None:
    with screen(*CHAT, "world:concierge/policy", folder=tmp_path) as terminal:
        terminal.until("/help tells more")
        terminal.until("> ")
        terminal.type("Where should we eat for a graduation?")
        terminal.until("m_0 asks")
        assert terminal.until("Reply, or /answer.").strip()
        terminal.until("> ")
        terminal.type("I like thai food.")
        terminal.until("Reply, or /answer.")
        terminal.type("/answer")
        terminal.until("m_0 answers")
        terminal.until("Write another request.")
        terminal.type("/quit")
        assert terminal.end() == 0
    assert "Traceback" not in terminal.raw


def test_an_instruction_of_several_lines_ends_with_an_empty_one(tmp_path: Path) -> None:
    with screen(*CHAT, "world:instructions/policy", folder=tmp_path) as terminal:
        terminal.until("> ")
        for line in ("Write about the sea", "Add a postscript", "Mention the number 7", ""):
            terminal.type(line)
        terminal.until("m_0 says")
        terminal.until("% Yes")
        terminal.until("Give another instruction.")
        terminal.until("> ")
        terminal.press("d")
        assert terminal.end() == 0


SLOW = """
import importlib
import sys
import time
from sparring.chat.partner import Partner
from sparring.chat.plain import Plain
from sparring.chat.speaking import Speaking

class Slow:
    batch_size = 1
    def generate(self, requests): raise AssertionError
    def stream(self, request, on_text):
        while True:
            on_text("and so on ")
            time.sleep(0.02)

class Session(Plain):
    def engine(self, name, who):
        self.engines.opened[name] = Slow()
        return super().engine(name, who)

cli, shown = importlib.import_module("sparring.cli"), importlib.import_module("sparring.cli.chat")
shown.open_session = lambda what, *, tell, compare, round: Session(Partner("slow", "a slow model"), tell, compare)
sys.argv[1:] = ["chat", "slow"]
cli.main()
"""


def test_ctrl_c_stops_what_is_being_said_and_not_the_chat(tmp_path: Path) -> None:
    with screen("-c", SLOW, folder=tmp_path) as terminal:
        terminal.until("> ")
        for _ in range(2):
            terminal.type("go on")
            terminal.until("and so on and so on")
            terminal.press("c")
            terminal.until("Stopped. Write.")
            terminal.until("> ")
        terminal.type("/quit")
        assert terminal.end() == 0


def test_ctrl_c_takes_back_what_is_being_typed(tmp_path: Path) -> None:
    with screen("-c", SLOW, folder=tmp_path) as terminal:
        terminal.until("> ")
        os.write(terminal.terminal, b"half")
        terminal.until("half")
        terminal.press("c")
        terminal.until("> ")
        terminal.press("d")
        assert terminal.end() == 0


@pytest.mark.parametrize("where", ["said", "typed"])
def test_sigterm_ends_the_chat(tmp_path: Path, where: str) -> None:
    with screen("-c", SLOW, folder=tmp_path) as terminal:
        terminal.until("> ")
        if where == "said":
            terminal.type("go on")
            terminal.until("and so on")
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.type("")  # a signal that comes just before input() waits is seen when that returns
        assert terminal.end() == 143


def test_without_a_terminal_lines_are_read_and_json_lines_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *CHAT, "world:concierge/policy"],
        input="Where should we eat for a graduation?\n/answer\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=240,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "greeting"
    assert [event["part"] for event in events if event["event"] == "message"] == ["question", "answer"]


# What is drawn


def shown(*events: dict[str, Any]) -> str:
    out = io.StringIO()
    told = Shown(Console(file=out, force_terminal=True, width=100, highlight=False))
    for event in events:
        told.tell(event)
    return out.getvalue()


HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold]\u202e"


def test_nothing_that_a_model_says_is_obeyed_by_the_terminal() -> None:
    delta = {"event": "delta", "who": "m_2", "part": "response", "text": HOSTILE}
    whole = {"event": "message", "who": "m_2", "part": "response", "text": HOSTILE, "facts": {}}
    node = {"id": 0, "depth": 0, "value": 1.0, "text": HOSTILE, "critique": HOSTILE}
    quoted = {"verdict": "wrong", "attempt": HOSTILE, "mark": [0, 5], "script": HOSTILE}
    said = shown(
        delta,
        whole,
        whole,
        {"event": "node", "tree": "1", "node": node},
        {**whole, "facts": quoted},
        {"event": "note", "text": HOSTILE},
        {"event": "error", "text": HOSTILE},
        {"event": "turn", "hint": "Write."},
    )
    assert "\x1b[2J" not in said and "\x1b]0" not in said and "\x07" not in said and "\u202e" not in said
    assert said.count("␛[2J␛]0;owned␇[bold]") >= 5, "markup is text, and escapes are pictures"


def test_words_that_came_in_pieces_are_not_shown_twice() -> None:
    pieces = [{"event": "delta", "who": "m_2", "part": "answer", "text": text} for text in (" tea", " and\ncake")]
    said = shown(*pieces, {"event": "message", "who": "m_2", "part": "answer", "text": "tea and\ncake", "facts": {}})
    assert said.count("tea") == 1 and "\n  cake\n" in said


def test_a_reply_that_was_cut_off_is_said_to_be() -> None:
    facts = {"finish": "cut off"}
    assert "(cut off)" in shown({"event": "message", "who": "m", "part": "response", "text": "a", "facts": facts})


def test_the_quoted_part_is_marked_in_its_line_alone() -> None:
    line = marked("(1) 1 + 1 = 2\n(2) 2 + 2 = 5\n(3) end", 18, 27)
    assert line.plain == "(2) 2 + 2 = 5"
    [mark] = line.spans
    assert line.plain[mark.start : mark.end] == "2 + 2 = 5"


def test_a_tree_is_drawn_below_its_parents_with_the_accepted_node_named() -> None:
    nodes = {
        0: {"id": 0, "value": 0.2, "text": "root"},
        1: {"id": 1, "parent": 0, "value": 0.4, "text": "left\nside"},
        2: {"id": 2, "parent": 1, "value": 0.8, "text": "leaf", "accepted": True},
    }
    out = io.StringIO()
    Console(file=out, width=60).print(drawn(nodes))
    lines = out.getvalue().splitlines()
    assert [line.strip() for line in lines] == [
        "20% Yes  root",
        "└──  40% Yes  left / side",
        "└──  80% Yes  accepted  leaf",
    ]
