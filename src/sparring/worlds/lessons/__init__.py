"""Two worlds of lessons: sums and word order, each with a small model that slips, and that can check, badly.

- `chain`: what both are: a state, items, steps; a reader, a verifier, a way to mend and to spoil
- `sums`, `words`: the two languages
- `teacher`: feedback as a large model would give it, by rule and with errors
- `corpus`, `build`, `gates`: what their models learned from, their training, the skills they must have
- `prompts/`: the cues for feedback and update, and what the teacher is asked
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PROMPTS = HERE / "prompts"


def model(name: str) -> Path:
    """Return the folder of a world's shipped model."""
    return HERE / "models" / name


@cache
def prompt(name: str) -> str:
    """Return the text of one prompt file of these worlds, stripped."""
    return (PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
