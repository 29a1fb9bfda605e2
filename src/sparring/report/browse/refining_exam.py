"""SPaR's evaluation: held-out answers, judgements and refinements, and m_0's answers beside the last model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sparring.files import Row
from sparring.report.browse.beside import beside, first_and_last
from sparring.report.browse.core import Chat, Detail, Entry, Group, GroupKind, Link, Message, Part, Words, title
from sparring.report.browse.refining import (
    UNIT,
    Refining,
    asking,
    judged,
    judgement_of,
    passed,
    verdict,
    votes_in,
)
from sparring.report.browse.refining_round import glance_at_tree, tree_facts, tree_parts, tree_tags
from sparring.report.browse.rows import Rows, name_of, text
from sparring.report.browse.saying import facts

WAYS = {
    "test-answers": (
        "test answers",
        "greedy",
        "The actor's greedy answers to held-out prompts; code checks what they follow.",
    ),
    "test-sampled": ("test answers, sampled", "sampled", "The same prompts, answered as in training."),
    "test-levels": ("test answers, nested levels", "", "Prompts that ask one thing more at every level."),
    "test-votes": (
        "m_0's wrong answers, judged",
        "",
        "Answers of m_0 that are wrong, with the votes of this round's refiner.",
    ),
}


@dataclass(frozen=True)
class Exam:
    """What a round's actor and refiner did on held-out prompts."""

    run: Refining
    t: int

    def rows(self, name: str) -> Rows:
        return self.run.shelf[f"round-{self.t}/{name}.jsonl"]

    def groups(self) -> Iterator[Group]:
        for name, (label, _, about) in WAYS.items():
            yield from self._group(name, label, "answers", about, partial(self.answers, name))
        about = "Responses of which it is known whether they follow, judged by vote."
        yield from self._group("test-judgements", "test judgements", "answers", about, self.judgements)
        about = "One refinement each of answers of m_0 that are wrong."
        yield from self._group("test-trees", "test refinements", "trees", about, self.trees)

    def _group(
        self, name: str, label: str, kind: GroupKind, about: str, entries: Callable[[], Iterator[Entry]]
    ) -> Iterator[Group]:
        file = f"round-{self.t}/{name}.jsonl"
        if file in self.run.shelf:
            yield Group(f"round-{self.t}/{name}", label, self.t, kind, about, entries, self.run.shelf.n(file))

    def reading(self, item: str, id: str) -> Row:
        """Return what was found of an item; empty where it was not measured, or not yet."""
        return self.run.readings.get((self.t, item, id), {})

    # Answers

    def answers(self, name: str) -> Iterator[Entry]:
        for at, (id, of, told, value, came_of) in enumerate(self.rows(name).glances(_answer)):
            right = _right(self.reading(WAYS[name][1], of).get("strict"))
            tags = tuple(filter(None, [right, came_of]))
            unit = UNIT if value is not None else ""
            yield Entry(id, told, value, unit, None, None, tags, partial(self._answered, name, at))

    def _answered(self, name: str, at: int) -> Detail:
        row = self.rows(name)[at]
        of, judgement = text(row, "prompt_id"), judgement_of(row)
        known = facts(*followed(self.reading(WAYS[name][1], of)), ("votes", verdict(judgement)), *self.about(name, of))
        answer: Part = Chat("answer", (*asking(text(row, "prompt")), Message("policy", text(row, "response"))))
        if judgement:
            answer = judged("answer", text(row, "response"), judgement)
        parts: tuple[Part, ...] = (answer,) if not judgement else (Words("prompt", text(row, "prompt")), answer)
        others = [
            other for other in ("test-votes", "test-trees") if other != name and name in ("test-votes", "test-sampled")
        ]
        links = [Link(other, f"round-{self.t}/{other}", name_of(row)) for other in others if self._is_of(other, row)]
        return Detail(known, parts, tuple(links))

    def _is_of(self, other: str, row: Row) -> bool:
        """Tell whether another file is of this very answer: later rounds have answers of that id, too."""
        found = self.rows(other).find(name_of(row)) or {}
        root = next(iter(found.get("nodes") or ()), found)
        return bool(root) and text(root, "response") == text(row, "response")

    def about(self, name: str, of: str) -> tuple[tuple[str, object], ...]:
        part = "levels" if name == "test-levels" else "test"
        asked = self.run.instructed(part, of)
        names = [text(one, "id") for one in asked.get("instructions") or ()]
        return ("prompt", of), ("level", asked.get("level")), ("what code checks", ", ".join(names))

    # Judgements

    def judgements(self) -> Iterator[Entry]:
        for at, (id, value) in enumerate(
            self.rows("test-judgements").glances(lambda row: (text(row, "id"), row.get("value")))
        ):
            reading = self.reading("judgement", id)
            tags = tuple(
                filter(
                    None, [_right(reading.get("right")), text(reading, "kind"), "" if value is not None else "unscored"]
                )
            )
            told = title(text(self.run.instructed("judged", id), "prompt")) or id
            unit = UNIT if value is not None else ""
            yield Entry(id, told, value, unit, None, None, tags, partial(self._judgement, at))

    def _judgement(self, at: int) -> Detail:
        row = self.rows("test-judgements")[at]
        known, found = self.run.instructed("judged", text(row, "id")), votes_in(row)
        told = facts(
            ("votes", verdict(found)),
            ("the response follows", known.get("label")),
            ("kind of response", text(known, "kind")),
            ("judged rightly", self.reading("judgement", text(row, "id")).get("right")),
        )
        return Detail(
            told, (Words("prompt", text(known, "prompt")), judged("response", text(known, "response"), found))
        )

    # Refinements

    def trees(self) -> Iterator[Entry]:
        for at, tree in enumerate(self.rows("test-trees").glances(glance_at_tree)):
            right = _right(self.reading("refinement", tree.id).get("right"))
            tags = [*tree_tags(tree), *([right] if right else [])]
            tags += ["mended"] if right == "right" else []
            unit = UNIT if tree.value is not None else ""
            yield Entry(tree.id, tree.title, tree.value, unit, None, None, tuple(tags), partial(self._tree, at))

    def _tree(self, at: int) -> Detail:
        row = self.rows("test-trees")[at]
        reading = self.reading("refinement", text(row, "id"))
        known = facts(("right in the end, by code", reading.get("right")))
        links = (Link("the votes on the answer", f"round-{self.t}/test-votes", text(row, "id")),)
        voted = text(row, "id") in self.rows("test-votes").ids
        return Detail((*known, *tree_facts(row)), tree_parts(row), links if voted else ())


