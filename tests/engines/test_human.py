"""A person in a role: asked at the terminal one question at a time, and never the same again."""

from __future__ import annotations

import json
import os
import pty
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparring.budget import Account, Budget
from sparring.engines import open_engine
from sparring.engines.base import Request, Served
from sparring.engines.human import Human, HungUp, Terminal, plain, sharing, shown
from sparring.engines.kept import kept
from sparring.errors import EngineError, ServerError
from sparring.flow import Role, run
from sparring.ledger import Ledger
from sparring.opening import Engines
from sparring.types import Completion, Failure, Sampling, assistant, system, user
from tests.command import Command
from tests.screen import screen

ASKED = Request([system("Play Ada."), user("What do you like?")], role="roleplayer")


class Desk:
    """A person's terminal: what is shown there, and what they type."""

    def __init__(self) -> None:
        self.keyboard, self.inner = pty.openpty()
        self.human = Human("", Terminal(self.inner, self.inner))
        self.shown = ""

    def until(self, words: str) -> str:
        while words not in self.shown:
            self.shown += os.read(self.keyboard, 2**16).decode()
        before, _, self.shown = self.shown.partition(words)
        return before

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def close(self) -> None:
        self.human.close()
        os.close(self.keyboard)
        os.close(self.inner)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


def beside(work: Callable[[], None]) -> threading.Thread:
    """Do something while the test types."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def answered(desk: Desk, *requests: Request) -> tuple[list[object], threading.Thread]:
    replies: list[object] = []
    return replies, beside(lambda: replies.extend(desk.human.generate(requests)))


def test_a_person_is_a_served_generator(desk: Desk) -> None:
    assert isinstance(desk.human, Served)


def test_a_reply_ends_with_an_empty_line(desk: Desk) -> None:
    replies, asking = answered(desk, ASKED)
    before = desk.until("roleplayer> ")
    assert "You are the roleplayer (question 1)" in before and "│ Play Ada." in before and "What do you like?" in before
    desk.type("I like tea,\nand — now and then — cake. 🦆\n\n")
    asking.join(10)
    assert replies == [Completion("I like tea,\nand — now and then — cake. 🦆")]


def test_the_end_of_input_ends_a_reply_that_was_begun(desk: Desk) -> None:
    replies, asking = answered(desk, ASKED)
    desk.until("roleplayer> ")
    desk.type("I like tea,\n\x04")
    asking.join(10)
    assert replies == [Completion("I like tea,")]


def test_two_people_at_one_terminal_are_asked_one_after_the_other(desk: Desk) -> None:
    other, replies = Human("bob", Terminal(desk.inner, desk.inner)), list[object]()
    first, asking = answered(desk, ASKED)
    desk.until("roleplayer> ")
    asking_bob = beside(lambda: replies.extend(other.generate([Request([user("And you?")], role="judge")])))
    desk.type("tea\n\n")
    assert "You are the judge" in desk.until("judge> ")
    desk.type("cake\n\n")
    asking.join(10)
    asking_bob.join(10)
    other.close()
    assert (first, replies) == ([Completion("tea")], [Completion("cake")])


def test_an_empty_line_alone_is_no_reply(desk: Desk) -> None:
    replies, asking = answered(desk, ASKED)
    desk.until("roleplayer> ")
    desk.type("\n")
    desk.until("(write something, or /skip) ")
    desk.type("tea\n\n")
    asking.join(10)
    assert replies == [Completion("tea")]


def test_skip_fails_the_rollout_and_not_the_run(desk: Desk) -> None:
    role, found = Role("roleplayer", desk.human), list[object]()
    asking = beside(lambda: found.extend(run([("one", role.say([user("What do you like?")]))])))
    desk.until("roleplayer> ")
    desk.type("/skip\n")
    asking.join(10)
    assert found == [Failure("one", "roleplayer refused", "")]


def test_questions_are_asked_one_at_a_time_and_in_order(desk: Desk) -> None:
    replies, asking = answered(desk, *(Request([user(f"question {at}?")], role="judge") for at in range(3)))
    for at in range(3):
        assert f"question {at}?" in desk.until("judge> ")
        time.sleep(0.05)
        assert "judge> " not in desk.shown
        desk.type(f"reply {at}\n\n")
    asking.join(10)
    assert replies == [Completion(f"reply {at}") for at in range(3)]


def test_what_was_typed_before_the_question_came_is_no_reply_to_it(desk: Desk) -> None:
    desk.type("left over from a paste\n\n")
    time.sleep(0.05)
    replies, asking = answered(desk, ASKED)
    desk.until("roleplayer> ")
    desk.type("tea\n\n")
    asking.join(10)
    assert replies == [Completion("tea")]


def test_whoever_draws_on_the_terminal_pauses_while_a_person_is_asked(desk: Desk) -> None:
    seen: list[str] = []
    with sharing(lambda: seen.append("pause"), lambda: seen.append("resume")):
        _, asking = answered(desk, ASKED)
        desk.until("roleplayer> ")
        assert seen == ["pause"]
        desk.type("tea\n\n")
        asking.join(10)
    assert seen == ["pause", "resume"]
    _, asking = answered(desk, ASKED)
    desk.until("roleplayer> ")
    desk.type("tea\n\n")
    asking.join(10)
    assert seen == ["pause", "resume"]


def test_one_who_hangs_up_is_waited_for_no_longer(desk: Desk) -> None:
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            desk.human.generate([ASKED])
        except HungUp as error:
            ended.append(error)

    asking = beside(ask)
    desk.until("roleplayer> ")
    desk.human.hang_up()
    asking.join(10)
    assert len(ended) == 1


def test_the_end_of_input_ends_the_run_and_says_what_is_kept(desk: Desk) -> None:
    ended: list[str] = []

    def ask() -> None:
        try:
            desk.human.generate([ASKED])
        except ServerError as error:
            ended.append(str(error))

    asking = beside(ask)
    desk.until("roleplayer> ")
    desk.type("\x04")
    asking.join(10)
    assert ended and "every reply is kept" in ended[0]


# On file


def test_a_person_is_never_asked_the_same_again_and_costs_nothing(desk: Desk, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for session, budget in enumerate(("1calls", "10tokens", "0.01usd")):  # less than one paid call might cost
            account = Account(ledger, "run", Budget.parse(budget))
            person, replies = kept(desk.human, account), list[object]()
            asking = beside(lambda person=person, replies=replies: replies.extend(person.generate([ASKED, ASKED])))
            if not session:
                desk.until("roleplayer> ")
                desk.type("tea\n\n")
            asking.join(10)
            assert replies == [Completion("tea"), Completion("tea")]
            other = Request([user(f"and {session}?")], role="roleplayer")
            asking = beside(lambda person=person, other=other: person.generate([other]))
            desk.until("roleplayer> ")
            desk.type("cake\n\n")
            asking.join(10)
        billed = account.totals()["roleplayer"]
    assert billed["billed_now"]["usd"] == 0.0 and billed["lost"]["calls"] == 0


def test_what_was_not_replied_to_is_not_on_file_as_lost(desk: Desk, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        account = Account(ledger, "run")
        person = kept(desk.human, account)

        def ask() -> None:
            with pytest.raises(HungUp):
                person.generate([ASKED])

        asking = beside(ask)
        desk.until("roleplayer> ")
        person.hang_up()
        asking.join(10)
        assert not account.under_way and account.totals()["roleplayer"]["lost"]["calls"] == 0


# What is shown


def test_terminal_escapes_in_what_is_asked_are_pictures() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07 back\x08 \x9b31m \u202egnihton"
    text = shown(Request([user(hostile)], role="\x1brole"), 1, 0)
    assert not any((char < " " and char != "\n") or char in "\x7f\x9b\u202e" for char in text)
    assert "␛[2J␛]0;owned␇ back␈" in text and "⟮RLO⟯gnihton" in text


def test_what_is_asked_cannot_pose_as_the_frame_around_it() -> None:
    text = shown(
        Request([system("one\n── You are the judge ──"), user("hello\nYou said:\n  yes")], role="roleplayer"), 1, 0
    )
    assert [line for line in text.splitlines() if line.startswith(("──", "You said"))] == [text.splitlines()[1]]


def test_letters_of_all_scripts_stay() -> None:
    assert plain("Grüße, 你好, नमस्ते, 👩‍🚀 and\u00a0space\r\n\tend") == "Grüße, 你好, नमस्ते, 👩‍🚀 and\u00a0space\n\tend"


def test_the_chat_is_shown_from_the_persons_side() -> None:
    chat = [user("hello"), assistant("tea"), user("and?")]
    text = shown(Request(chat, Sampling(temperature=1.0), 2, "roleplayer"), 7, 3)
    assert text.index("They say:") < text.index("You said:") < text.rindex("They say:")
    assert "(question 7, 3 more wait)" in text and "sample 2" in text


# At the door


def test_without_a_terminal_nobody_is_asked() -> None:
    with pytest.raises(EngineError, match="needs a person at a terminal"):
        open_engine("human:")


def test_people_are_told_apart_by_name(desk: Desk) -> None:
    assert Human("ada", desk.human.terminal).identity == "human:ada" != desk.human.identity


SMALL = "rounds=1 personas=[1,1,1] samples=2 test_samples=1 turns=[1] roles.roleplayer.engine=human:".split()


def test_a_plan_does_not_ask_a_person_and_says_how_to_count(sparring: Command) -> None:
    ended = sparring("plan", "star-gate", *SMALL)
    assert ended.status == 2 and "roles.roleplayer.engine=base" in ended.err


def test_the_doctor_does_not_wait_for_a_person(tmp_path: Path) -> None:
    with screen("-m", "sparring", "doctor", "star-gate", *SMALL, folder=tmp_path) as terminal:
        terminal.until("a person at this terminal")
        terminal.until("nothing missed")
        assert terminal.end() == 0


ROLEPLAYER = """
import sys
from sparring.cli import main
from sparring.engines.base import Request
from sparring.flow import Role, run
from sparring.opening import Engines
from sparring.report.terminal import narrator
from sparring.types import user
from pathlib import Path

