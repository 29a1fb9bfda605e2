"""The world of a concierge: users who leave things unsaid, and one small model that plays every part.

- `language`: slots, names, tasks, sentences, and strict readers for them
- `experts`: the oracle, the judge and the author of personas, by rule
- `health`: what went on in a conversation, counted
- `corpus`, `build`, `gates`: what the model in `model/` learned from, its training, the skills it must have
- `prompts/`: the instructions, in the world's own few words
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
MODEL = HERE / "model"
"""The trained model that is shipped, as a Hugging Face checkpoint."""
PROMPTS = HERE / "prompts"


@cache
def prompt(name: str) -> str:
    """Return the text of one prompt file of this world, without its last newline."""
    return (PROMPTS / f"{name}.md").read_text(encoding="utf-8").rstrip("\n")
