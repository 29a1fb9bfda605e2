"""The model card: what was done, how to speak to the model, what it came to, and how to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sparring.engines.adapters import read_adapter
from sparring.engines.vllm import RANKS
from sparring.export import facts
from sparring.export.chosen import Chosen, Form, best_round, checkpoints
from sparring.export.example import example
from sparring.export.tongue import Tongue, drawn
from sparring.export.words import templates
from sparring.files import Row
from sparring.flow import quoted, render
from sparring.report.parts import Unit
from sparring.report.record import Metric, Record
from sparring.report.terminal import REPORTS
from sparring.rollouts.refining import BEGIN, END

SHARES = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")
PUBLIC = {"google/IFEval": dict.fromkeys(SHARES, 541)}
"""Test sets whose figures mean the same whoever measured them, with the n of the whole: only these go into the card's
`model-index`."""


def model_card(chosen: Chosen, form: Form, about: Row, record: Record, tongue: Tongue, picture: bool) -> str:
    """Return the README.md of an exported model, in Markdown with the Hub's front matter.

    `about` is what sparring.json holds; `picture`: whether figures.png stands beside it.
    """
    known = context(chosen, form, about, tongue)
    known |= {"snippet": rendered(_snippet(chosen), **known), "served": served(known)}
    return rendered(
        "model.md.j2",
        **known,
        **head(chosen, form, record),
        **measured(chosen, record, picture),
        **facts.made(record),
        limits=facts.limits(chosen.recipe, chosen.model, chosen.base),
        citation=facts.CITATIONS[chosen.recipe],
    )


def rendered(template: str, **values: Any) -> str:
    return templates().get_template(template).render(**values)


def context(chosen: Chosen, form: Form, about: Row, tongue: Tongue) -> Row:
    """Return what card and snippet say of how the model speaks."""
    sampling: Mapping[str, Mapping[str, Any]] = about["sampling"]
    among = bool(next(iter(sampling.values()))["temperature"])
    settings, prompts = about["settings"], dict(about["prompts"])
    asks = prompts.get("answer_only" if settings.get("learn_from") == "answers" else "attempt", "")
    if "refine" in prompts:
        prompts["refine"] = render(prompts["refine"], begin=BEGIN, end=END)
    return {
        "chosen": chosen,
        "recipe": chosen.recipe,
        "form": form,
        "base": chosen.base,
        "slug": f"{chosen.recipe}-{chosen.model}-{chosen.round}",
        "tongue": tongue,
        "narrow": tongue.head if tongue.head and tongue.head < 32 else None,
        "prompts": prompts,
        "instructions": about["instructions"],
        "sampling": sampling,
        "greedy": not among,
        "drawn": {part: drawn(voice, among) for part, voice in sampling.items()},
        "asked": render(asks, format=prompts.get("format", "")).strip(),
        "updates": 0 if settings.get("learn_from") == "answers" else settings.get("updates", 0),
        "turns": max(settings.get("turns") or [3]),
        "turns_said": turns_said(settings.get("turns") or [3]),
        "votes": settings.get("votes", 5),
        "begin": BEGIN,
        "end": END,
        "example": example(chosen),
    }


def turns_said(turns: Sequence[int]) -> str:
    """Return "1, 2 or 3 turns"."""
    known = [str(turn) for turn in sorted(set(turns))]
    told = " or ".join([", ".join(known[:-1]), known[-1]]) if len(known) > 1 else known[0]
    return f"{told} {'turn' if known == ['1'] else 'turns'}"


def head(chosen: Chosen, form: Form, record: Record) -> Row:
    """Return what stands in the front matter and in the title."""
    tags = ["sparring", chosen.recipe, "self-improvement", *(["lora"] if form == "adapter" else [])]
    named = {str(record.settings.get("tasks")), facts.tested_on(record.settings)}
    who = "" if chosen.model == "policy" else f", {chosen.model}"
    return {
        "license": "mit" if chosen.base.world else "",
        "tags": tags,
        "datasets": sorted(name for name in named if facts.is_on_hub(name)),
        "ablations": facts.ablations(chosen.recipe, record.settings),
        "one_base": not record.settings.get("refiner"),
        "title": f"{chosen.base.name} after {REPORTS[chosen.recipe].name}{who}, round {chosen.round}",
        "results": results(chosen, record),
    }


def results(chosen: Chosen, record: Record) -> Row:
    """Return figures for the Hub's `model-index`: those of a public test set, measured on the whole of it."""
    test = facts.tested_on(record.settings)
    wanted = PUBLIC.get(test, {}) if chosen.model == "actor" else {}
    found = {one.name: one.rounds[chosen.round] for one in record.metrics if chosen.round < len(one.rounds)}
    metrics = [
        {"type": name, "name": f"{name} (greedy, measured by Sparring)", "value": round(100 * one["value"], 2)}
        for name in wanted
        if (one := found.get(name)) and one["n"] == wanted[name]
    ]
    return {"dataset": test, "metrics": metrics} if metrics else {}


