"""How many sentences and words in capitals a text has, without a trained tokenizer.

IFEval counts both with nltk: sentences with its trained Punkt model, words with its Treebank tokenizer. Words in
capitals are split here as the Penn Treebank splits them. Sentences are our own rules, which need no data. They differ
from Punkt where it has learned of more abbreviations and of how words are usually written; in that `!!` ends one
sentence, where Punkt counts two, as it does where the last one ends in asterisks; and in that the full stops of
Chinese, Hindi and Urdu are full stops.
"""

from __future__ import annotations

import re
from itertools import pairwise

ENDS = ".!?。！？।؟۔"
CLOSERS = "\"'”’»)]}*_"
OPENERS = "\"'“‘«([{*_"
WIDE = re.compile("[。！？।؟۔]+")
"""Ends of sentences that need no space behind them."""
TITLES = frozenset(
    "mr mrs ms dr prof st mt gen capt col lt sgt sen rep rev hon gov pres vs fig vol ed eds pp cf al approx".split()
)
"""Abbreviations that end no sentence."""
LATE = frozenset("etc inc ltd co corp jr sr a.m p.m ph.d b.a m.a".split())
"""Abbreviations that end one where a word with a capital follows."""
INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""J, or U.S: they end one where a word follows that many sentences start with."""
STARTS = frozenset(
    "The This That These Those There It He She They We You I In On At As For But And So If When However A An".split()
)

BETWEEN = re.compile(r"""[\s;@#$%&?!*\[\](){}<>"`«»“”‘’„\u2012-\u2015]+|\.{2,}|--|''|[:,](?!\d)""")
"""What stands between two words, as the Penn Treebank has it: a hyphen does not."""
CLITIC = re.compile(r"(?<=[^'])('[sSmMdD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T)$")
"""The end of a word that counts as a word: IT'S is two."""
JOINED = re.compile(
    r"(?i)\b(?:can(?=not\b)|gon(?=na\b)|got(?=ta\b)|wan(?=na\s)|gim(?=me\b)|lem(?=me\b)|more(?='n\b)|d(?='ye\b))"
)
"""The first of two words written as one: CANNOT is two."""


def sentences(text: str) -> int:
    """Return how many sentences a text has: 0 of a blank one."""
    words = WIDE.sub(r"\g<0> ", text).split()
    return sum(_is_end(word, following) for word, following in pairwise(words)) + bool(words)


def _is_end(word: str, following: str) -> bool:
    """Tell whether a sentence ends with `word`, where another word follows."""
    bare = word.rstrip(CLOSERS)
    if not bare or bare[-1] not in ENDS:
        return False
    if bare[-1] != ".":
        return True
    before, first = bare[:-1].lstrip(OPENERS).lower(), following.lstrip(OPENERS)
    if before.endswith((".", *"0123456789")):  # an ellipsis, or an ordinal
        return not first[:1].islower()
    if before in LATE:
        return first[:1].isupper()
    return before not in TITLES and (not INITIALS.fullmatch(before) or first in STARTS)


def capitals(text: str) -> int:
    """Return how many words are in capitals throughout; numbers and signs in them do not matter."""
    words = BETWEEN.split(JOINED.sub(r"\g<0> ", text))
    return sum(part.isupper() for word in words for part in CLITIC.sub(r" \1", word).split())
