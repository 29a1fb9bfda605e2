"""A model's card: true, valid, whoever wrote its texts, and with a snippet that works where nothing of ours is."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sparring.export import export
from sparring.export.card import cell
from sparring.export.facts import command, place
from sparring.files import read_lines, write_lines
from sparring.report.record import Record
from sparring.runs import Run
from tests.export.conftest import Made, edit, front_matter, make, with_adapter

ALONE = """
import contextlib, io, json, os, runpy, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sparring":
            raise ModuleNotFoundError("sparring is not here")

sys.meta_path.insert(0, Nothing())
for place, said in json.load(sys.stdin).items():
    os.chdir(place + "/theirs")
    sys.stdin, printed = io.StringIO(said), io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(place + "/snippet.py", run_name="__main__")
    print(json.dumps([place, printed.getvalue()]))
"""


def blocks(card: str, language: str) -> list[str]:
    """Return the code blocks of a card, as CommonMark reads them."""
    return [found[2] for found in re.finditer(rf"^(`{{3,}}){language}\n(.*?)\n\1$", card, re.M | re.S)]


def run_snippets(folders: Mapping[str, tuple[Path, str]], place: Path) -> dict[str, str]:
    """Run the snippet of each folder's card in a copy of it, alone in the world; return what they printed.

    `folders`: by name, with what is typed. They share a process, which spares loading torch for each.
    """
    for name, (folder, _) in folders.items():
        shutil.copytree(folder, place / name / "theirs")
        [snippet] = blocks((folder / "README.md").read_text(encoding="utf-8"), "python")
        (place / name / "snippet.py").write_text(snippet, encoding="utf-8")
        shutil.rmtree(folder)
    (place / "alone.py").write_text(ALONE, encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-I", str(place / "alone.py")],
        env={**kept, "HF_HUB_OFFLINE": "1", "HOME": str(place), "PYTHONWARNINGS": "error"},
        input=json.dumps({str(place / name): said for name, (_, said) in folders.items()}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "not valid" not in done.stderr and "ignored" not in done.stderr, done.stderr
    return {Path(at).name: printed for at, printed in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the snippet of every kind of model prints."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("out")
    asks, corrects, follows = (make(runs / recipe, recipe) for recipe in ("star-gate", "tripost", "spar"))
    rows = read_lines(corrects.path / "exercises.jsonl")
    write_lines(corrects.path / "exercises.jsonl", [{**row, "question": "Work out: 47 - 1 + 6"} for row in rows])
    edit(corrects.path / "run.json", lambda record: record["settings"]["attempts"].update(max_tokens=100))
    shown = {"prompt": "Write about the sea\nMention the number 7", "response": "bright gulls drift\ncold waves roll"}
    sampled = follows.path / "round-0/test-sampled.jsonl"
    write_lines(sampled, [{**read_lines(sampled)[0], **shown}])
    edit(follows.path / "run.json", lambda record: record["settings"]["judging"].update(max_tokens=64))
    follows = Run(follows.path)
    lora = with_adapter(make(runs / "lora", "star-gate"))
    folders = {
        "star-gate": (export(asks, out / "star-gate", round=1), "I like spicy food.\nI like low prices.\nNoon.\n"),
        "tripost": (export(Run(corrects.path), out / "tripost"), ""),
        "actor": (export(follows, out / "actor"), ""),
        "refiner": (export(follows, out / "refiner", model="refiner"), ""),
        "adapter": (export(lora, out / "adapter", form="adapter"), "I like tea.\n" * 3),
    }
    return run_snippets(folders, tmp_path_factory.mktemp("alone"))


def test_the_snippet_of_star_gate_asks_and_then_answers(printed: dict[str, str]) -> None:
    questions = printed["star-gate"].split("\n> ")
    assert len(questions) == 4, printed
    assert all("?" in question for question in questions[:3]) and "?" not in questions[3]
    assert questions[3].strip().endswith(".")


def test_the_snippet_of_tripost_attempts_and_criticises(printed: dict[str, str]) -> None:
    assert "(Final response) So the answer is" in printed["tripost"] and "\nFeedback:\n" in printed["tripost"]


def test_the_snippets_of_spar_answer_and_judge(printed: dict[str, str]) -> None:
    assert len(printed["actor"].strip().splitlines()) > 1
    found = re.match(r"Yes: (\d), No: (\d)\n", printed["refiner"])
    assert found and int(found[1]) + int(found[2]) >= 3, printed["refiner"]
    assert "\nRefined:\n" in printed["refiner"]


def test_the_snippet_of_an_adapter_opens_its_base_first(printed: dict[str, str]) -> None:
    assert "?" in printed["adapter"]


def test_the_first_call_of_vllm_is_the_chat_that_the_model_was_measured_in(made: Made, tmp_path: Path) -> None:
    card = (export(made("star-gate"), tmp_path / "out") / "README.md").read_text()
    [served] = [block for block in blocks(card, "sh") if "vllm serve" in block]
    start, _, call = served.split("\n")
    assert start == "vllm serve . --served-model-name star-gate-policy-2"
    body = json.loads(shlex.split(call)[-1])
    assert body["model"] == "star-gate-policy-2" and (body["temperature"], body["top_p"]) == (0.9, 0.9)
    [message] = body["messages"]
    assert message["content"].startswith("Ask the user one short question.\n\nMy name is ")


def test_the_card_is_one_that_the_hub_takes(made: Made, tmp_path: Path) -> None:
    told = front_matter((export(made("spar"), tmp_path / "out") / "README.md").read_text())
    assert told == {
        "license": "mit",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["sparring", "spar", "self-improvement"],
    }


def test_figures_stand_with_their_intervals_beside_how_it_was_made(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    card = (export(run, tmp_path / "out") / "README.md").read_text()
    record = Record.read(run)
    for metric in record.metrics:
        assert metric.label.replace("_", r"\_") in card
        assert cell(metric.rounds[-1], metric.unit) in card
    assert "| **m\\_2** |" in card and "| **m\\_1** |" not in card
    for part in ("sparring run star-gate", "arxiv.org/abs/2403.19154", "seed 0", record.commit, "## Limits"):
        assert str(part) in card
    assert all(f"**{name}**" in card for name, _, _ in record.topology.boxes)


def test_a_better_earlier_round_is_named(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")

    def worse(summary: dict[str, Any]) -> None:
        for entry, value in zip(summary["rounds"], (0.5, 0.9, 0.7), strict=True):
            entry["metrics"]["win_rate"] = {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 99}

    edit(run.path / "summary.json", worse)
    card = (export(run, tmp_path / "last") / "README.md").read_text()
    assert "Round 1 measured better than this one" in card and "sparring export --round 1" in card
    card = (export(run, tmp_path / "best", round=1) / "README.md").read_text()
    assert "measured better" not in card and "The run went on after this round." in card


def test_only_a_public_test_set_measured_whole_goes_into_the_index_of_results(made: Made, tmp_path: Path) -> None:
    run = made("spar")
    settings = {"tasks": "prompts.jsonl", "test": "google/IFEval", "policy": "hf:Qwen/Qwen3-0.6B"}
    edit(run.path / "run.json", lambda record: record["settings"].update(settings))

    def index(name: str) -> Any:
        told = front_matter((export(Run(run.path), tmp_path / name) / "README.md").read_text())
        assert told["datasets"] == ["google/IFEval"]
        return told.get("model-index")

    assert index("part") is None

    def whole(summary: dict[str, Any]) -> None:
        summary["rounds"][-1]["metrics"]["prompt_strict"] = {"value": 0.818, "low": 0.78, "high": 0.85, "n": 541}

    edit(run.path / "summary.json", whole)
    [entry] = index("whole")
    [result] = entry["results"]
    assert result["dataset"]["type"] == "google/IFEval"
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [("prompt_strict", 81.8)]


def test_nobodys_own_tasks_and_places_are_told_to_strangers(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    private = {
        "tasks": "/home/ada/work/patients.jsonl",
        "policy": "hf:/home/ada/models/base",
        "vllm": {"environment": {"SECRET": "ada-key"}},
    }
    edit(run.path / "run.json", lambda record: record["settings"].update(private))
    line = (
        "/home/ada/bin/sparring run star-gate --config /home/ada/mine.toml roles.oracle.engine=http://ada-box/v1#qwen"
    )
    edit(run.path / "run.json", lambda record: record.update(command=line))
    out = export(Run(run.path), tmp_path / "out")
    card = (out / "README.md").read_text()
    for text in (card, (out / "sparring.json").read_text()):
        assert "ada" not in re.sub("[Mm]ada|Canada", "", text)
    assert "patients.jsonl" in card and "sparring run star-gate --config mine.toml" in card
    situation = json.loads((run.path / "situations.jsonl").read_text().splitlines()[-1])
    assert situation["task"]["text"] not in card and "Plan a weekend in Lisbon" in card


EVIL = (
    "</details></script><script>alert(1)</script>\n---\nlicense: evil\n---\n# Evil\n```\n````\n"
    "\"'|`$(x)\u202e\x00\x1b[31m"
)


@pytest.mark.parametrize("recipe", ["star-gate", "tripost", "spar"])
def test_what_a_run_says_stays_within_its_place(made: Made, recipe: str, tmp_path: Path) -> None:
    plain = made(recipe)
    run = made(recipe, text=lambda place, n, text: text if place in ("id", "job") else f"{text}{EVIL}")
    told = {"prompts": {name: f"{text}{EVIL}" for name, text in run.record["prompts"].items()}}
    edit(run.path / "run.json", lambda record: record.update(told))
    edit(run.path / "run.json", lambda record: record["settings"].update(policy=f"hf:a/{EVIL}", prompts=EVIL))
    model: Any = "refiner" if recipe == "spar" else "policy"
    first, card = (
        (export(Run(one.path), tmp_path / name, model=model) / "README.md").read_text()
        for name, one in (("plain", plain), ("evil", run))
    )
    assert front_matter(card).keys() <= {*front_matter(first), "base_model", "base_model_relation"}
    assert "\x00" not in card and "\x1b" not in card and "\u202e" not in card
    outside = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", card, flags=re.M | re.S)
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
    tags = re.findall(r"</?[a-z]+", outside)
    assert tags == ["<details", "<summary", "</summary", "</details"]
    assert [line for line in outside.splitlines() if line.startswith("#")][1:] == [
        *("## How to use it", "## What it came to", "## How it was made", "## Limits", "## Made again", "## Citation"),
    ]
    [snippet] = blocks(card, "python")
    compile(snippet, "snippet", "exec")
    for block in blocks(card, "sh"):
        assert "\n$(" not in block
    assert len(list(tmp_path.glob("*"))) == 3


def test_places_and_addresses_are_told_by_their_last_part() -> None:
    assert place("hf:/home/ada/m") == "hf:m"
    assert place("hf:Qwen/Qwen3") == "hf:Qwen/Qwen3"
    assert place("world:concierge") == "world:concierge"
    assert place("https://ada.internal:8000/v1?key=K#qwen") == "(a server)#qwen"
    assert place("tasks=/home/ada/t.jsonl") == "tasks=t.jsonl"
    assert command("/x/y/__main__.py run spar seed=1") == "sparring run spar seed=1"
    assert command("") == ""


def test_a_command_on_a_card_holds_no_secret_and_can_be_given_again() -> None:
    words = ["/x/sparring", "run", "spar", "--out", "/home/ada/my runs", 'training.report_to=["wandb"]']
    words += ["vllm.environment.HF_TOKEN=hf_secret", 'vllm={"environment": {"K": "hf_secret"}}']
    words += ['roles.teacher={"engine": "http://ada:key@box/v1#gpt", "max_tokens": 9}', 'roles.teacher={"http://ada']
    shown = command(shlex.join(words))
    assert "ada" not in shown and "hf_secret" not in shown and "key" not in shown
    assert shlex.split(shown)[:5] == ["sparring", "run", "spar", "--out", "my runs"]
    assert shlex.split(shown)[5:7] == [
        'training.report_to=["wandb"]',
        'roles.teacher={"engine": "(a server)#gpt", "max_tokens": 9}',
    ]
    assert command("sparring run spar policy=it's") == "sparring run spar 'policy=it'\"'\"'s'", "an older record"


def test_an_ablation_is_said_to_be_none_of_the_method(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")
    assert "This run departs" not in (export(run, tmp_path / "plain") / "README.md").read_text()
    edit(run.path / "run.json", lambda record: record["settings"].update(selection="random", closing="none"))
    card = (export(Run(run.path), tmp_path / "ablation") / "README.md").read_text()
    assert "This run departs from that, with `selection=random`, `closing=none`" in card


def test_a_model_of_somebody_elses_has_no_licence_of_ours_and_says_whose_holds(made: Made, tmp_path: Path) -> None:
    run = made("spar")
    edit(run.path / "run.json", lambda record: record["settings"].update(policy="hf:Qwen/Qwen3-0.6B"))
    card = (export(Run(run.path), tmp_path / "out") / "README.md").read_text()
    assert "license" not in front_matter(card) and "Whatever holds of its base model (licence" in card
    edit(run.path / "run.json", lambda record: record["settings"].update(refiner="hf:Qwen/Qwen3-4B"))
    card = (export(Run(run.path), tmp_path / "two", model="refiner") / "README.md").read_text()
    assert front_matter(card)["base_model"] == "Qwen/Qwen3-4B" and "of the same base" not in card


def test_no_figure_stands_without_its_n(made: Made, tmp_path: Path) -> None:
    run = made("star-gate")

    def once(summary: dict[str, Any]) -> None:
        found = summary["rounds"][0]["metrics"]["win_rate"] | {"n": 77}
        for at, entry in enumerate(summary["rounds"]):
            entry["metrics"]["win_rate"] = None if at else found

    edit(run.path / "summary.json", once)
    card = (export(run, tmp_path / "out", round=1) / "README.md").read_text()
    assert re.search(r"^\| answers preferred .* \| - \| - \| 77 \|$", card, re.M)
    assert "This is the model of round 1." in card


def test_a_figure_without_an_interval_has_none() -> None:
    assert cell(None, "%") == "-"
    assert cell({"value": 0.5, "low": None, "high": None, "n": 1}, "%") == "50.0 %"
    assert cell({"value": 0.062, "low": 0.048, "high": 0.075, "n": 9}, "points") == "+6.2 (+4.8 to +7.5)"
    assert cell({"value": -0.0001, "low": -1.0, "high": 1.0, "n": 9}, "nats") == "0.0 (-1.0 to 1.0)"
