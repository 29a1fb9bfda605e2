"""The certificates of a run's judge by round: what was measured of it, what was required, and whether that was met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sparring.errors import RunError
from sparring.evals.certificate import Certificate
from sparring.files import read_json
from sparring.recipes.spar_audit import CERTIFICATE
from sparring.report.parts import Unit, as_row, figure
from sparring.runs import Run

ROWS: tuple[tuple[str, str, Unit], ...] = (
    ("balanced_accuracy", "balanced accuracy", "%"),
    ("accuracy_bad", "· accuracy on bad responses", "%"),
    ("accuracy_good", "· accuracy on good responses", "%"),
    ("drift", "· drift from its first", "points"),
    ("agreement", "agreement of its votes (alpha)", "%"),
    ("yes_bias", "yes bias: said over deserved", "points"),
    ("drift_yes", "· drift from its first", "points"),
    ("length_bias", "length bias: yes to the longer", "points"),
    ("calibration_error", "calibration error", "%"),
    ("unscored", "responses without a verdict", "%"),
    ("unreadable", "votes that cannot be read", "%"),
)
"""Metric, label and unit, as a recipe's own; a metric that no round has is left out."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What a run knows of its judge."""

    rounds: Mapping[int, Certificate]
    """R_0, R_1, ...; empty where none was certified."""
    required: Mapping[str, float]
    """The bound of each metric that has one."""
    stopped: Mapping[str, Any] | None
    """What summary.json says of the certificate that ended the run: round, best, reasons."""

    @classmethod
    def read(cls, run: Run, summary: Mapping[str, Any] | None) -> Certificates:
        """Read them off the run directory. Raises RunError for a file that is broken."""
        known = [name for name, _, _ in ROWS]
        asked: Mapping[str, float | None] = run.record["settings"].get("judge_require") or {}
        required = {name: bound for name, bound in asked.items() if name in known and bound is not None}
        return cls(dict(_rounds(run)), required, (summary or {}).get("stopped"))

    def lacking(self, t: int) -> list[str]:
        """Return why the judge of a round is not what is required, a sentence each."""
        return self.rounds[t].passes(self.required)

    def lines(self) -> Iterator[str]:
        """Yield a line a round, in Rich's markup: what a bound is on, and whether all bounds are met."""
        for t, found in self.rounds.items():
            shown = [
                f"{name.replace('_', ' ')} {figure(as_row(found.metrics.get(name)), unit, bounds=False)}"
                for name, _, unit in ROWS
                if name in (self.required or ("balanced_accuracy",))
            ]
            met = ", as required" if not self.lacking(t) else ", [red]not as required[/]"
            yield f"round {t} judge: {', '.join(shown)}{met if self.required else ''}"


def _rounds(run: Run) -> Iterator[tuple[int, Certificate]]:
    t = 0
    while (path := run.path / f"round-{t}" / CERTIFICATE).is_file():
        try:
            yield t, Certificate.from_row(read_json(path))
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(f"{path} is no certificate: {error!r}; delete it, and the run makes it again") from error
        t += 1
