"""Every command of the README and of the site is run, and every file of settings and piece of Python in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import stand_ins
from tests.docs.blocks import CODE, PAGES, ROOT, Block, Shown, commands, shown
from tests.docs.place import Place, out_of

COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: one.text)
def test_a_command_does_what_the_page_says(place: Place, command: Shown) -> None:
    ran = place.run(command.text)
    assert ran.status == 0, f"{command.where}: {ran.command}\n{ran.out[-3000:]}\n{ran.err[-3000:]}"
    assert "Traceback" not in ran.err, ran.err
    made = out_of(command.text) or (re.findall(r"> (\S+)$", command.text) or [""])[0]
    if made and ran.command != "true" and "--help" not in ran.command:
        assert (place.folder / made).exists(), f"{command.where}: no {made}"
    if command.text.startswith("sparring chat"):
        assert '"event": "message"' in ran.out, ran.out


@pytest.mark.parametrize("block", shown("python"), ids=lambda one: one.where)
def test_python_runs_and_prints_what_the_page_says(place: Place, block: Block) -> None:
    name = block.name or "shown.py"
    (place.folder / name).write_text(block.text, encoding="utf-8")
    ran = place.shell(f"python {name}")
    assert ran.status == 0, f"{block.where}\n{ran.out}\n{ran.err}"
    assert block.printed is None or ran.out == block.printed, ran.err


@pytest.mark.parametrize("block", shown("toml"), ids=lambda one: one.where)
def test_a_file_of_settings_is_one(block: Block, tmp_path: Path) -> None:
    if block.name == "prices.toml":
        prices = stand_ins.parsed(block.text)
        assert all(set(price) == {"prompt", "completion"} for price in prices.values())
        return
    recipe = stand_ins.recipe_of(block.name, [one.text for one in COMMANDS])
    (tmp_path / block.name).write_text(block.text, encoding="utf-8")
    stand_ins.KINDS[recipe].load([tmp_path / block.name])


def test_what_no_test_can_run_is_shown_by_some_page() -> None:
    for pattern in stand_ins.NOT_RUN:
        assert any(re.fullmatch(pattern, one.text) for one in COMMANDS), f"{pattern}: no page shows it; take it out"


MODEL = stand_ins.world_of("world:concierge").model  # type: ignore[union-attr]
OWN = f"sparring run star-gate policy=hf:{MODEL} tasks=tasks.jsonl task_splits=[2,2,2] --out runs/refused"
REFUSED = {
    "sparring run star-gate sampels=3": "unknown setting 'sampels'; did you mean 'samples'?",
    f"{OWN} roles.author.engine=base roles.oracle.engine=base": "roles.judge.engine is not set",
    "sparring run star-gate policy=org/model": "policy 'org/model' cannot be trained here",
    "sparring run tripost policy=world:arithmetic/policy tasks=word-sorting": "'world:arithmetic/policy' has words for "
    "tasks = 'world:arithmetic' alone",
    "sparring run star-gate samples=7": "was made with other settings",
}


@pytest.mark.parametrize("command", REFUSED)
def test_an_error_reads_as_the_page_on_troubles_quotes_it(place: Place, command: str) -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert place.run("sparring run star-gate").status == 0
    ran = place.shell(command)
    assert ran.status == 2 and REFUSED[command] in ran.err, ran.err
    assert f"`{REFUSED[command]}`" in page


MADE = re.compile(r"[\w-]+\.jsonl|[a-z]+\.json|round-\d/[\w./-]+|report\.html")
"""How a file of a run is called."""
BROUGHT = {"tasks.jsonl", "exercises.jsonl", "instructions.jsonl", "ifeval.jsonl", "responses.jsonl", "pairs.jsonl"}
"""Files of one's own, which tests/docs/stand_ins.py writes."""
ELSEWHERE = {"calls.jsonl", "sparring.json"}
"""Of the ledger, and of an export."""


def named_of_runs() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for name in CODE.findall(page.read_text(encoding="utf-8")):
            if MADE.fullmatch(name) and name not in BROUGHT | ELSEWHERE:
                yield page.name, name


def test_files_of_a_run_that_a_page_names_are_made(place: Place) -> None:
    for recipe in ("star-gate", "tripost", "spar"):
        assert place.run(f"sparring run {recipe}").status == 0
    for command in ("sparring report runs/star-gate", "sparring run spar --config trusted.toml --out runs/trusted"):
        assert place.run(command).status == 0
    made = [f"/{path}" for path in (place.folder / "runs").rglob("*")]
    for page, name in named_of_runs():
        assert any(path.endswith(f"/{name}") for path in made), f"{page}: no run makes {name}"
