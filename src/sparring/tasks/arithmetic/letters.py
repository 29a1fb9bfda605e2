"""Letters: the first step of an attempt, that says which letter stands for which part of the expression."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sparring.tasks.arithmetic.expression import Tree, spaced, tokens, tree_of
from sparring.tasks.arithmetic.pieces import Fault, unreadable
from sparring.tasks.arithmetic.question import Question

DEFINITION = re.compile(r"\b([A-Z])\s*=([^=,;:A-Za-z\"“”]*)")
QUOTES = re.compile(r"[\"“”`]([^\"“”`\n]*)[\"“”`]")
SYMBOLS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-*() \t\n−–×·⋅∙"


def subject_of(head: str) -> str:
    """Return the expression in capitals that a text closes with, verbatim; empty where it closes with a word."""
    return head[len(head.rstrip(SYMBOLS)) :].strip(" \t\n*")


def read_letters(question: Question, text: str) -> tuple[Fault | None, str, dict[str, str]]:
    """Return what is wrong in the first step, its expression of letters, and what it defines each letter as."""
    found = list(DEFINITION.finditer(text))
    definitions = {definition[1]: definition[2].strip(" \t\n.*") for definition in found}
    if not found:
        return ("", "it does not say what the letters stand for"), "", {}
    skeleton = _skeleton(text[: found[0].start()])
    if skeleton == question.skeleton and definitions == question.definitions and len(found) == len(definitions):
        return None, skeleton, definitions
    said = {definition[1]: definition[0].strip(" \t\n.*") for definition in found}
    if len(found) > len(said):
        return ("", "it defines a letter more than once"), skeleton, definitions
    return _fault(question, skeleton, definitions, said), skeleton, definitions


def _skeleton(head: str) -> str:
    """Return the expression of letters: the last that is quoted, or else what stands before "where"."""
    if quoted := QUOTES.findall(head):
        return quoted[-1].strip()
    head = head.rstrip(" \t\n,:;(")
    for word in ("where", "with", "Where", "With"):
        head = head.removesuffix(word)
    return subject_of(head.rstrip(" \t\n,:;"))


def _fault(question: Question, skeleton: str, definitions: Mapping[str, str], said: Mapping[str, str]) -> Fault | None:
    tree, form = tree_of(question.symbols), tree_of(tokens(skeleton))
    if tree is None or form is None:
        return skeleton, "it is not the expression with letters in it"
    if extra := [letter for letter in definitions if letter not in tokens(skeleton)]:
        return said[extra[0]], f"{extra[0]} does not stand in the equation"
    pending = [(tree, form)]
    while pending:
        part, form = pending.pop()
        if isinstance(form, tuple) and isinstance(part, tuple) and form[0] == part[0]:
            pending += [(part[2], form[2]), (part[1], form[1])]
        elif isinstance(form, str) and form not in definitions:
            return skeleton, f"{form} is not defined"
        elif isinstance(form, str):
            if fault := _definition_fault(part, definitions[form], said[form]):
                return fault
        elif form != part:
            return skeleton, f"the form of the expression is {question.skeleton}"
    return None


def _definition_fault(part: Tree, definition: str, said: str) -> Fault | None:
    if tree_of(tokens(definition)) == part:
        return None
    if fault := unreadable(definition):
        return said, fault[1]
    return said, "this is not what stands in the expression there"


def plain(definition: str) -> str:
    """Return a definition as we write one."""
    return spaced(tokens(definition))
