"""The engines of a run: each opened once, those that cost under the run's account, and all closed with it."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, Literal, Self

from sparring.budget import Account, Budget
from sparring.engines import is_person, is_remote
from sparring.engines.kept import kept
from sparring.engines.vllm import Serving
from sparring.ledger import Ledger
from sparring.worlds import open_engine

log = logging.getLogger("sparring")

LANDING = 120.0
"""Seconds that calls under way are given to land when a run ends before them."""
HANGING_UP = 1.0
"""Seconds that it may take until a person is no longer waited for."""


class Engines:
    """Opens engines by name, and knows what their calls have cost."""

    def __init__(
        self,
        run: str,
        *,
        budget: Budget | None = None,
        keep: Literal["paid", "all"] = "paid",
        serving: Serving | None = None,
        stay: bool = False,
    ):
        """`run` is what the ledger knows the run by; `keep` says whose calls it keeps.

        With `stay`, servers of ours keep running while a policy is trained.
        """
        self.run, self.budget, self.keep, self.serving, self.stay = run, budget, keep, serving, stay
        self.opened: dict[str, Any] = {}

    @cached_property
    def account(self) -> Account:
        """What the run has spent and may spend. Raises LedgerError for a ledger that cannot be used."""
        account = Account(Ledger(), self.run, self.budget)
        if account.lost:
            log.warning("%d calls of earlier attempts may have been billed without an answer", account.lost)
        return account

    def open(self, name: str) -> Any:
        """Return the engine of that name. Raises EngineError."""
        if name not in self.opened:
            engine = open_engine(name, self.serving)
            asked = self.keep == "all" and name.startswith(("hf:", "vllm:"))
            dear = is_remote(name) or is_person(name)
            self.opened[name] = kept(engine, self.account) if dear or asked else engine
        return self.opened[name]

    def release(self) -> None:
        """Let go of the models in memory, before a training needs it. Whoever is wanted again is opened again."""
        for name in list(self.opened):
            if not is_remote(name) and not (self.stay and name.startswith("vllm:")):
                self.let_go(name)

    def let_go(self, name: str) -> None:
        """Close an engine that nobody wants again; of a server of ours only the adapter, while others speak there."""
        if name in self.opened:
            self._close(self.opened.pop(name))

    def billed(self) -> dict[str, Any]:
        """Return, by role, what was billed now, earlier, and without an answer; empty where nothing costs."""
        return self.account.totals() if "account" in self.__dict__ else {}

    def close(self) -> None:
        """Send nothing more, let what is under way land, and let go of servers and ledger."""
        if "account" in self.__dict__:
            self.account.stop()
            self._hang_up()
            if count := self.account.under_way:
                log.warning("waiting for %d calls under way; they are paid for (Ctrl-C leaves them)", count)
            self.account.land(LANDING)
        for engine in self.opened.values():
            self._close(engine)
        self.opened.clear()
        if "account" in self.__dict__:
            self.account.ledger.close()

    def _hang_up(self) -> None:
        """Wait for no person any longer: theirs are the only calls under way that may never end."""
        people = [engine for name, engine in self.opened.items() if is_person(name)]
        for person in people:
            person.hang_up()
        if people:
            self.account.land(HANGING_UP)

    def _close(self, engine: Any) -> None:
        if close := getattr(engine, "close", None):
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
