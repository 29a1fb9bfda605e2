"""Characters that one cannot see, or that move what stands around them, as pictures that one can.

What a model wrote may hold a right-to-left override that makes a name read backwards, a null byte, a zero-width space.
In a page or a terminal each is shown as what it is: `␀` for a control character, `⟮RLO⟯` for a direction. Line feeds
and tabs stay. `report/assets/page.js` does the same for what is drawn in the browser.
"""

from __future__ import annotations

import re

NAMED = {
    0x00AD: "SHY",
    0x061C: "ALM",
    0x180E: "MVS",
    0x200B: "ZWSP",
    0x200E: "LRM",
    0x200F: "RLM",
    0x2028: "LSEP",
    0x2029: "PSEP",
    0x202A: "LRE",
    0x202B: "RLE",
    0x202C: "PDF",
    0x202D: "LRO",
    0x202E: "RLO",
    0x2060: "WJ",
    0x2066: "LRI",
    0x2067: "RLI",
    0x2068: "FSI",
    0x2069: "PDI",
    0xFEFF: "BOM",
}
"""Abbreviations of the Unicode standard. Joiners (U+200C, U+200D) stay: scripts and emoji are written with them."""

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Return `text` with a picture for each control, direction or zero-width character and each lone surrogate."""
    return UNSEEN.sub(_picture, text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"⟮{NAMED.get(code, f'U+{code:04X}')}⟯"
