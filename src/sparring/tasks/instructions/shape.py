"""IFEval's checkers of the shape of a text: how long it is, and what its parts are.

They take time in proportion to the text, however it is made: what a model wrote cannot make one run for ever.
"""

from __future__ import annotations

import json
import re

from sparring.tasks.instructions.counting import sentences
from sparring.tasks.instructions.wording import Relation, holds

ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}
FENCES = ("```json", "```Json", "```JSON", "```")
STAR = re.compile(r"^[^\S\n]*\*[^*].*", re.M)
DASH = re.compile(r"^[^\S\n]*-", re.M)
SINGLE = re.compile(r"\*([^*\n]*)\*")
DOUBLE = re.compile(r"\*\*([^*\n]*)\*\*")


def number_sentences(text: str, *, num_sentences: int, relation: Relation) -> bool:
    return holds(sentences(text), relation, num_sentences)


def number_words(text: str, *, num_words: int, relation: Relation) -> bool:
    """Tell whether there are so many words: runs of letters, digits and underscores."""
    return holds(len(re.findall(r"\w+", text)), relation, num_words)


def number_paragraphs(text: str, *, num_paragraphs: int) -> bool:
    """Tell whether there are exactly so many paragraphs between lines of `***`, none but the outer ones blank."""
    parts = _filled(re.split(r"\s?\*{3}\s?", text))
    return parts is not None and len(parts) == num_paragraphs


def nth_paragraph_first_word(text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Tell whether there are exactly so many paragraphs, blank lines between them, and the nth begins with a word.

    As in IFEval, a paragraph that is blank is not counted, but is when it comes to which is the nth.
    """
    parts = [part.split() for part in text.split("\n\n")]
    if sum(map(bool, parts)) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    words = parts[nth_paragraph - 1]
    return bool(words) and _unquoted(words[0]) == first_word.lower()


def _unquoted(word: str) -> str:
    """Return a word in small letters, from behind its quotation marks to the first punctuation in it."""
    return re.split(r"[.,?!'\"]", word.lstrip("'").lstrip('"'), maxsplit=1)[0].lower()


def number_placeholders(text: str, *, num_placeholders: int) -> bool:
    """Tell whether there are at least so many `[placeholders]`, each within a line."""
    return sum(map(_brackets, text.split("\n"))) >= num_placeholders


def _brackets(line: str) -> int:
    """Return how often an opening bracket is followed by a closing one, each of them used once."""
    return sum("[" in part for part in line.split("]")[:-1])


def has_postscript(text: str, *, postscript_marker: str) -> bool:
    """Tell whether the marker of a postscript is there, in capitals or not; P.S. and P.P.S may have spaces in them."""
    marker, lowered = postscript_marker.strip(), text.lower()
    known = POSTSCRIPTS.get(marker)
    return bool(known.search(lowered)) if known else marker.lower() in lowered


def number_bullets(text: str, *, num_bullets: int) -> bool:
    """Tell whether exactly so many lines begin with `*` or `-`; `**` begins none."""
    return len(STAR.findall(text)) + len(DASH.findall(text)) == num_bullets


def has_answer(text: str) -> bool:
    """Tell whether one of the three answers is there."""
    return any(answer in text for answer in ANSWERS)


def number_highlights(text: str, *, num_highlights: int) -> bool:
    """Tell whether there are at least so many `*highlights*` within a line; `**these**` are counted, too."""
    found = [*SINGLE.findall(text), *DOUBLE.findall(text)]
    return sum(bool(inner.strip()) for inner in found) >= num_highlights


def number_sections(text: str, *, section_spliter: str, num_sections: int) -> bool:
    """Tell whether there are at least so many sections: `Section 1`, `Section 2`, as `section_spliter` says."""
    return len(re.findall(re.escape(section_spliter.strip()) + r"\s?\d+", text)) >= num_sections


def is_json(text: str) -> bool:
    """Tell whether a text is JSON, a fence around it left out."""
    bare = text.strip()
    for fence in FENCES:
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def has_title(text: str) -> bool:
    """Tell whether a line has a title: `<<something>>`."""
    return any(map(_titled, text.split("\n")))


def _titled(line: str) -> bool:
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start < end - 2 and bool(line[start:end].lstrip("<").rstrip(">").strip())


def are_two_responses(text: str) -> bool:
    """Tell whether a text has two different parts, with six asterisks between them."""
    parts = _filled(text.split("*" * 6))
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _filled(parts: list[str]) -> list[str] | None:
    """Return the parts, stripped, a blank one at either end left out; None where another is blank."""
    stripped = [part.strip() for part in parts]
    if not all(stripped[1:-1]):
        return None
    return [part for part in stripped if part]
