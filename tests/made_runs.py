"""Run directories of every recipe, written in milliseconds and without a model, of any size and with any words in them.

    make_star_gate(path, pairs=250, samples=16)           a finished run: 8,000 conversations, and those on test
    make_spar(path, until="round-1/trees.jsonl")          one that is being worked on
    make_tripost(path, text=lambda place, n, plain: ...)  one whose texts, ids, settings, reasons, ... are replaced

The rows are those of the recipes' own records (`Conversation.row` and its like), so that a change of format shows here.
"""

from __future__ import annotations

from tests.made.desk import PLACES, Text
from tests.made.spar import make_spar
from tests.made.star_gate import make_star_gate
from tests.made.tripost import make_tripost

__all__ = ["MAKERS", "PLACES", "Text", "make_spar", "make_star_gate", "make_tripost"]

MAKERS = {"star-gate": make_star_gate, "tripost": make_tripost, "spar": make_spar}
"""By recipe; each takes (path, size, samples, rounds, text, until=)."""
