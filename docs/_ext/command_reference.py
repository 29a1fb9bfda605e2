"""The directive `commands`: every command of the command line, with its arguments, options and defaults.

    ```{commands} sparring.cli.app
    :prog: sparring
    ```

What is shown is what `--help` reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, ClassVar

import typer
from docutils import nodes
from docutils.parsers.rst import directives
from settings_reference import prose
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class CommandReference(SphinxDirective):
    """Lists the commands of a Typer application, each under a heading."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"prog": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        root = typer.main.get_command(getattr(import_module(module), name))
        return [section(path, command, context) for path, command, context in leaves(self.options["prog"], root, None)]


def leaves(path: str, command: Any, parent: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield every command that does something, with the words that call it."""
    context = command.context_class(command, info_name=path.rpartition(" ")[2], parent=parent)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from leaves(f"{path} {name}", command.get_command(context, name), context)
    if not hasattr(command, "list_commands"):
        yield path, command, context


def section(path: str, command: Any, context: Any) -> nodes.section:
    """Return a command's help as a section."""
    found = nodes.section("", nodes.title("", "", nodes.literal("", path)), ids=[path.replace(" ", "-")], names=[])
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    found += nodes.literal_block(usage, usage, language="none")
    found += [nodes.paragraph("", "", *prose(part)) for part in (command.help or "").split("\n\n") if part.strip()]
    listed = nodes.definition_list()
    for parameter in command.get_params(context):
        if parameter.name != "help":
            listed += item(parameter, context)
    found += listed if len(listed) else []
    return found


def item(parameter: Any, context: Any) -> nodes.definition_list_item:
    """Return an argument or option: how it is written, what it does, what it is where it is not given."""
    record = parameter.get_help_record(context)
    name, line = record or (parameter.human_readable_name, getattr(parameter, "help", "") or "")
    term = nodes.term("", "", nodes.literal("", name))
    return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", "", *prose(line or ""))))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", CommandReference)
    return {"version": "1", "parallel_read_safe": True}
