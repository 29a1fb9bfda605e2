"""STaR-GATE's rounds: conversations with what they lend, and why one of them was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from sparring.files import Row
from sparring.report.browse.asking import Asking
from sparring.report.browse.core import Detail, Entry, Group, Link, Part
from sparring.report.browse.rows import Rows, number, text
from sparring.report.browse.saying import chat, facts, learned, nats
from sparring.report.browse.siblings import Siblings

LENT = "log-prob lent to the oracle's response, nats"
CLOSED = {
    "policy": "by the policy itself",
    "base": "by m_0, as the policy only asked back",
    "oracle": "by the oracle's response",
    "none": "by nothing",
}


@dataclass(frozen=True)
class Round:
    """What a round rolled out and learned."""

    run: Asking
    t: int

    def rows(self, name: str) -> Rows:
        return self.run.shelf[self.name(name)]

    def name(self, name: str) -> str:
        return f"round-{self.t}/{name}.jsonl"

    def groups(self) -> Iterator[Group]:
        last = max(0, self.t - 1)
        made: tuple[tuple[str, str, Any, str, Callable[[], Iterator[Entry]]], ...] = (
            (
                "conversations",
                "conversations",
                "conversations",
                f"m_{last} questions a user whose persona it cannot see; the value says how much that helps to answer.",
                self.conversations,
            ),
            (
                "train",
                "training rows",
                "rows",
                "What the round was trained on: the conversations that were selected, each with its closing answer.",
                self.learned,
            ),
        )
        for name, label, kind, about, entries in made:
            if self.name(name) in self.run.shelf:
                n = self.run.shelf.n(self.name(name))
                yield Group(f"round-{self.t}/{name}", label, self.t, kind, about, entries, n)

    @cached_property
    def siblings(self) -> Siblings:
        values = dict(self.rows("signals").glances(lambda row: (text(row, "id"), worth(row))))
        looked = self.rows("conversations").glances(_ids)
        return Siblings.among((id, of, values.get(id)) for id, of in looked)

    @cached_property
    def scored(self) -> set[str]:
        return {*self.rows("signals").ids}

    def came_of(self, id: str) -> str:
        """Return what came of a conversation, in a word or none."""
        if id in self.rows("train").ids:
            return "learned"
        if id in self.rows("selected").ids:
            return "selected, not learned: its closing failed" if self.rows("train").ids else "selected"
        return "unscored" if id in self.scored and self.siblings.values.get(id) is None else ""

    def conversations(self) -> Iterator[Entry]:
        siblings = self.siblings
        for at, (id, of) in enumerate(self.rows("conversations").glances(_ids)):
            came_of = self.came_of(id)
            tags = (came_of.partition(",")[0],) if came_of else ()
            told, value = self.run.titles.get(of, of), siblings.values.get(id)
            unit = "nats" if value is not None else ""
            yield Entry(id, told, value, unit, *siblings.place(id), tags, partial(self._conversation, at))

    def _conversation(self, at: int) -> Detail:
        row = self.rows("conversations")[at]
        id, situation = text(row, "id"), self.run.situation(text(row, "situation"))
        signal = self.rows("signals").find(id) or {}
        known = facts(*self.run.who(situation), *self._signal(id, signal), ("what came of it", self.came_of(id)))
        parts = [self.run.talk("conversation", row), *self.run.known(situation), self._grid(id)]
        links = [Link("the training row", f"round-{self.t}/train", id)] if id in self.rows("train").ids else []
        return Detail(known, tuple(parts), tuple(links))

    def _signal(self, id: str, signal: Row) -> tuple[tuple[str, object], ...]:
        return (
            ("log-prob of the oracle's response after it, under m_0", nats(number(signal, "log_prob"))),
            ("log-prob of the response for another persona", nats(number(signal, "for_another"))),
            ("log-prob without any conversation", nats(number(signal, "floor"))),
            ("rank among its siblings", self.siblings.told(id)),
        )

    def _grid(self, id: str) -> Part:
        label = "conversations of the same task and persona"
        return self.siblings.grid(id, f"round-{self.t}/conversations", LENT, self.came_of, label)

    def learned(self) -> Iterator[Entry]:
        siblings = self.siblings
        for at, (id, by) in enumerate(
            self.rows("train").glances(lambda row: (text(row, "id"), text(row, "closed_by")))
        ):
            of = siblings.of.get(id, id.rpartition(" #")[0])
            value = siblings.values.get(id)
            tags = ("learned", *((f"closed by {by}",) if by else ()))
            unit = "nats" if value is not None else ""
            yield Entry(id, self.run.titles.get(of, of), value, unit, *siblings.place(id), tags, partial(self._row, at))

    def _row(self, at: int) -> Detail:
        row = self.rows("train")[at]
        id, settings = text(row, "id"), self.run.settings
        said = chat("what is learned", row)
        situation = self.run.situation(self.siblings.of.get(id, ""))
        signal = self.rows("signals").find(id) or {}
        keep = (
            f"{settings['selection']}, {settings['keep']} of each situation"
            if {"selection", "keep"} <= {*settings}
            else None
        )
        known = facts(
            *self._signal(id, signal),
            ("selection", keep),
            ("closed", CLOSED.get(text(row, "closed_by"), text(row, "closed_by"))),
            ("learned", learned(said.messages)),
            *self.run.who(situation),
        )
        held = id in self.rows("conversations").ids
        links = (Link("the conversation", f"round-{self.t}/conversations", id),) if held else ()
        return Detail(known, (said, self._grid(id), *self.run.known(situation)), links)


def _ids(row: Row) -> tuple[str, str]:
    return text(row, "id"), text(row, "situation")


def worth(signal: Row) -> float | None:
    """Return what a conversation is worth to the selection, in nats; None where it cannot be selected."""
    parts = [number(signal, name) if name in signal else 0.0 for name in ("log_prob", "for_another")]
    floor = number(signal, "floor")
    if "log_prob" not in signal or parts[0] is None or parts[1] is None or ("floor" in signal and floor is None):
        return None
    return None if floor is not None and parts[0] <= floor else parts[0] - parts[1]
