"""The loop of a run as its settings make it: what a round does, step by step, and who speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Settings = Mapping[str, Any]
Box = tuple[str, str, str]
"""Name of the step, what it does, who speaks in it ("" where nobody does)."""


@dataclass(frozen=True, slots=True)
class Topology:
    """How the rounds of a run hang together."""

    recipe: str
    init: Literal["base", "previous"] | None
    """What each round trains: the model as given, or the one before; None: an older run does not say."""
    reference: str | None
    """What DPO is anchored to; None: nothing is compared."""
    data: str
    """What a round learns from: "this round", or "round 1"."""
    splits: Literal["alternate", "fresh", "same"] | None
    """Tasks of a round: A and B by turns; those that no other round meets; the same in every round."""
    rounds: int | None
    boxes: tuple[Box, ...]
    """One round, in order; the last leads to the first of the next."""
    notes: tuple[str, ...] = ()
    """What is said beside the picture, a sentence each."""


def topology(recipe: str, settings: Settings) -> Topology:
    """Return the loop of a recipe; of one that this version does not know, what all recipes have."""
    make = LOOPS.get(recipe)
    boxes, notes, splits = make(settings) if make else ((), (), None)
    once = settings.get("interaction") == "once"
    return Topology(
        recipe=recipe,
        init=settings.get("init"),
        reference=_reference(settings) if recipe == "spar" else None,
        data="round 1" if once else "this round",
        splits=splits,
        rounds=settings.get("rounds"),
        boxes=boxes,
        notes=notes,
    )


Made = tuple[tuple[Box, ...], tuple[str, ...], Literal["alternate", "fresh", "same"] | None]


def _reference(settings: Settings) -> str | None:
    if settings.get("learn_from") not in ("refined", "independent", "extremes"):
        return None
    named = (settings.get("training") or {}).get("reference") or ""
    return {"": "the model that the round starts from", "base": "the model as it was given"}.get(named, str(named))


def _trained(settings: Settings, who: str = "m_t") -> str:
    given = {"base": "from the model as it was given", "previous": f"further, from {who}"}
    return given.get(str(settings.get("init")), "")


def _asking(settings: Settings) -> Made:
    closes = {"own": "The policy's own answer closes each.", "oracle": "The oracle's response closes each."}
    closing, by = settings.get("closing"), {"own": "policy", "oracle": "oracle"}
    how = {"best": "The likeliest to help", "random": "Drawn by lot"}.get(str(settings.get("selection")), "Of all")
    worth = "What a conversation lends to the oracle's response: its log-prob under m_0, in nats"
    if settings.get("signal") == "information_gain":
        worth += ", less what it lends to the response for another persona"
    boxes = (
        (
            "Roll out",
            _sentence(f"{_n(settings, 'samples')}conversations a pair of task and persona"),
            "policy, roleplayer",
        ),
        ("Signal", f"{worth}.", "base (m_0)"),
        ("Select", f"{how}, {_n(settings, 'keep')}of each pair.", ""),
        ("Close", closes.get(str(closing), "Nothing closes them."), by.get(str(closing), "")),
        ("Train", _sentence(f"fine-tune {_trained(settings)}"), ""),
        ("Evaluate", "Held-out tasks and personas, beside m_0.", "policy, roleplayer, judge"),
    )
    notes = ("Odd rounds use split A, even rounds split B: no model meets the pairs it was trained on.",)
    return boxes, notes, "alternate"


def _correcting(settings: Settings) -> Made:
    source = str(settings.get("learn_from") or "trajectories")
    teacher = "teacher (a model)" if settings.get("feedback") == "teacher" else "teacher (a script)"
    learned = {
        "rationales": "gold rationales",
        "answers": "bare answers",
        "votes": "attempts that agree with the majority",
        "filtered": "attempts that are right",
        "none": "nothing",
    }
    boxes: list[Box] = []
    if source == "demonstrations":
        boxes.append(("Demonstrate", "The teacher makes mistakes on purpose.", "teacher"))
    elif source not in ("rationales", "answers", "none"):
        told = _times(settings) + ("; the policy criticises its own." if source == "trajectories" else ".")
        boxes.append(("Attempt", told, "policy"))
    if source in ("trajectories", "demonstrations"):
        what = "From the first wrong criticism on, the teacher says what is wrong, and it is mended."
        boxes += [("Edit", what, teacher), ("Balance", "One improvement a row, no two alike, beside right ones.", "")]
    else:
        boxes.append(("Select", f"Learned are {learned.get(source, source)}.", ""))
    boxes += [
        ("Train", _sentence(f"fine-tune {_trained(settings)}"), ""),
        ("Evaluate", "Held-out questions, before and after correcting itself.", "policy"),
    ]
    once = settings.get("interaction") == "once"
    notes = ("Every question is tried in every round.", *(["All rounds learn what round 1 did."] if once else []))
    return tuple(boxes), notes, "same"


def _refining(settings: Settings) -> Made:
    source = str(settings.get("learn_from") or "refined")
    actor = {
        "refined": "what passed over the answer its tree began with",
        "independent": "an answer that passed over one that failed",
        "extremes": "the best answer by votes over the worst",
        "sft": "refined answers, without contrast",
        "none": "nothing",
    }.get(source, source)
    judge = {"checker": "a checker", "random": "a coin"}.get(str(settings.get("judge")), "refiner (as judge)")
    boxes: list[Box] = [
        ("Answer", _sentence(f"{_n(settings, 'samples')}answers to every prompt"), "policy (the actor)"),
        ("Judge", _sentence(f"{_n(settings, 'votes')}votes on each answer; the majority counts"), judge),
    ]
    if settings.get("refiner_learns", True) or settings.get("judge_pairs") or source in ("refined", "sft"):
        boxes.append(("Refine", "A tree of refinements from one failed answer a prompt, until one passes.", "refiner"))
    refiner = "Refiner: refinements that passed, judgements on which votes differed."
    if settings.get("refiner_learns") is False:
        refiner = "The refiner is frozen."
    how = "DPO" if source in ("refined", "independent", "extremes") else "fine-tuning"
    boxes += [
        ("Select", f"Actor: {actor}. {refiner}", ""),
        (
            "Train",
            _sentence(f"the actor by {how}, the refiner by fine-tuning, {_trained(settings, 'M_t and R_t')}"),
            "",
        ),
        ("Evaluate", "Held-out prompts, checked by code.", "policy, refiner"),
    ]
    return tuple(boxes), ("Each prompt is tried in one round only.",), "fresh"


LOOPS = {"star-gate": _asking, "tripost": _correcting, "spar": _refining}


def _n(settings: Settings, name: str) -> str:
    """Return a number of the settings with a space behind it; nothing where an older run has none."""
    value = settings.get(name)
    return f"{value} " if isinstance(value, int) else ""


def _times(settings: Settings) -> str:
    """Return how often each question is tried, as the beginning of a sentence."""
    samples = settings.get("samples")
    often = "" if not isinstance(samples, int) else ", once" if samples == 1 else f", {samples} times"
    return f"Every question{often}"


def _sentence(text: str) -> str:
    text = text.strip().rstrip(",")
    return f"{text[:1].upper()}{text[1:]}."
