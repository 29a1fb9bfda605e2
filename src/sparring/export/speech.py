"""How a model was spoken to when it was measured: what `sparring.json` holds beside its weights, and its card says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparring import __version__
from sparring.export import facts
from sparring.export.chosen import Chosen, Form
from sparring.files import Row
from sparring.recipes.star_gate import told_to_ask

FILE = "sparring.json"
"""Lies in an exported folder."""
SAID: Mapping[str, tuple[str, ...]] = {
    "star-gate": ("ask", "personalise", "neutral"),
    "tripost": ("attempt", "feedback", "update", "answer_only", "format"),
    "spar": ("judge", "refine"),
}
"""Prompts that the model itself meets; those of other roles stay with the run."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "star-gate": ("tasks", "questioner", "answerer", "turns", "elicit", "seed"),
    "tripost": ("tasks", "attempts", "updates", "learn_from", "seed"),
    "spar": ("tasks", "attempts", "judging", "refining", "votes", "quorum", "stop_early", "search", "seed"),
}
"""Settings under which it speaks, by their names."""


def speech(chosen: Chosen, form: Form = "merged") -> Row:
    """Return what `sparring.json` holds of an exported model.

        kind          "model"
        recipe, model, round, form, base, run, version
        prompts       texts by name, with their blanks {question}, {format}, {prompt}, {response}, {begin}, {end}
        instructions  {"question": system message, ...}: what stands before the chat for each part; "" for nothing
        sampling      {"question": {"temperature", "top_p", "max_tokens"}, ...}: of each part, as it was measured
        settings      those under which it speaks, by their names in the recipe

    Parts: question, answer (star-gate); attempt, feedback, update (tripost); response (spar's actor); judgement,
    refinement (its refiner).
    Raises RunError for a run that has no prompts on record.
    """
    record, recipe = chosen.run.record, chosen.recipe
    prompts, settings = prompts_of(chosen), record["settings"]
    return {
        "kind": "model",
        "recipe": recipe,
        "model": chosen.model,
        "round": chosen.round,
        "form": form,
        "base": chosen.base.hub or (chosen.base.engine if chosen.base.world else chosen.base.name),
        "run": chosen.run.id if "id" in record else "",
        "version": __version__,
        "prompts": prompts,
        "instructions": instructions(chosen, prompts),
        "sampling": sampling(chosen),
        "settings": facts.told({name: settings[name] for name in SETTINGS[recipe] if name in settings}),
    }


def prompts_of(chosen: Chosen) -> dict[str, str]:
    """Return the prompts that the model meets. Raises RunError where the run does not have them on record."""
    known = chosen.run.prompts
    return {name: known[name] for name in SAID[chosen.recipe] if name in known}


def instructions(chosen: Chosen, prompts: Mapping[str, str]) -> dict[str, str]:
    """Return the system message of each part; m_t asks without one where it was measured so."""
    if chosen.recipe != "star-gate":
        return {}
    told = told_to_ask(chosen.run.record["settings"].get("elicit", "always"), chosen.round)
    return {"question": prompts["ask"] if told else "", "answer": ""}


def sampling(chosen: Chosen) -> dict[str, dict[str, Any]]:
    """Return how each part was drawn when the model was measured, the first part first."""
    settings = chosen.run.record["settings"]
    match chosen.recipe, chosen.model:
        case "star-gate", _:
            voices = {"question": settings["questioner"], "answer": settings["answerer"]}
        case "tripost", _:
            greedy = {**settings["attempts"], "temperature": 0.0}
            voices = {"attempt": greedy, "feedback": greedy, "update": greedy}
        case _, "refiner":
            voices = {"judgement": settings["judging"], "refinement": settings["refining"]}
        case _:
            voices = {"response": {**settings["attempts"], "temperature": 0.0}}
    return {part: _voice(voice) for part, voice in voices.items()}


def _voice(voice: Mapping[str, Any]) -> dict[str, Any]:
    """Greedy is the same with any nucleus."""
    greedy = not voice["temperature"]
    return {
        "temperature": voice["temperature"],
        "top_p": 1.0 if greedy else voice["top_p"],
        "max_tokens": voice["max_tokens"],
    }
