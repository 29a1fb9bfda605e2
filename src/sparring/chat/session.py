"""What a session with a model is, whatever recipe trained it: lines of a person in, events out."""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from sparring.chat.partner import Partner
from sparring.chat.speaking import Speaking, Stopped
from sparring.chat.vocabulary import Vocabulary
from sparring.engines.base import OnText, Request
from sparring.errors import RolloutError, SparringError
from sparring.flow import Flow, run
from sparring.opening import Engines
from sparring.types import Completion, Failure

T = TypeVar("T")
Event = dict[str, Any]
Tell = Callable[[Event], None]


class Session(ABC):
    """One person's talk with a model. Not for several threads, but for `stop`."""

    greeting: str
    """Who is there, and how to talk to it: a few lines, ours."""
    commands: ClassVar[dict[str, str]] = {
        "/new": "begin anew",
        "/example": "something to try",
        "/words": "the words that it knows, where they are few",
        "/help": "this",
    }
    """What may be sent in place of words, each with what it does."""
    about: ClassVar[str] = ""
    """What happens here, for /help."""
    several_lines: ClassVar[bool] = False
    """Whether what a person writes has several lines as a rule: a terminal then reads up to an empty one."""

    def __init__(self, partner: Partner, tell: Tell, compare: bool = False):
        """Open the engines. Raises EngineError."""
        self.partner, self.compare = partner, compare
        self.recipe = partner.recipe
        self._tell, self._stopping = tell, threading.Event()
        self._examples = partner.examples()
        self.engines = Engines(f"chat {secrets.token_hex(8)}", serving=partner.serving)
        try:
            self.speaker = self.engine(partner.model, partner.label)
            self.prepare()
            self.vocabulary = Vocabulary.of(self.engines.open(partner.model))
            self.greet()
        except BaseException:
            self.engines.close()
            raise

    # What each recipe does

    @abstractmethod
    def prepare(self) -> None:
        """Get ready to talk: once, when the model is open."""

    @abstractmethod
    def hint(self) -> str:
        """Return what the person may do now, in a few words."""

    @abstractmethod
    def said(self, text: str) -> None:
        """Answer a person's words."""

    @abstractmethod
    def new(self) -> None:
        """Forget what was said."""

    def part_of(self, request: Request) -> str:
        """Return which part of the talk a request is for; "" for what is not shown as it comes."""
        return ""

    def heard(self, who: str, request: Request, reply: Completion) -> None:
        """Show what was said, once it is whole."""
        self.message(who, self.part_of(request), reply.text.strip(), **told(reply))

    def command(self, name: str, rest: str) -> None:
        """Obey a command, which is one of `commands`."""
        match name:
            case "/new":
                self.new()
                self.note("Forgotten. " + self.hint())
            case "/example":
                self.note(self.example())
            case "/words":
                self.note(self.vocabulary.listed())
            case _:
                self.note("\n".join([self.about, *(f"{name:11}{what}" for name, what in self.commands.items())]))

    def example(self) -> str:
        """Return something to try, another one every time; begin again where there is no more."""
        found = next(self._examples, None)
        if found is None:
            self._examples = self.partner.examples()
            found = next(self._examples, None)
        return found or "There is no example here."

    # What everybody may ask for

    def send(self, text: str) -> None:
        """Take a person's words, or a command, and return when the model has done its part.

        What goes wrong is told as an `error`, and the session goes on.
        """
        self._stopping = threading.Event()
        text = text.encode(errors="replace").decode()  # half a character is no text to a tokenizer
        name, _, rest = text.strip().partition(" ")
        try:
            if name.startswith("/") and "\n" not in text.strip():
                self._obey(name, rest.strip())
            elif text.strip():
                if note := self.vocabulary.unknown(text):
                    self.note(note)
                else:
                    self.said(text.strip())
        except Stopped:
            self.note("Stopped.")
        except RolloutError as error:
            self.tell({"event": "error", "text": f"Nothing came of that: {error}"})
        except SparringError as error:
            self.tell({"event": "error", "text": str(error)})
        self.tell({"event": "turn", "hint": self.hint()})

    def _obey(self, name: str, rest: str) -> None:
        if name in self.commands:
            self.command(name, rest)
        else:
            self.note(f"There is no {name}; there is {', '.join(self.commands)}.")

    def stop(self) -> None:
        """Break off what is being said. For any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Let go of the models. Not while something is being said: `stop` first."""
        self.engines.close()

    def may_compare(self, begun: bool) -> bool:
        """Say whether m_0 can be shown on what was said; where nothing was, it is from now on, or is no longer."""
        if not self.partner.base:
            self.note("There is no m_0 to compare with: this is m_0, or where it lies is not known.")
        elif not begun:
            self.compare = not self.compare
            self.note(f"m_0 is {'shown beside it from now on' if self.compare else 'no longer shown'}.")
        return bool(self.partner.base) and begun

    # For those who make sessions

    def greet(self) -> None:
        """Write the greeting."""
        self.greeting = f"{self.partner.described}\n{self.hint()} /help tells more."

    def engine(self, name: str, who: str) -> Speaking:
        """Return the engine of that name, heard as `who`."""
        return Speaking(self.engines.open(name), lambda request: self._hearing(who, request), self._whole(who))

    def carry(self, flow: Flow[T]) -> T:
        """Run a flow to its end. Raises RolloutError where it came to nothing."""
        [found] = run([("chat", flow)])
        if isinstance(found, Failure):
            raise RolloutError(found.reason, found.detail)
        return found

    def tell(self, event: Event) -> None:
        self._tell(event)

    def note(self, text: str) -> None:
        self.tell({"event": "note", "text": text})

    def message(self, who: str, part: str, text: str, **facts: Any) -> None:
        self.tell({"event": "message", "who": who, "part": part, "text": text, "facts": facts})

    def _hearing(self, who: str, request: Request) -> OnText:
        """Return who is told the words of a reply as they come. It raises Stopped once the person wants no more."""
        part, stopping = self.part_of(request), self._stopping

        def hear(text: str) -> None:
            if stopping.is_set():
                raise Stopped
            if part and text:
                self.tell({"event": "delta", "who": who, "part": part, "text": text})

        return hear

    def _whole(self, who: str) -> Callable[[Request, Completion], None]:
        def heard(request: Request, reply: Completion) -> None:
            if self.part_of(request):
                self.heard(who, request, reply)

        return heard


class OneByOne(Session):
    """A talk in which whatever is asked stands alone, and m_0 may be asked the same."""

    several_lines = True
    asks: ClassVar[tuple[str, str]]
    """What the person is told to do: at first, and then again."""
    asked: str = ""

    @abstractmethod
    def as_first(self) -> None:
        """Have m_0 do what was asked."""

    def new(self) -> None:
        self.asked = ""

    def hint(self) -> str:
        first, again = self.asks
        if not self.asked:
            return f"{first}."
        return f"{again}, or /compare." if self.partner.base else f"{again}."

    def command(self, name: str, rest: str) -> None:
        if name != "/compare":
            super().command(name, rest)
        elif self.may_compare(bool(self.asked)):
            self.as_first()


def told(reply: Completion) -> dict[str, Any]:
    """Return the facts of a reply: tokens written, and how it ended where that was not by itself."""
    facts: dict[str, Any] = {}
    if reply.completion_tokens is not None:
        facts["tokens"] = reply.completion_tokens
    if reply.finish != "stop":
        facts["finish"] = "cut off" if reply.finish == "length" else "refused"
    return facts
