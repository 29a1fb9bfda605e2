"""What a stub server says as judge and refiner of texts of one word: `good` texts pass, `bad` ones do not.

For `python -m tests.serving --reply bench.stub:reply`. Three of ten refinements are right, four of five votes.
"""

from __future__ import annotations

import random
from typing import Any

RIGHT, SEES = 0.3, 0.8
BEGIN, END = "=== refined ===", "=== end ==="


def reply(body: dict[str, Any], seed: int) -> str:
    messages = body["messages"]
    rng = random.Random(f"{messages}/{seed}")
    if len(messages) == 3:
        word = "good" if rng.random() < RIGHT else "bad"
        return f"I see what is wrong.\n{BEGIN}\n{word} {rng.randrange(10**6)}\n{END}"
    is_good = "> good" in messages[0]["content"]
    return f"I looked at it.\nVerdict: {'Yes' if is_good == (rng.random() < SEES) else 'No'}"
