"""The shape of the package: imports run one way, recipes stand alone, and importing costs nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import sparring

ROOT = Path(sparring.__file__).parent

LAYERS = (
    ("types", "errors", "visible"),
    ("files", "settings", "ledger", "prices", "budget", "runs", "select"),
    ("engines", "tasks"),
    ("flow", "stages"),
    ("signals",),
    ("rollouts",),
    ("training", "evals"),
    ("worlds", "opening"),
    ("plan", "score", "doctor", "loop", "tracking"),
    ("recipes",),
    ("report",),
    ("export",),
    ("chat",),
    ("view",),
    ("cli",),
)
"""Bottom first. A part may import parts of its own layer and of those before it."""

LEVEL = {part: level for level, layer in enumerate(LAYERS) for part in layer}

MODEL_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "scipy")

HEAVY = (
    "engines.hf",
    "training.batches",
    "training.callbacks",
    "training.dpo",
    "training.sft",
    "training.shared",
    "worlds.concierge.build",
    "worlds.concierge.gates",
    "worlds.instructions.build",
    "worlds.instructions.gates",
    "worlds.lessons.build",
    "worlds.lessons.gates",
    "worlds.small_model",
)
"""Modules that may load a model library when they are imported. Everything else loads it inside the function that needs
it, or not at all."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, the leading `sparring.` left out."""
    found: dict[str, Path] = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in MODULES.items()}
NAMES = sorted(name for name in MODULES if name)


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and module of everything of ours that a module imports, wherever in the file."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.removeprefix("sparring.")) for alias in node.names if ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"sparring.{name}:{node.lineno}: write the import in full, from sparring"
            source = node.module or ""
            if ours(source):
                source = source.removeprefix("sparring").removeprefix(".")
                for alias in node.names:
                    inner = f"{source}.{alias.name}".removeprefix(".")
                    yield node.lineno, inner if inner in MODULES else source


def ours(name: str) -> bool:
    return name.split(".")[0] == "sparring"


def part(name: str) -> str:
    return name.split(".")[0]


def python(script: str) -> str:
    """Run a script in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_part_has_a_layer() -> None:
    strays = {part(name) for name in NAMES} - LEVEL.keys() - {"__main__"}
    assert not strays, "give it a place in LAYERS, and in the picture in CONTRIBUTING.md"


@pytest.mark.parametrize("name", NAMES)
def test_imports_run_one_way(name: str) -> None:
    if name == "__main__":
        return
    upward = [
        f"line {line}: sparring.{other}"
        for line, other in imports(name)
        if other and LEVEL.get(part(other), len(LAYERS)) > LEVEL.get(part(name), 0)
    ]
    assert not upward, f"sparring.{name} imports from a layer above its own"


def test_no_two_parts_import_each_other() -> None:
    edges = {(part(name), part(other)) for name in NAMES for _, other in imports(name) if part(name) != part(other)}
    assert not {(a, b) for a, b in edges if a < b and (b, a) in edges}


def test_no_part_but_the_recipes_and_the_command_line_knows_a_recipe() -> None:
    knowing = [name for name in NAMES if any(part(other) == "recipes" for _, other in imports(name))]
    assert {part(name) for name in knowing} <= {"recipes", "report", "chat", "export", "view", "cli", "__main__"}


def test_recipes_never_import_each_other() -> None:
    """A recipe is what cites its paper; what cites none is shared by them, and knows none of them."""
    inside = {name for name in NAMES if part(name) == "recipes" and MODULES[name].name != "__init__.py"}
    recipes = {name for name in inside if "https://" in (ast.get_docstring(TREES[name]) or "")}
    assert {(name, other) for name in inside for _, other in imports(name) if other in recipes - {name}} == set()
    assert recipes, "no recipe was found"


@pytest.mark.parametrize("name", [name for name in NAMES if part(name) not in ("cli", "__main__")])
def test_nothing_below_the_command_line_prints_or_reads_flags(name: str) -> None:
    """A module that is started as a program (a training job) may read its one argument, under `__name__` alone."""
    met = [f"line {line}: {what}" for line, what in command_line(TREES[name])]
    assert not met, f"sparring.{name} talks to a terminal"


def command_line(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            continue
        match node:
            case ast.Call(func=ast.Name(id="print" | "input" as what)):
                yield node.lineno, what
            case ast.Attribute(value=ast.Name(id="sys"), attr="argv"):
                yield node.lineno, "sys.argv"
            case ast.Import() | ast.ImportFrom():
                sources = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                yield from ((node.lineno, s) for s in sources if s.split(".")[0] in ("argparse", "typer", "click"))
            case _:
                pass
        yield from command_line(node)


def test_importing_loads_no_model_library() -> None:
    light = [name for name in NAMES if name not in HEAVY and name != "__main__"]
    loaded = python(
        "import importlib, json, sys\n"
        f"libraries, culprits = {MODEL_LIBRARIES!r}, {{}}\n"
        f"for name in ['sparring', *('sparring.' + name for name in {light!r})]:\n"
        "    importlib.import_module(name)\n"
        "    for library in libraries:\n"
        "        if library in sys.modules:\n"
        "            culprits.setdefault(library, name)\n"
        "print(json.dumps(culprits))\n"
    )
    assert json.loads(loaded) == {}, "library: the first module that loads it"


def test_help_loads_nothing_but_typer_and_the_few_modules_it_reads() -> None:
    """What makes `sparring --help` slow is what it imports: beyond typer's own, json and shlex, it needs none."""
    loaded = python(
        "import json, sys, typer\n"
        "before = set(sys.modules)\n"
        "sys.argv = ['sparring', '--help']\n"
        "from sparring.__main__ import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code\n"
        "print(json.dumps([name for name in sys.modules if name not in before]))\n"
    )
    met = {name for name in json.loads(loaded.splitlines()[-1]) if not name.startswith("typer.")}
    ours = {"sparring", *(f"sparring.{name}" for name in ("__main__", "cli", "cli.ledger", "cli.stop", "errors"))}
    assert met - {"__future__", "shlex"} == ours


def test_importing_the_package_loads_no_part_of_it() -> None:
    """So that the command can be stopped from its first moments on; every public name comes where it is asked for."""
    loaded = python("import sys\nimport sparring\nprint([name for name in sys.modules if 'sparring.' in name])")
    assert loaded.strip() == "[]"
    python("from sparring import *\nSampling, SettingsError, Chat")
    assert not hasattr(sparring, "Sampler")


def test_models_run_and_train_without_pydantic() -> None:
    """The settings stop at the recipe: a bare GPU machine with torch and transformers can sample, score and train."""
    below = [name for name in NAMES if name in ("engines.hf", "engines.template") or part(name) == "training"]
    # wandb, which TRL loads where it is installed, wants pydantic; such a machine has neither.
    absent = "".join(f"sys.modules[{library!r}] = None\n" for library in ("pydantic", "wandb"))
    python("import sys\n" + absent + "".join(f"import sparring.{name}\n" for name in below))


def test_public_names_are_sorted_and_real() -> None:
    assert all(a < b for a, b in pairwise(sparring.__all__))
    assert all(hasattr(sparring, name) for name in sparring.__all__)