def measured(chosen: Chosen, record: Record, picture: bool) -> Row:
    """Return the figures, and what must be said of them."""
    warnings: list[str] = []
    if better := best_round([*record.rounds], chosen.recipe, chosen.model, chosen.round):
        at, name = better
        label = next((one.label for one in record.metrics if one.name == name), name)
        warnings.append(
            f"Round {at} measured better than this one ({label}), beyond this one's interval: "
            f"sparring export --round {at} gives that model."
        )
    if not chosen.last:
        warnings.append("The run went on after this round.")
    rows = [
        {
            "label": one.label,
            "cells": [cell(metric, one.unit) for metric in one.rounds],
            "n": _n(one, chosen.round),
        }
        for one in record.metrics
    ]
    return {
        "warnings": warnings,
        "verdict": record.verdict,
        "rounds": [entry["round"] for entry in record.rounds],
        "prepared": 0 in checkpoints(chosen.run, chosen.model),
        "figures": rows,
        "title_of_figures": record.title,
        "picture": picture,
    }


def cell(metric: Mapping[str, Any] | None, unit: Unit) -> str:
    """Return a figure as "92.3 % (90.6 to 93.9)"; a dash where nothing is known."""
    if metric is None:
        return "-"
    times = 100 if unit in ("%", "points") else 1
    sign = "+" if unit == "points" else ""
    value, low, high = (
        None if metric[name] is None else f"{round(times * metric[name], 1) + 0.0:{sign}.1f}"
        for name in ("value", "low", "high")
    )
    return f"{value}{' %' if unit == '%' else ''}" + (f" ({low} to {high})" if low else "")


def _n(metric: Metric, at: int) -> str:
    """Return n of a round; where it was not measured in it, that of the last round in which it was."""
    known = [*metric.rounds[at : at + 1], *reversed(metric.rounds)]
    return next(f"{one['n']}" for one in known if one)


def served(known: Row) -> str:
    """Return the line that serves the model, and a first call."""
    slug, base, form = known["slug"], known["base"], known["form"]
    if form == "adapter":
        whose = base.hub or ("./base" if base.world else shlex.quote(base.name))
        start = f"vllm serve {whose} --enable-lora{_rank(known['chosen'])} --lora-modules {slug}=."
    else:
        start = f"vllm serve . --served-model-name {slug}"
    part, voice = next(iter(known["sampling"].items()))
    body: Row = {"model": slug, "messages": first_chat(known)}
    body |= {"temperature": voice["temperature"], "top_p": voice["top_p"], "max_tokens": voice["max_tokens"]}
    if known["tongue"].thinks:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    call = "curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' -d "
    return f"{start}\n# the first {part}, from another shell\n{call}{shlex.quote(json.dumps(body))}"


def _rank(chosen: Chosen) -> str:
    """Return what vLLM must be told of an adapter's rank: it takes 16 and less by itself."""
    assert chosen.adapter is not None  # `choose` has looked
    config = read_adapter(chosen.adapter)
    rank = max([int(config["r"]), *(config.get("rank_pattern") or {}).values()])
    most = next((one for one in RANKS if one >= rank), rank)
    return f" --max-lora-rank {most}" if most > 16 else ""


def first_chat(known: Row) -> list[dict[str, str]]:
    """Return the chat in which the model's first words are due."""
    given, prompts = known["example"], known["prompts"]
    match known["recipe"], known["chosen"].model:
        case "star-gate", _:
            text, told = f"My name is {given['name']}.\n\n{given['task']}", known["instructions"]["question"]
            if told and known["tongue"].takes_system:
                return [{"role": "system", "content": told}, {"role": "user", "content": text}]
            text = f"{told}\n\n{text}" if told else text
        case "tripost", _:
            text = render(known["asked"], question=given["question"]).strip()
        case _, "refiner":
            text = render(prompts["judge"], **{name: quoted(said) or ">" for name, said in given.items()})
        case _:
            text = given["prompt"]
    return [{"role": "user", "content": text}]


def _snippet(chosen: Chosen) -> str:
    return f"{chosen.model if chosen.recipe == 'spar' else chosen.recipe}.py.j2"
