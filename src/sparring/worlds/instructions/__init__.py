"""A world of instructions: short verses under one to five constraints, and a small model that meets some of them.

- `language`: the words, and what a verse is made of
- `constraints`: fourteen kinds of constraint; what is looked at, what is met, which clash
- `writing`: verses that meet what they should, that miss what they may, and edits from one to the other
- `corpus`, `build`, `gates`: what the model learned from, its training, the skills it must have
- `teacher`: judges and refines as a large model would, by rule and with errors
- `suite`: prompts, nested levels and labelled verses for evaluation
- `prompts/`: the cues for judging and refining
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PROMPTS = HERE / "prompts"
MODEL = HERE / "model"


@cache
def prompt(name: str) -> str:
    """Return the text of one prompt file of this world, stripped."""
    return (PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
