"""What SPaR's actor and refiner learned in a round, and why: pairs with their trees, judgements with their votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sparring.files import Row
from sparring.report.browse.core import Chat, Detail, Entry, Group, Message, Part, title
from sparring.report.browse.marks import differing
from sparring.report.browse.refining import (
    FILES,
    NODE,
    UNIT,
    entry_of,
    judged,
    judgement_of,
    node_in,
    path,
    tree_of,
    verdict,
    whose,
)
from sparring.report.browse.refining_round import Round, tree_facts
from sparring.report.browse.rows import number, text
from sparring.report.browse.saying import chat, counts, facts, learned, nats

LABELS = {
    "actor": "training rows of the actor",
    "refiner": "training rows of the refiner",
    "judge": "training pairs of the judge",
}
ABOUT = {
    "actor": "What the actor was trained on: answers, or the better of two over the worse.",
    "refiner": "What the refiner was trained on: refinements that passed, and judgements.",
    "judge": "What the refiner was trained on as a judge: a critique of the majority over one against it.",
}
SOURCES = {
    "refined": "what a tree accepted over the answer it began with",
    "independent": "an answer that passed over one that failed",
    "extremes": "the answer with most votes over the one with fewest",
    "judge": "a critique of the majority over a dissenting one",
}
KINDS = {
    "refinement": "a refinement that passed, after the critique of what it mends",
    "tree_positive": "the judgement Yes of a refinement, on which votes differed",
    "tree_negative": "the judgement No of a refinement, on which votes differed",
    "positive": "the judgement Yes of an answer, on which votes differed",
    "negative": "the judgement No of an answer, on which votes differed",
    "refined": "an accepted refinement as the answer",
    "answer": "an answer of the teacher",
}


@dataclass(frozen=True)
class Learned:
    """What a round learned."""

    round: Round

    def groups(self) -> Iterator[Group]:
        shelf = self.round.run.shelf
        for name in FILES:
            if (file := self.round.name(name)) in shelf:
                t, entries, n = self.round.t, partial(self.entries, name), shelf.n(file)
                yield Group(f"round-{t}/{name}", LABELS[name], t, "rows", ABOUT[name], entries, n)

    def entries(self, name: str) -> Iterator[Entry]:
        siblings = self.round.siblings
        for at, (id, entry, asked, tag) in enumerate(self.round.rows(name).glances(_glance)):
            of = whose(id)[0]
            value = siblings.values.get(of) if " node " not in id and name == "refiner" else None
            unit, place = (UNIT, siblings.place(of)) if value is not None else ("", (None, None))
            tags = ("learned", *((tag,) if tag else ()))
            asked = self.round.titles.get(siblings.of.get(of, ""), asked)
            yield Entry(entry, asked, value, unit, *place, tags, partial(self._detail, name, at))

    def _detail(self, name: str, at: int) -> Detail:
        row = self.round.rows(name)[at]
        return self._pair(name, row) if "chosen" in row else self._lesson(name, row)

    # Pairs

    def _pair(self, name: str, row: Row) -> Detail:
        id = text(row, "id")
        tree = self.round.rows("trees").find(whose(id)[0]) or {}
        known = facts(
            ("what it is", SOURCES.get(text(row, "source"), text(row, "source"))),
            ("depth of what was accepted", row.get("depth")),
            ("words changed", row.get("edits")),
            ("words in common", _percent(number(row, "similarity"))),
            ("length, chosen over rejected", number(row, "length_ratio")),
            *self._changes(id),
            ("left out of all pairs", self._dropped("pairs")),
            *(tree_facts(tree) if tree else ()),
        )
        parts: list[Part] = [*_sides(row), *self._path(tree, tree.get("accepted")), *self._siblings(whose(id))]
        return Detail(known, tuple(parts), self._links(id, name))

    def _changes(self, id: str) -> tuple[tuple[str, str | None], ...]:
        """Return what training did to both sides."""
        before, after = (self.round.rows(f"scores-{when}").find(id) or {} for when in ("before", "after"))
        found: list[tuple[str, str | None]] = []
        for side in ("chosen", "rejected"):
            then, now = nats(number(before, side)), nats(number(after, side))
            found.append((f"log-prob of what was {side}", f"{then}, after training {now}" if then and now else then))
        return tuple(found)

    # Lessons

    def _lesson(self, name: str, row: Row) -> Detail:
        id, kind = text(row, "id"), text(row, "kind")
        speakers = ("policy",) if name == "actor" else ("judge", "refiner")
        said = chat("what is learned", row, speakers)
        tree = self.round.rows("trees").find(whose(id)[0]) or {}
        known = facts(
            ("what it is", KINDS.get(kind, kind)),
            ("votes", verdict(self._judgement(id, tree))),
            ("learned", learned(said.messages)),
            ("left out of all that could be learned", self._dropped(name)),
        )
        parts: list[Part] = [said, *self._why(id, kind, tree), *self._siblings(whose(id))]
        return Detail(known, tuple(parts), self._links(id, name))

    def _judgement(self, id: str, tree: Row):
        found = NODE.fullmatch(id)
        return judgement_of(node_in(tree, int(found[2])) if found else self.round.rows("judgements").find(id) or {})

    def _why(self, id: str, kind: str, tree: Row) -> list[Part]:
        """Return what was judged with all its votes, or the path of what was refined."""
        found = NODE.fullmatch(id)
        if kind in ("refinement", "refined"):
            return self._path(tree, int(found[2]) if found else tree.get("accepted"))
        if found:
            node = int(found[2])
            return [tree_of("what was judged", tree, [node])] if node_in(tree, node) else []
        answer = self.round.rows("judgements").find(id)
        return [judged("what was judged", text(answer, "response"), judgement_of(answer))] if answer else []

    # Both

    def _path(self, tree: Row, node: int | None) -> list[Part]:
        steps = path(tree, node) if node is not None else []
        return [tree_of("from the answer that failed to the one that passed", tree, steps)] if steps else []

    def _siblings(self, ids: tuple[str, ...]) -> list[Part]:
        return [self.round.grid(ids[0])] if ids[0] in self.round.siblings.of else []

    def _links(self, id: str, name: str):
        found = [link for of in whose(id) for link in self.round.links(of, "")]
        return tuple(link for link in dict.fromkeys(found) if link.group != f"round-{self.round.t}/{name}")

    def _dropped(self, name: str) -> str:
        return counts((self.round.run.notes.get(self.round.name(name)) or {}).get("dropped"))


def _sides(row: Row) -> tuple[Chat, Chat]:
    """Return both sides after the prompt, what differs in them marked."""
    asked = chat("", row, ("judge", "refiner")).messages
    chosen, rejected = text(row, "chosen"), text(row, "rejected")
    wrong, mended = differing(rejected, chosen)
    who = "judge" if text(row, "source") == "judge" else "policy"
    return (
        Chat("chosen", (*asked, Message(who, chosen, mended))),
        Chat("rejected", (*asked, Message(who, rejected, wrong))),
    )


def _glance(row: Row) -> tuple[str, str, str, str]:
    asked = row.get("prompt") or row.get("messages") or []
    words = next((text(one, "content") for one in asked if one.get("role") == "user"), "")
    return text(row, "id"), entry_of(row), title(words), text(row, "kind") or text(row, "source")


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f} %"
