"""The answer of a sorting, read out of what a model wrote, in whatever prose it wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sparring.tasks.exercise import FINAL, LABEL, MOST, read_steps

ANSWER = re.compile(
    r"\banswer(?:\s{0,9}:|\s{1,9}(?:is|are|should be|would be)\b|\b[^\n:.]{0,40}:)|^#{1,6} (?:final )?answer\W{0,5}$",
    re.I | re.M,
)
LISTED = re.compile(
    r"\b(?:sorted|alphabetical(?:ly)?|order(?:ed)?|list|result|words)\b(?:[^\n:.]{0,80}:|\s{1,9}(?:is|are)\b)", re.I
)
ITEM = re.compile(r"\s*(?:\d{1,4}[.):]|[-*•+])\s+(?=\S)")
COUNTER = re.compile(r"\(?\d{1,4}[.):]\)?")
STOP = re.compile(r"(?<!\d)\.(?=\s|$)")
BETWEEN = str.maketrans(dict.fromkeys(",;<>=→|?", " ") | {"’": "'", "‘": "'"})
BOX = re.compile(r"\\(?:boxed|text(?:bf|it)?|mathbf)\{")
EDGES = "\"'`*_“”.:!()[]{}$\\-–—•+#~"


def canonical(words: Iterable[str]) -> str:
    """Return words as answers are compared: lower case, without punctuation at their edges, one space between."""
    text = " ".join(words).translate(BETWEEN)
    return " ".join(word for word in map(_clean, text.split()) if word)


def answer_of(attempt: str) -> str | None:
    """Return the words an attempt answers with, canonical; None where there are none to read.

    They stand behind "the answer is" of the final response. Prose without labels is read from its last "answer is",
    else from its last "in alphabetical order:" or the like; else a bare list or a bare line is the answer.
    """
    text = attempt[:MOST]
    return canonical(_words(_block(_tail(text)))) or None


def _tail(text: str) -> str:
    steps = read_steps(text)
    if steps and steps[-1].label == FINAL:
        line = text[steps[-1].start :]
        found = LABEL.match(line)
        tail = line[found.end() :] if found else line
        mark = ANSWER.search(tail) or LISTED.search(tail)
        return tail[mark.end() :] if mark else tail
    mark = _last(ANSWER, text) or (None if steps else _last(LISTED, text))
    if mark:
        return text[mark.end() :]
    return "" if steps else _bare(text)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return found[-1] if found else None


def _bare(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    items = [line for line in lines if ITEM.match(line)]
    return "\n".join(items) if items else lines[0] if len(lines) == 1 else ""


def _block(tail: str) -> list[str]:
    """Return the lines that the answer stands on: a list, or a paragraph up to its first full stop."""
    taken: list[str] = []
    for line in tail.splitlines():
        if not any(character.isalnum() for character in line):
            if taken and not ITEM.match(taken[-1]):
                break
        elif taken and _goes_on_elsewhere(line, taken[0]):
            break
        else:
            stop = STOP.search(line)
            taken.append(line[: stop.start()] if stop else line)
            if stop and not ITEM.match(line):
                break
    return taken


def _goes_on_elsewhere(line: str, first: str) -> bool:
    is_list = ITEM.match(first) is not None
    return LABEL.match(line) is not None or is_list != (ITEM.match(line) is not None) or (not is_list and ":" in line)


def _words(lines: list[str]) -> list[str]:
    text = " , ".join(lines) if len(lines) > 1 else "".join(lines)
    text = BOX.sub(" ", text)
    if "," in text:
        head, _, last = text.rpartition(",")
        text = f"{head},{_without_and(last.split())}"
    return text.split()


def _without_and(words: list[str]) -> str:
    if len(words) == 2 and words[0].lower() == "and":
        words = words[1:]
    elif len(words) == 3 and words[1].lower() == "and":
        words = [words[0], words[2]]
    return " ".join(["", *words])


def _clean(word: str) -> str:
    if COUNTER.fullmatch(word):
        return ""
    word = word.strip(EDGES).lower().replace("\\", "")
    return word if any(character.isalnum() for character in word) else ""