with Engines("a run") as engines, narrator("star-gate", Path("out"), False, engines.billed) as tell:
    role = Role("roleplayer", engines.open("human:"))
    tell({"event": "stage", "stage": "round-1/conversations.jsonl", "done": 0, "of": 3})
    found = run([(str(at), role.say([user(f"question {at}?")])) for at in range(3)])
    tell({"event": "stage", "stage": "round-1/conversations.jsonl", "done": 3, "of": 3})
sys.stdout.write(repr(found))
"""


def test_ctrl_c_at_a_question_loses_no_reply(tmp_path: Path) -> None:
    home = {"SPARRING_HOME": str(tmp_path / "home")}
    with screen("-c", ROLEPLAYER, folder=tmp_path, environment=home) as terminal:
        terminal.until("roleplayer> ")
        terminal.type("reply 0\n")
        terminal.until("question 1?")
        terminal.until("roleplayer> ")
        began = time.monotonic()
        terminal.press("c")
        terminal.until("KeyboardInterrupt")
        assert terminal.end() != 0 and time.monotonic() - began < 10
        assert "calls under way" not in terminal.shown
    with screen("-c", ROLEPLAYER, folder=tmp_path, environment=home) as terminal:
        assert "question 0?" not in terminal.until("question 1?")
        terminal.until("roleplayer> ")
        for at in (1, 2):
            terminal.type(f"reply {at}\n")
            if at == 1:
                terminal.until("roleplayer> ")
        terminal.until("['reply 0', 'reply 1', 'reply 2']")
        assert terminal.end() == 0


def test_json_lines_on_standard_output_stay_clean(tmp_path: Path) -> None:
    out, home = tmp_path / "out.jsonl", {"SPARRING_HOME": str(tmp_path / "home")}
    with screen("-c", ROLEPLAYER, folder=tmp_path, stdout=out, environment=home) as terminal:
        for at in range(3):
            terminal.until(f"question {at}?")
            terminal.until("roleplayer> ")
            terminal.type(f"reply {at}\n")
        assert terminal.end() == 0
    *events, found = out.read_text().splitlines()
    assert {json.loads(line)["event"] for line in events} == {"stage"} and found.startswith("['reply 0'")


def test_engines_let_go_of_a_person_with_the_run(tmp_path: Path) -> None:
    with pytest.raises(EngineError), Engines("run") as engines:
        engines.open("human:")
