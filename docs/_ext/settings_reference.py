"""The directive `settings`: every setting of a settings class, with its kind, bounds, default and line.

    ```{settings} sparring.recipes.star_gate.StarGate
    :recipe: star-gate
    ```

What is shown is read from the class: nothing is written twice. A value that the recipe's embedded world brings in place
of the default is shown beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, cast, get_args, get_origin

from docutils import nodes
from docutils.parsers.rst import directives
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sparring.worlds import world_of

BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", dict: "table", Any: "any value"}
OR_NOTHING = ", or nothing"


class SettingsReference(SphinxDirective):
    """Lists a class's settings, those of a nested class under a heading of their own."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"recipe": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        kind: type[BaseModel] = getattr(import_module(module), name)
        recipe = self.options["recipe"]
        world = world_of(kind.model_fields["policy"].default)
        return [*self.part(recipe, "", kind, {}, world.preset(recipe) if world else {})]

    def part(
        self,
        recipe: str,
        prefix: str,
        kind: type[BaseModel],
        defaults: Mapping[str, Any],
        preset: Mapping[str, Any],
    ) -> Iterator[nodes.Node]:
        """Yield the settings of a class, and a section for each class in it; `defaults` go before the class's own."""
        own, nested = nodes.definition_list(), list[nodes.section]()
        for name, field in kind.model_fields.items():
            default = defaults.get(name, field.default)
            if isinstance(default, BaseModel):
                dumped = default.model_dump()
                section = self.section(recipe, f"{prefix}{name}", field.description or type(default).__doc__ or "")
                section += [*self.part(recipe, f"{prefix}{name}.", type(default), dumped, preset.get(name) or {})]
                nested.append(section)
            elif (inner := model_in(field.annotation)) and isinstance(default, Mapping):
                section = self.section(recipe, f"{prefix}{name}", field.description or inner.__doc__ or "")
                section += [*self.part(recipe, f"{prefix}{name}.", inner, default, preset.get(name) or {})]
                nested.append(section)
            else:
                own += self.item(recipe, f"{prefix}{name}", field, default, preset.get(name))
        yield own
        yield from nested

    def section(self, recipe: str, name: str, line: str) -> nodes.section:
        section = nodes.section(ids=[f"{recipe}-{name.replace('.', '-').replace('_', '-')}"], names=[])
        section += nodes.title("", "", nodes.literal("", name))
        section += nodes.paragraph("", "", *prose(line))
        return section

    def item(self, recipe: str, name: str, field: FieldInfo, default: Any, brought: Any) -> nodes.definition_list_item:
        term = nodes.term("", "", nodes.literal("", name))
        term["ids"].append(f"{recipe}-{name.replace('.', '-').replace('_', '-')}")
        facts = nodes.paragraph("", "", *prose(f"{kind_of(field)}. Default: `{shown(default)}`."))
        if brought is not None and brought != default:
            facts += [nodes.Text(" "), *prose(f"On the embedded world: `{shown(brought)}`.")]
        line = [nodes.paragraph("", "", *prose(field.description))] if field.description else []
        return nodes.definition_list_item("", term, nodes.definition("", *line, facts))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class that a field holds, if it holds one."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def kind_of(field: FieldInfo) -> str:
    """Return in words what a field takes, with its bounds."""
    bounds = [f"{word} {getattr(one, at)}" for one in field.metadata for at, word in BOUNDS if hasattr(one, at)]
    kind, nothing, _ = worded(field.annotation).partition(OR_NOTHING)
    kind = ", ".join([kind, *bounds]) + nothing
    return kind[0].upper() + kind[1:] if kind[0].isalpha() else kind


def worded(annotation: Any) -> str:
    """Return a type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{each}`" for each in arguments)
    if origin in (Union, UnionType):
        some = [worded(each) for each in arguments if each is not NoneType]
        return " or ".join(some) + (OR_NOTHING if NoneType in arguments else "")
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each {worded(arguments[0])}"
        return f"a list of {len(arguments)}, each {worded(arguments[0])}"
    if origin is dict:
        return "table"
    if model_in(annotation):
        return "table"
    return NAMES[annotation]


def shown(value: Any) -> str:
    """Return a value as it is written in TOML, or `none`."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list() | tuple():
            return f"[{', '.join(shown(each) for each in cast('list[Any]', value))}]"
        case dict():
            return (
                "{" + ", ".join(f"{name} = {shown(each)}" for name, each in cast("dict[str, Any]", value).items()) + "}"
            )
        case _:
            return str(value)


def prose(text: str | None) -> list[nodes.Node]:
    """Return text with its words in backticks as code."""
    parts = re.split(r"`([^`]*)`", " ".join((text or "").split()))
    return [nodes.literal("", part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts) if part]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("settings", SettingsReference)
    return {"version": "1", "parallel_read_safe": True}