def followed(reading: Row) -> tuple[tuple[str, object], ...]:
    return ("follows all that is asked", reading.get("strict")), ("· loosely", reading.get("loose"))


def _answer(row: Row) -> tuple[str, str, str, float | None, str]:
    judgement = judgement_of(row)
    value = judgement.value if judgement else None
    return name_of(row), text(row, "prompt_id"), title(text(row, "prompt")), value, passed(judgement)


def _right(known: object) -> str:
    return "" if known is None else "right" if known else "wrong"


def comparison(run: Refining) -> Group | None:
    """Return m_0 beside the last model on every held-out prompt that both answered; None before there are two."""
    name = "test-answers"
    rounds = first_and_last(run.shelf, lambda t: f"round-{t}/{name}.jsonl")
    if rounds is None:
        return None
    first, last = (Exam(run, t) for t in rounds)
    both = [id for id in last.rows(name).ids if id in first.rows(name).ids]
    about = f"Held-out prompts answered by m_0 and by m_{last.t}, those first that only one of them follows."
    return beside(last.t, both, about, partial(_compared, first, last, both))


def _compared(first: Exam, last: Exam, both: list[str]) -> Iterator[Entry]:
    titles = {id: told for id, _, told, _, _ in last.rows("test-answers").glances(_answer)}
    found: list[tuple[int, str, tuple[str, ...]]] = []
    for id in both:
        before, after = (exam.reading("greedy", id.rpartition(" #")[0]).get("strict") for exam in (first, last))
        order, tags = 4, ()
        if before is not None and after is not None:
            changed = ("changed", "better" if after else "worse") if before != after else ()
            order = 3 if not changed else 0 if after else 1
            tags = (*changed, _right(after))
        found.append((order, id, tags))
    for _, id, tags in sorted(found, key=lambda one: one[0]):
        yield Entry(id, titles.get(id, id), None, "", None, None, tags, partial(_beside, first, last, id))


def _beside(first: Exam, last: Exam, id: str) -> Detail:
    told, parts, links = list[tuple[str, object]](), list[Part](), list[Link]()
    for exam in (first, last):
        row = exam.rows("test-answers").find(id) or {}
        label, strict = f"m_{exam.t}", exam.reading("greedy", text(row, "prompt_id")).get("strict")
        told.append((f"{label} follows all that is asked", strict))
        parts.append(Chat(label, (*asking(text(row, "prompt")), Message("policy", text(row, "response")))))
        links.append(Link(f"{label}'s answer", f"round-{exam.t}/test-answers", id))
    about = first.about("test-answers", id.rpartition(" #")[0])
    return Detail(facts(*told, *about), tuple(parts), tuple(links))
