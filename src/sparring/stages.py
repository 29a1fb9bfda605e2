"""What the stages of every recipe share: flows in, lines on disk out, failures set aside and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparring.errors import SettingsError, TooManyFailures
from sparring.files import Row, read_lines
from sparring.flow import Flow, Tally, run
from sparring.runs import Folder, Run
from sparring.select import spread
from sparring.types import Failure

Tell = Callable[[Row], None]
"""Is told what happens, as it happens: {"event": "stage", "stage", "done", "of"} for one."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a run, or of one of its rounds: each a file of lines, made once."""

    run: Run
    tell: Tell
    max_failed: float
    """Largest share of a stage's rollouts that may fail; beyond it, or if all do, the run stops."""
    folder: Folder
    """Where these stages are kept: the run itself, or a part of it."""
    most: int | None = None
    """Most rollouts a stage makes, spread over all it would make: for an estimate. None: all."""

    def within(self, name: str) -> Stages:
        return replace(self, folder=self.run / name)

    def roll_out(
        self,
        name: str,
        flows: Sequence[tuple[str, Flow[Any]]],
        row: Callable[[Any], Row],
        kind: Callable[[str], str] = lambda id: "",
    ) -> list[Row]:
        """Run flows, one line each; those that fail become lines of failures.jsonl, with their reason.

        Where a stage is made in part, that part has as many flows of each `kind`, which is read from their ids.
        """
        if self.most is not None:
            flows = _part(flows, self.most, kind)

        def produce() -> Iterable[Row]:
            tally = Tally()
            results = run(flows, on_done=lambda done: self.told(name, done, len(flows)), tally=tally)
            failures = [result for result in results if isinstance(result, Failure)]
            self.run.record_failures(self.folder.stage(name), failures)
            self._check(name, failures, len(results))
            self.folder.note(name, calls=tally.counts, spread=tally.spread(), failed=len(failures))
            return [row(result) for result in results if not isinstance(result, Failure)]

        return self.lines(name, produce)

    def lines(self, name: str, produce: Callable[[], Iterable[Row]]) -> list[Row]:
        """Return the lines of a stage, produced first where they are not there yet."""
        rows = self.folder.lines(name, produce)
        self.tell(
            {"event": "stage", "stage": self.folder.stage(name), "done": len(rows), "of": len(rows), "ended": True}
        )
        return rows

    def rows(self, name: str) -> list[Row]:
        """Return the lines of a stage that may not have been made; it has none then."""
        path = self.folder.path / name
        return read_lines(path) if path.exists() else []

    def reasons(self, name: str) -> dict[str, int]:
        """Count the rollouts of a stage that failed, by reason."""
        found = [failure.reason for failure in self.run.failures.get(self.folder.stage(name), [])]
        return {reason: found.count(reason) for reason in sorted(set(found))}

    def told(self, name: str, done: int, of: int) -> None:
        self.tell({"event": "stage", "stage": self.folder.stage(name), "done": done, "of": of})

    def progress(self, name: str) -> Callable[[int, int], None]:
        return lambda done, of: self.told(name, done, of)

    def _check(self, name: str, failures: Sequence[Failure], n: int) -> None:
        if len(failures) <= self.max_failed * n and (not failures or len(failures) < n):
            return
        reasons = [failure.reason for failure in failures]
        common = max(sorted(set(reasons)), key=reasons.count)
        detail = next(failure.detail for failure in failures if failure.reason == common)
        raise TooManyFailures(
            f"{self.folder.stage(name)}: {len(failures)} of {n} rollouts failed (max_failed = {self.max_failed}). "
            f"Most often ({reasons.count(common)}): {common}. For example: {detail[:200]!r}. All are in "
            f"{self.run.path / 'failures.jsonl'}."
        )


def _part(flows: Sequence[tuple[str, Flow[Any]]], most: int, kind: Callable[[str], str]) -> list[tuple[str, Flow[Any]]]:
    """Return about `most` of the flows, spread evenly over those of each kind."""
    kinds: dict[str, list[tuple[str, Flow[Any]]]] = {}
    for flow in flows:
        kinds.setdefault(kind(flow[0]), []).append(flow)
    share = max(1, most // max(1, len(kinds)))
    return [flow for those in kinds.values() for flow in spread(those, share)]


def read_prompts(folder: Path, *names: str) -> dict[str, str]:
    """Read the prompt files NAME.md of a recipe. Raises SettingsError naming the file that is missing."""
    for name in names:
        if not (folder / f"{name}.md").is_file():
            raise SettingsError(f"prompts: no file {name}.md in {folder}; the recipe reads {', '.join(names)}")
    return {name: (folder / f"{name}.md").read_text(encoding="utf-8").strip() for name in names}
