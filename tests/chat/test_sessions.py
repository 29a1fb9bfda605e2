"""Sessions with real models of the embedded worlds: the words around them are those of training."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparring.chat import Event, Session, open_session
from sparring.chat.asking import Asking
from sparring.chat.partner import Partner
from sparring.chat.plain import Plain
from sparring.chat.searching import Searching
from sparring.chat.speaking import Speaking
from sparring.engines.base import OnText, Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.flow import Role, run
from sparring.recipes.spar_settings import SPaR
from sparring.recipes.star_gate import StarGate
from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Persona, Situation
from sparring.tasks import Task
from sparring.types import Completion, Sampling
from sparring.worlds import open_engine, world_of


class Heard(list[Event]):
    """What a session told."""

    def of(self, kind: str, **wanted: str) -> list[Event]:
        return [e for e in self if e["event"] == kind and all(e.get(name) == value for name, value in wanted.items())]

    def texts(self, kind: str, **wanted: str) -> list[str]:
        return [event["text"] for event in self.of(kind, **wanted)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


Opened = Callable[[str], Session]


@pytest.fixture
def opened(heard: Heard) -> Iterator[Opened]:
    made: list[Session] = []

    def session(what: str) -> Session:
        made.append(open_session(what, tell=heard.append))
        return made[-1]

    yield session
    for one in made:
        one.close()


class Scripts:
    """Stands for the engines of a session: a function for each name."""

    def __init__(self, **replies: Callable[[Request], str]):
        self.engines = {name: Scripted(reply) for name, reply in replies.items()}

    def open(self, name: str) -> Scripted:
        return self.engines[name]

    def close(self) -> None:
        pass


def played(kind: type[Session], partner: Partner, heard: Heard, compare: bool = False, **replies: Any) -> Session:
    """Return a session whose models are functions of the request."""

    class Here(kind):
        def engine(self, name: str, who: str) -> Speaking:
            self.engines = Scripts(**replies)  # type: ignore[assignment]
            return super().engine(name, who)

    return Here(partner, heard.append, compare)


def asks(request: Request) -> str:
    """Ask what was not asked yet; answer where the task stands again at the end."""
    said = [message["content"] for message in request.chat if message["role"] != "system"]
    return "Then go there." if len(said) > 1 and said[-1].endswith("What now?") else f"What about {len(said)}?"


STAR = Partner(
    "m2",
    "m_2 of a run",
    "m_2",
    "star-gate",
    StarGate(policy="hf:x", turns=(1, 2), elicit="first round"),
    {"ask": "Ask one question."},
    base="m0",
    round=2,
)


# STaR-GATE


def test_the_model_of_a_world_asks_what_it_would_ask_a_roleplayer(opened: Opened, heard: Heard) -> None:
    session = opened("world:concierge/policy")
    session.send("My name is Bruno. Where should we eat for a graduation?")
    [question] = heard.texts("message", part="question")
    assert "".join(heard.texts("delta")).strip() == question

    world = world_of("world:concierge")
    assert world
    situation = Situation(Task("t", "Where should we eat for a graduation?"), Persona("p", "Bruno", ""), "")
    ask = (world.prompts / "ask.md").read_text().strip()
    policy = Role("policy", open_engine("world:concierge/policy"), Sampling(0.9, 0.9, 24), ask)
    assert run([("one", policy.say(Conversation(situation, 0).asking()))]) == [question]


def test_after_as_many_turns_as_were_trained_the_model_answers(heard: Heard) -> None:
    session = played(Asking, STAR, heard, m2=asks, m0=asks)
    for line in ("What now?", "one", "two"):
        session.send(line)
    assert heard.texts("message") == ["What about 1?", "What about 3?", "Then go there."]
    assert heard.of("message")[-1]["part"] == "answer" and heard[-1]["hint"] == "Write another request, or /compare."


def test_the_person_may_have_the_answer_sooner_and_begin_anew(heard: Heard) -> None:
    session = played(Asking, STAR, heard, m2=asks, m0=asks)
    for line in ("/answer", "What now?", "one", "/answer", "What now?"):
        session.send(line)
    assert heard.texts("note")[0] == "Write a request first."
    assert heard.texts("message") == ["What about 1?", "What about 3?", "Then go there.", "What about 1?"]


def test_it_is_told_to_ask_only_where_it_was_told_so_when_it_was_measured(heard: Heard) -> None:
    seen: list[tuple[str, str]] = []

    def note(who: str) -> Callable[[Request], str]:
        def reply(request: Request) -> str:
            seen.append((who, request.chat[0]["role"]))
            return asks(request)

        return reply

    session = played(Asking, STAR, heard, compare=True, m2=note("m_2"), m0=note("m_0"))
    session.send("What now?")
    assert seen == [("m_2", "user"), ("m_0", "system")]


def test_compare_has_m_0_ask_and_answer_at_the_same_points_of_the_conversation(heard: Heard) -> None:
    chats: list[Any] = []

    def first(request: Request) -> str:
        chats.append(request.chat)
        return asks(request).upper()

    session = played(Asking, STAR, heard, m2=asks, m0=first)
    for line in ("What now?", "one", "/answer", "/compare"):
        session.send(line)
    mine = [(e["part"], e["text"]) for e in heard.of("message", who="m_0")]
    assert mine == [("question", "WHAT ABOUT 1?"), ("question", "WHAT ABOUT 3?"), ("answer", "THEN GO THERE.")]
    assert "What about 1?" in json.dumps(chats[1]) and "WHAT" not in json.dumps(chats), "it is asked about m_2's words"


def test_compare_ask_has_m_0_put_questions_of_its_own(heard: Heard) -> None:
    session = played(Asking, STAR, heard, m2=asks, m0=lambda request: asks(request).upper())
    for line in ("What now?", "one", "/compare ask", "uno", "dos"):
        session.send(line)
    assert heard.texts("message", who="m_0") == ["WHAT ABOUT 1?", "WHAT ABOUT 3?", "THEN GO THERE."]
    session.send("/new")
    session.send("What now?")
    assert heard.of("message")[-1]["who"] == "m_2"


def test_what_would_have_been_left_out_of_training_is_shown_and_said_so(heard: Heard) -> None:
    session = played(Asking, STAR, heard, m2=lambda request: "You are nice.", m0=asks)
    session.send("What now?")
    assert heard.texts("message") == ["You are nice."]
    assert "question without a question mark" in heard.texts("note")[0]


def test_words_that_a_world_does_not_know_never_reach_its_model(opened: Opened, heard: Heard) -> None:
    session = opened("world:concierge/policy")
    session.send("where should we eat for a gradation?")
    assert not heard.of("message")
    assert "'where' (perhaps 'Where'" in heard.texts("note")[0] and "'graduation'" in heard.texts("note")[0]
    session.send("/words")
    assert "graduation" in heard.texts("note")[1] and "<|" not in heard.texts("note")[1]
    session.send("/example")
    session.send(heard.texts("note")[2])
    assert heard.of("message")


def test_a_reply_of_which_nothing_came_is_replaced_by_the_next(heard: Heard) -> None:
    seen: list[list[str]] = []

    def fails(request: Request) -> str:
        said = [message["content"] for message in request.chat]
        seen.append(said)
        if said[-1].endswith(("What?", "one")):
            raise RolloutError("server error", "gone")
        return asks(request)

    session = played(Asking, STAR, heard, m2=fails, m0=asks)
    hints: list[str] = []
    for line in ("What?", "What now?", "one", "uno", "dos"):
        session.send(line)
        hints.append(heard[-1]["hint"])
    assert hints[0] == "Write a request." and hints[2] == "Reply, or /answer."
    assert [said[-1].splitlines()[-1] for said in seen] == ["What?", "What now?", "one", "uno", "What now?"]
    assert "uno" in seen[-1] and "one" not in seen[-1] and heard.of("message")[-1]["part"] == "answer"


@pytest.mark.parametrize(
    ("said", "request_"),
    [
        ("My name is Bo. Where to?", "My name is Bo.\n\nWhere to?"),
        ("my name is Bo\nWhere to?", "My name is Bo.\n\nWhere to?"),
        ("I'm Italian. Where to?", "My name is Ada.\n\nI'm Italian. Where to?"),
        ("My name is Bo", "My name is Ada.\n\nMy name is Bo"),
    ],
)
def test_of_a_request_only_a_name_that_it_begins_with_is_taken(heard: Heard, said: str, request_: str) -> None:
    session = played(Asking, STAR, heard, m2=asks, m0=asks)
    session.send(said)
    assert isinstance(session, Asking) and session.conversation
    assert session.conversation.situation.request == request_


def test_one_may_be_called_what_the_model_has_a_word_for(opened: Opened, heard: Heard) -> None:
    session = opened("world:concierge/policy")
    for line in ("/name", "/name Zebedee", "/name Bruno"):
        session.send(line)
    assert "You are called Ada" in heard.texts("note")[0] and "no word for 'Zebedee'" in heard.texts("note")[1]
    session.send("Where should we eat for a graduation?")
    assert isinstance(session, Asking) and session.conversation
    assert session.conversation.situation.request.startswith("My name is Bruno.")


# TriPosT


def test_a_question_is_attempted_criticised_and_updated_as_the_recipe_does_it(opened: Opened, heard: Heard) -> None:
    session = opened("world:arithmetic/policy")
    session.send("Work out: 47 - 1 + 6 - 9 + 7")
    parts = [event["part"] for event in heard.of("message")]
    assert parts[:2] == ["attempt", "feedback"] and set(parts) <= {"attempt", "feedback", "update"}
    for event in heard.of("message"):
        deltas = "".join(heard.texts("delta", part=event["part"]))
        assert event["text"].splitlines()[0] in deltas
    attempts = [event for event in heard.of("message") if event["part"] != "feedback"]
    assert all(event["facts"]["script"] for event in attempts)
    assert heard.texts("note")[-1].startswith("m_0 answers ")


def test_what_feedback_quotes_is_found_in_the_attempt() -> None:
    from sparring.chat.correcting import quoted

    attempt = "(1) 1 + 1 = 2\n(2) 2 + 2 = 5\n(Final response) So the answer is 5."
    feedback = 'Step (1) is correct. In step (2) the part " 2 + 2 = 5 " is incorrect. This is because 2 + 2 is 4.'
    found = quoted(feedback, attempt)
    start, end = found["mark"]
    assert (found["verdict"], found["step"], attempt[start:end]) == ("wrong", "2", "2 + 2 = 5")
    assert quoted("The final response is correct.", attempt) == {"verdict": "correct"}
    assert quoted("Who knows?", attempt) == {"verdict": "unreadable"}


def test_a_question_that_the_script_cannot_read_is_tried_all_the_same(opened: Opened, heard: Heard) -> None:
    session = opened("world:arithmetic/policy")
    session.send("Work out: 33 + 8 - 2 + 17 - 4 + 6")
    assert "another form" in heard.texts("note")[0]
    assert heard.of("message") and "script" not in heard.of("message")[0]["facts"]


# SPaR

SPAR = Partner(
    "m2",
    "m_2 of a run",
    "m_2",
    "spar",
    SPaR(policy="hf:x", votes=3, quorum=2, search={"branch": 2, "depth": 2}),  # type: ignore[arg-type]
    {"judge": "{prompt}\n{response}", "refine": "{begin} {end}"},
    base="m0",
    refiner="r2",
    round=2,
)


def refines(request: Request) -> str:
    """Vote for what says "good"; refine into "better", then "good"."""
    said = request.chat[0]["content"]
    if request.role == "judge":
        return "Fine.\nVerdict: Yes" if "good" in said else "Poor.\nVerdict: No"
    word = "good" if "better" in said else f"better {request.sample_index}"
    return f"=== refined ===\n{word}\n=== end ==="


def test_a_failed_answer_grows_a_tree_until_a_refinement_passes(heard: Heard) -> None:
    session = played(Searching, SPAR, heard, m2=lambda request: "bad", m0=lambda request: "good", r2=refines)
    session.send("Do it.")
    nodes = [event["node"] for event in heard.of("node")]
    assert [(node["id"], node.get("parent"), node["text"]) for node in nodes] == [
        (0, None, "bad"),
        (1, 0, "better 0"),
        (2, 0, "better 1"),
        (3, 1, "good"),
        (3, 1, "good"),
    ]
    assert [bool(node.get("accepted")) for node in nodes] == [False] * 4 + [True]
    assert [vote["verdict"] for vote in nodes[0]["votes"]] == ["no"] * 3
    final = heard.of("message")[-1]
    assert (final["who"], final["text"], final["facts"]["accepted"]) == ("m_2", "good", True)
    assert heard.of("message", who="judge")[0]["facts"] == {"value": 0.0, "yes": 0, "no": 3, "unreadable": 0}


def test_an_answer_that_passes_is_not_refined(heard: Heard) -> None:
    session = played(Searching, SPAR, heard, m2=lambda request: "good", m0=asks, r2=refines)
    session.send("Do it.")
    assert {event["node"]["id"] for event in heard.of("node")} == {0}
    assert "It passed as it stood:" in heard.texts("note")


def test_where_none_is_accepted_the_best_by_votes_is_shown_as_such(heard: Heard) -> None:
    def never(request: Request) -> str:
        if request.role == "judge":
            return (
                f"Verdict: {'Yes' if 'better 1' in request.chat[0]['content'] and request.sample_index == 0 else 'No'}"
            )
        return refines(request)

    session = played(Searching, SPAR, heard, m2=lambda request: "bad", m0=asks, r2=never)
    session.send("Do it.")
    assert heard.of("message")[-1]["text"] == "better 1" and not heard.of("message")[-1]["facts"]["accepted"]
    assert heard.texts("note")[-1].startswith("None was accepted")


def test_compare_puts_m_0s_answer_before_the_same_judge(heard: Heard) -> None:
    session = played(Searching, SPAR, heard, m2=lambda request: "bad", m0=lambda request: "good", r2=refines)
    for line in ("Do it.", "/compare"):
        session.send(line)
    assert heard.texts("message", who="m_0") == ["good"]
    assert heard.of("message", who="judge")[-1]["facts"]["yes"] == 3


def test_compare_before_anything_was_asked_shows_m_0_beside_it_from_then_on(heard: Heard) -> None:
    session = played(Searching, SPAR, heard, m2=lambda request: "good", m0=lambda request: "bad", r2=refines)
    for line in ("/compare", "Do it.", "/new", "/compare", "Do it."):
        session.send(line)
    assert heard.texts("message", who="m_0") == ["bad"]
    hints = [event["hint"] for event in heard.of("turn")]
    assert hints[:2] == ["Give an instruction.", "Give another instruction, or /compare."]


def test_the_model_of_a_world_answers_and_is_judged(opened: Opened, heard: Heard) -> None:
    session = opened("world:instructions/policy")
    session.send("Write about the sea\nAdd a postscript\nMention the number 7")
    assert heard.of("node")[0]["node"]["id"] == 0 and heard.of("message", who="judge")
    assert heard.of("message")[-1]["part"] == "response"


# Plain


def test_plain_chat_tells_the_model_all_that_was_said_and_nothing_else(heard: Heard) -> None:
    def reply(request: Request) -> str:
        return " / ".join(message["content"] for message in request.chat)

    session = played(Plain, Partner("m", "a model"), heard, m=reply)
    for line in ("one", "two", "/new", "three"):
        session.send(line)
    assert heard.texts("message") == ["one", "one / one / two", "three"]


def test_a_rollout_that_fails_is_an_error_and_the_session_goes_on(heard: Heard) -> None:
    def reply(request: Request) -> str:
        if request.chat[-1]["content"] == "long":
            raise RolloutError("context overflow", "9 > 8")
        return "fine"

    session = played(Plain, Partner("m", "a model"), heard, m=reply)
    session.send("long")
    session.send("short")
    assert heard.texts("error") == ["Nothing came of that: context overflow: 9 > 8"]
    assert heard.texts("message") == ["fine"]


def test_half_a_character_is_shown_to_the_model_as_a_question_mark(heard: Heard) -> None:
    session = played(Plain, Partner("m", "a model"), heard, m=lambda request: request.chat[-1]["content"])
    session.send("tea \ud83e")
    assert heard.texts("message") == ["tea ?"]


def test_an_unknown_command_is_not_said_to_the_model(heard: Heard) -> None:
    session = played(Plain, Partner("m", "a model"), heard, m=asks)
    session.send("/nonsense")
    assert not heard.of("message") and "There is no /nonsense; there is /new" in heard.texts("note")[0]


def test_help_names_every_command(heard: Heard) -> None:
    session = played(Asking, STAR, heard, m2=asks, m0=asks)
    session.send("/help")
    [told] = heard.texts("note")
    assert all(name in told for name in session.commands)


class Endless:
    """An engine that speaks until nobody listens."""

    batch_size = 1

    def __init__(self) -> None:
        self.begun = threading.Event()

    def generate(self, requests: list[Request]) -> list[Completion | RolloutError]:
        raise AssertionError("it is listened to")

    def stream(self, request: Request, on_text: OnText) -> Completion | RolloutError:
        while True:
            on_text("and ")
            self.begun.set()


def test_what_is_being_said_can_be_stopped_from_another_thread(heard: Heard) -> None:
    endless = Endless()

    class Here(Plain):
        def engine(self, name: str, who: str) -> Speaking:
            self.engines = Scripts(m=asks)  # type: ignore[assignment]
            self.engines.engines["m"] = endless  # type: ignore[attr-defined]
            return super().engine(name, who)

    session = Here(Partner("m", "a model"), heard.append)
    talking = threading.Thread(target=session.send, args=("go on",))
    talking.start()
    assert endless.begun.wait(10)
    session.stop()
    talking.join(10)
    assert not talking.is_alive() and heard.texts("note") == ["Stopped."] and heard[-1]["event"] == "turn"


def test_what_everybody_is_told_is_json(opened: Opened, heard: Heard) -> None:
    session = opened("world:instructions/policy")
    session.send("Write about the sea\nMention the number 7")
    session.send("/help")
    assert json.loads(json.dumps(heard)) == heard


def test_a_chat_is_told_nothing_that_the_ledger_of_a_run_would_take_for_its_own(opened: Opened, tmp_path: Path) -> None:
    one, other = opened("world:concierge/policy"), opened("world:concierge/policy")
    assert one.engines.run != other.engines.run and one.engines.run.startswith("chat ")
