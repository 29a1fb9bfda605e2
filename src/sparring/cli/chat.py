"""`sparring chat`: a session at the terminal, as it is said. What models say is data here: nothing of it is obeyed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from sparring.chat import Event, Session, open_session
from sparring.cli.stop import Terminated
from sparring.visible import visible

DOES = {
    "question": "asks",
    "answer": "answers",
    "attempt": "attempts",
    "feedback": "looks at it",
    "update": "updates it",
    "response": "says",
    "verdict": "votes",
}
"""What somebody does who says a part."""
COLOURS = {"m_0": "yellow", "judge": "magenta", "refiner": "magenta"}
MARGIN = "  "
LEAVE = ("/quit", "/exit")


def chat(what: str, round: int | None, compare: bool, as_json: bool) -> None:
    """Talk until the person leaves: with /quit, or the end of input."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is no text ends no chat
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    shown = Shown(Console(highlight=False)) if at_terminal else None
    session = open_session(what, tell=shown.tell if shown else _line, compare=compare, round=round)
    try:
        if shown:
            shown.note(f"{session.greeting}\n/quit leaves; Ctrl-C stops what is being said or typed.")
        else:
            _line({"event": "greeting", "text": session.greeting})
        _talk(session, shown, _typed if at_terminal else _read)
    finally:
        session.close()


def _talk(session: Session, shown: Shown | None, lines: Callable[[bool], Iterator[str]]) -> None:
    for text in lines(session.several_lines):
        if text.strip() in LEAVE:
            return
        try:
            session.send(text)
        except KeyboardInterrupt as stop:
            session.stop()
            if not shown or isinstance(stop, Terminated):
                raise
            shown.over()
            shown.note(f"Stopped. {session.hint()}")


def _line(event: Event) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _typed(several: bool) -> Iterator[str]:
    """Yield what is typed at the terminal, a line at a time, or of `several` up to an empty one."""
    import readline

    readline.parse_and_bind("tab: self-insert")  # there is nothing to complete

    def line(begun: bool) -> str | None:
        try:
            return input("| " if begun else "> ")
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated):
                raise
            sys.stdout.write("\n")
            return None

    return _blocks(line, several)


def _read(several: bool) -> Iterator[str]:
    def line(begun: bool) -> str | None:
        if found := sys.stdin.readline():
            return found.rstrip("\n")
        raise EOFError

    return _blocks(line, several)


def _blocks(read: Callable[[bool], str | None], several: bool) -> Iterator[str]:
    """Yield what is written until the end of input; a command is a line of its own. None takes back what was begun."""
    begun: list[str] = []
    while True:
        try:
            line = read(bool(begun))
        except EOFError:
            if begun:
                yield "\n".join(begun)
            return
        if line is None:
            begun = []
            continue
        if line.strip():
            begun.append(line)
        if begun and (not several or not line.strip() or begun[0].startswith("/")):
            yield "\n".join(begun)
            begun = []


class Shown:
    """Events on a terminal: words as they come, a tree as it grows."""

    def __init__(self, console: Console):
        self.console = console
        self.speaking: tuple[str, str] | None = None
        """Who is saying what, while that comes in pieces."""
        self.growing: Growing | None = None

    def tell(self, event: Event) -> None:
        match event["event"]:
            case "delta":
                self.piece(event["who"], event["part"], event["text"])
            case "message":
                self.message(event["who"], event["part"], event["text"], event["facts"])
            case "node":
                self.node(event["tree"], event["node"])
            case "note":
                self.over()
                self.note(event["text"])
            case "error":
                self.over()
                self.console.print(Text(visible(event["text"]), "red"))
            case _:  # whose turn it is
                self.over()
                self.console.print(Text(event["hint"], "dim"))

    def note(self, text: str) -> None:
        self.console.print(Text(visible(text), "dim"))

    def piece(self, who: str, part: str, text: str) -> None:
        if self.speaking is None and not text.strip():
            return
        if self.speaking is None:
            self.speaking, text = (who, part), text.lstrip()
            self.who(who, part)
            text = MARGIN + text
        self.console.print(Text(visible(text).replace("\n", f"\n{MARGIN}")), end="", soft_wrap=True)

    def message(self, who: str, part: str, text: str, facts: dict[str, Any]) -> None:
        if self.speaking:
            self.speaking = None
            self.console.print()
        else:
            self.who(who, part, facts)
            self.console.print(Text(MARGIN + visible(text).replace("\n", f"\n{MARGIN}")), soft_wrap=True)
        self.facts(facts)

    def who(self, who: str, part: str, facts: dict[str, Any] | None = None) -> None:
        line = Text(f"{visible(who)} {DOES.get(part, part)}", f"bold {COLOURS.get(who, 'cyan')}")
        if facts and "yes" in facts:
            line.append(f": {votes(facts)}", "not bold")
        self.console.print(line)

    def facts(self, facts: dict[str, Any]) -> None:
        if facts.get("mark"):
            self.console.print(Text(f"{MARGIN}it points at  ", "dim") + marked(facts["attempt"], *facts["mark"]))
        if facts.get("verdict") == "unreadable":
            self.note(f"{MARGIN}(this feedback cannot be read, so nothing is updated)")
        if "script" in facts:
            self.note(f"{MARGIN}a script, which it does not hear, says: {facts['script']}")
        if "finish" in facts:
            self.note(f"{MARGIN}({facts['finish']})")

    def node(self, tree: str, node: dict[str, Any]) -> None:
        if self.growing is None or self.growing.name != tree:
            self.over()
            self.growing = Growing(tree, self.console)
        self.growing.add(node)

    def over(self) -> None:
        """Leave what was being shown as it is, and begin a new line."""
        if self.speaking:
            self.speaking = None
            self.console.print()
        if self.growing:
            self.growing.live.stop()
            self.growing = None


class Growing:
    """A tree that is drawn anew with each of its nodes."""

    def __init__(self, name: str, console: Console):
        self.name, self.nodes = name, dict[int, dict[str, Any]]()
        self.live = Live(console=console, auto_refresh=False)
        self.live.start()

    def add(self, node: dict[str, Any]) -> None:
        self.nodes[node["id"]] = node
        self.live.update(drawn(self.nodes), refresh=True)


def drawn(nodes: dict[int, dict[str, Any]]) -> Tree:
    """Return nodes, parents first, as a tree."""
    branches: dict[int, Tree] = {}
    for id, node in sorted(nodes.items()):
        label, parent = node_line(node), node.get("parent")
        branches[id] = Tree(label, guide_style="dim") if parent is None else branches[parent].add(label)
    return branches[0]


def node_line(node: dict[str, Any]) -> Text:
    """Return a node in a line: its votes, and the beginning of what it says."""
    value = node["value"]
    line = Text(f"{value:4.0%} Yes  ", "green" if value > 0.5 else "red", no_wrap=True, overflow="ellipsis")
    if node.get("accepted"):
        line.append("accepted  ", "bold green")
    return line.append(" / ".join(visible(node["text"]).splitlines()), "default")


def votes(facts: dict[str, Any]) -> str:
    """Return what votes came to, in words."""
    unreadable = f", {facts['unreadable']} unreadable" if facts["unreadable"] else ""
    return f"{facts['yes']} Yes, {facts['no']} No{unreadable}"


def marked(text: str, start: int, end: int) -> Text:
    """Return the line of a text in which [start, end) stands, with that marked."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    line = text[first : len(text) if last < 0 else last]
    parts = (line[: start - first], line[start - first : end - first], line[end - first :])
    before, quoted, after = (visible(part) for part in parts)
    return Text.assemble(before, (quoted, "bold red underline"), after)
