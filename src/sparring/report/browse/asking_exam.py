"""STaR-GATE's evaluation: held-out conversations with their controls, answers with verdicts, m_0 beside the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from sparring.files import Row
from sparring.report.browse.asking import Asking
from sparring.report.browse.beside import beside, first_and_last
from sparring.report.browse.core import Chat, Detail, Entry, Group, Link, Part
from sparring.report.browse.rows import Rows, number, text
from sparring.report.browse.saying import facts, nats
from sparring.report.browse.siblings import Siblings

UNIT = "of both orders won"
"""A tie counts a half."""
VOICES = {
    "own": "the model asks, and answers",
    "questions_alone": "the model asks, m_0 answers",
    "answers_alone": "m_0 asks, the model answers",
    "personalised": "m_0 asks, and answers told to personalise",
}
OUTCOMES = {1.0: "preferred", 0.5: "tie", 0.0: "not preferred"}


def outcome(verdict: Row | None) -> str | None:
    """Return what a judge made of an answer beside m_0's: preferred, tie, not preferred, partly; unreadable; None where
    it was not judged."""
    if verdict is None:
        return None
    value = number(verdict, "value")
    return "unreadable" if value is None else OUTCOMES.get(value, "partly preferred")


@dataclass(frozen=True)
class Exam:
    """What a round's model did on held-out pairs of task and persona."""

    run: Asking
    t: int

    def name(self, name: str) -> str:
        return f"round-{self.t}/test-{name}.jsonl"

    def rows(self, name: str) -> Rows:
        return self.run.shelf[self.name(name)]

    def groups(self) -> Iterator[Group]:
        shelf, group = self.run.shelf, f"round-{self.t}/test-"
        if self.name("conversations") in shelf:
            about = (
                f"m_{self.t} questions users it never met; the value says how much that would help, and is not used."
            )
            n = shelf.n(self.name("conversations"))
            label = "test conversations"
            yield Group(f"{group}conversations", label, self.t, "conversations", about, self.conversations, n)
        if self.name("answers") in shelf:
            about = (
                "A conversation of each held-out pair, answered; a judge who knows the persona compares it with m_0's."
            )
            n = shelf.n(self.name("answers"))
            yield Group(f"{group}answers", "test answers", self.t, "answers", about, self.answers, n)

    @cached_property
    def siblings(self) -> Siblings:
        values = dict(self.rows("signals").glances(lambda row: (text(row, "id"), number(row, "heard"))))
        looked = self.rows("conversations").glances(_ids)
        return Siblings.among((id, of, values.get(id)) for id, of in looked)

    @cached_property
    def answered(self) -> dict[str, list[tuple[str, str]]]:
        """(situation, voice) of the answers after each conversation, by its id."""
        found: dict[str, list[tuple[str, str]]] = {}
        for id, of, voice in self.rows("answers").glances(_answer):
            if voice != "answers_alone":  # after a conversation of m_0's
                found.setdefault(id, []).append((of, voice))
        return found

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """What the judge made of each answer, by situation and voice."""
        looked = self.rows("verdicts").glances(
            lambda row: (f"{text(row, 'situation')} {text(row, 'voice')}", outcome(row))
        )
        return {id: found for id, found in looked if found}

    def came_of(self, id: str) -> str:
        return "answered" if id in self.answered else ""

    def conversations(self) -> Iterator[Entry]:
        siblings = self.siblings
        for at, (id, of) in enumerate(self.rows("conversations").glances(_ids)):
            tags = ("answered",) if id in self.answered else ()
            told, value = self.run.titles.get(of, of), siblings.values.get(id)
            unit = "nats" if value is not None else ""
            yield Entry(id, told, value, unit, *siblings.place(id), tags, partial(self._conversation, at))

    def _conversation(self, at: int) -> Detail:
        row = self.rows("conversations")[at]
        id, of = text(row, "id"), text(row, "situation")
        situation, signal = self.run.situation(of), self.rows("signals").find(id) or {}
        known = facts(
            *self.run.who(situation), *self.signals(of, signal), ("rank among its siblings", self.siblings.told(id))
        )
        label = "conversations of the same task and persona"
        group = f"round-{self.t}/test-"
        grid = self.siblings.grid(id, f"{group}conversations", "log-prob, nats", self.came_of, label)
        links = [
            Link(f"the answer: {VOICES.get(voice, voice)}", f"{group}answers", f"{of} {voice}")
            for of, voice in self.answered.get(id, [])
        ]
        parts: list[Part] = [self.run.talk("conversation", row), *self.run.known(situation), grid]
        return Detail(known, tuple(parts), tuple(links))

    def signals(self, of: str, signal: Row) -> tuple[tuple[str, object], ...]:
        controls = self.run.shelf["round-0/test-controls.jsonl"].find(of) or {}
        return (
            ("log-prob of the oracle's response after it, under m_0", nats(number(signal, "heard"))),
            ("· after another user's conversation", nats(number(signal, "shuffled"))),
            ("· after it, persona known", nats(number(signal, "ceiling_and_heard"))),
            ("· knowing nothing (floor)", nats(number(controls, "floor"))),
            ("· knowing the persona (ceiling)", nats(number(controls, "ceiling"))),
        )

    def answers(self) -> Iterator[Entry]:
        for at, (_, of, voice) in enumerate(self.rows("answers").glances(_answer)):
            id = f"{of} {voice}".strip()
            verdict = self.rows("verdicts").find(id) or {}
            value = number(verdict, "value")
            tags = tuple(tag for tag in (voice, self.outcomes.get(id), text(verdict, "kind")) if tag)
            unit = UNIT if value is not None else ""
            yield Entry(id, self.run.titles.get(of, of), value, unit, None, None, tags, partial(self._answered, at))

    def _answered(self, at: int) -> Detail:
        row = self.rows("answers")[at]
        of, voice = text(row, "situation"), text(row, "voice")
        verdict = self.rows("verdicts").find(f"{of} {voice}")
        known = facts(("who", VOICES.get(voice, voice)), *self.verdict(verdict), *self.run.who(self.run.situation(of)))
        parts: list[Part] = [self.said(f"m_{self.t}", row)]
        if (self.t or voice != "own") and (theirs := Exam(self.run, 0).own(of)):
            parts.append(Exam(self.run, 0).said("m_0", theirs))
        asked = "round-0" if voice == "answers_alone" else f"round-{self.t}"
        links = (Link("the conversation", f"{asked}/test-conversations", text(row, "conversation")),)
        return Detail(known, (*parts, *self.run.known(self.run.situation(of))), links)

    def verdict(self, verdict: Row | None) -> tuple[tuple[str, object], ...]:
        if verdict is None:
            return ()
        if verdict.get("spoiled"):
            return (("verdict", "there was no answer: counted as a loss"),)
        ours = f"m_{self.t}'s" if self.t else "the one told to personalise"
        first, second = text(verdict, "ours_first"), text(verdict, "theirs_first")
        choices = {"tie": "a tie", "": "unreadable"}
        return (
            ("verdict", outcome(verdict)),
            ("· its answer shown first", choices.get(first, ours if first == "a" else "m_0's")),
            ("· m_0's shown first", choices.get(second, ours if second == "b" else "m_0's")),
        )

    def own(self, of: str) -> Row | None:
        """Return the model's own answer in a situation."""
        return self.rows("answers").find(f"{of} own")

    def said(self, label: str, answer: Row) -> Chat:
        """Return an answer with the conversation before it."""
        tests = Exam(self.run, 0) if text(answer, "voice") == "answers_alone" else self
        talk = tests.rows("conversations").find(text(answer, "conversation")) or {"situation": answer.get("situation")}
        return self.run.talk(label, talk, text(answer, "text"))


def _ids(row: Row) -> tuple[str, str]:
    return text(row, "id"), text(row, "situation")


def _answer(row: Row) -> tuple[str, str, str]:
    return text(row, "conversation"), text(row, "situation"), text(row, "voice")


ORDER = {"preferred": 0, "not preferred": 1, "partly preferred": 2, "unreadable": 3, "tie": 4}


def comparison(run: Asking) -> Group | None:
    """Return m_0 beside the last model on every held-out pair that both answered; None before there are two."""
    rounds = first_and_last(run.shelf, lambda t: Exam(run, t).name("answers"))
    if rounds is None:
        return None
    first, last = (Exam(run, t) for t in rounds)
    both = [
        id.removesuffix(" own")
        for id in last.rows("answers").ids
        if id.endswith(" own") and id in first.rows("answers").ids
    ]
    about = (
        f"Held-out pairs of task and persona with m_0 and m_{last.t}, those whose answers a judge tells apart first."
    )
    return beside(last.t, both, about, lambda: _compared(run, first, last, both))


def _compared(run: Asking, first: Exam, last: Exam, both: list[str]) -> Iterator[Entry]:
    told = {of: last.outcomes.get(f"{of} own") for of in both}
    for of in sorted(both, key=lambda of: ORDER.get(told[of] or "", 5)):
        value = number(last.rows("verdicts").find(f"{of} own") or {}, "value")
        changed = {"preferred": ("changed", "better"), "not preferred": ("changed", "worse")}.get(told[of] or "", ())
        kept = (told[of],) if told[of] else ()
        tags = tuple(tag for tag in (*changed, *kept) if tag)
        unit = UNIT if value is not None else ""
        yield Entry(of, run.titles.get(of, of), value, unit, None, None, tags, partial(_beside, run, first, last, of))


def _beside(run: Asking, first: Exam, last: Exam, of: str) -> Detail:
    situation, parts, told = run.situation(of), list[Part](), list[tuple[str, object]]()
    links: list[Link] = []
    for test in (first, last):
        answer = test.own(of) or {}
        signal = test.rows("signals").find(text(answer, "conversation")) or {}
        parts.append(test.said(f"m_{test.t}", answer))
        told.append((f"log-prob of the oracle's response after m_{test.t}'s", nats(number(signal, "heard"))))
        links.append(Link(f"m_{test.t}'s answer", f"round-{test.t}/test-answers", f"{of} own"))
    verdict = last.verdict(last.rows("verdicts").find(f"{of} own"))
    return Detail(facts(*verdict, *told, *run.who(situation)), (*parts, *run.known(situation)), tuple(links))
