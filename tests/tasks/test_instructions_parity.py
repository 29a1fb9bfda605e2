"""IFEval's checkers, ours beside those of lm-eval: the same verdicts on seeded texts of every type.

`make install` puts lm-eval beside us without what it depends on: its checkers need langdetect, immutabledict and nltk
alone. Not compared, for they need data that is downloaded: sentences as trained Punkt splits them (untrained Punkt
stands in, on texts that it has no need of training for). Left out, for we differ on purpose: keywords that are regular
expressions, letters that are none, `!!`, texts of a few words in a language of their own, superscript digits (which
nltk's `\\w` leaves out).
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from sparring.tasks.instructions import CHECKERS, Instructed, Instruction, follow, follow_loosely
from tests.tasks.languages import SAID

for needed in ("lm_eval", "langdetect", "immutabledict", "nltk"):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed; `make install` brings it", allow_module_level=True)

TEXTS, SLOW = 600, 150
"""A type; one that langdetect is asked about."""
FEW = 15
"""Texts a type that obey, and that do not, at least."""
RELATIONS = ("less than", "at least")
JOINTS = (" ", " ", " ", "", "\n", "\n\n", "\n\n\n", "  ", "\t", "\n ", "\u00a0", "\u2028", "\r\n")
PLAIN = (
    "word words the Hello WORLD NASA IT'S DON'T CANNOT cannot GONNA D'YE MORE'N U.S. A-B X1 été ÉTÉ straße ＡＢ 'TIS"
    " P.S. Section 1 2 12 * ** *** ****** - -- – — . .. ... ! ? , : ; ' '' \" “ ” ‘ ’ « ` `` ( ) [ ] { } << >> [a] *hi*"
    " I'LL WE'VE 'n' 'S Y'ALL R&B A/B a,b A,B A:B 3:4 A:3 # @ $ % _ A_B sun Sun SUN sunny sun. \x1c \u200b ı İ ſ K"
).split(" ")
SENTENCES = "the rain fell on old stones and nobody saw it Paris quietly river's well-known (almost) 3.5".split()


def joined(rng: random.Random, pieces: Sequence[str], longest: int = 14) -> str:
    size = rng.choice([0, 1, 2, 3, 5, 8, longest])
    return "".join(rng.choice(pieces) + rng.choice(JOINTS) for _ in range(size))


def of(*pieces: str, longest: int = 6) -> Callable[[random.Random], str]:
    """Texts in which the pieces that matter to a type are every second one."""
    return lambda rng: joined(rng, rng.choice([pieces, [*pieces, *rng.sample(PLAIN, len(pieces))]]), longest)


def plain(rng: random.Random) -> str:
    return joined(rng, PLAIN, 30)


def prose(rng: random.Random) -> str:
    said = [" ".join(rng.choices(SENTENCES, k=rng.randint(2, 7))) + " end" for _ in range(rng.randint(0, 8))]
    ends = (".", ".", "!", "?", '."', ".)", "?'", '!"')
    return rng.choice([" ", "\n", "\n\n"]).join(one.capitalize() + rng.choice(ends) for one in said)


def language(rng: random.Random) -> str:
    english = [SAID["en"], SAID["en"].lower(), SAID["en"].upper()]
    return rng.choice([*SAID.values(), *english * 8, "12 + 3 = 15", "", "..."])


def some(rng: random.Random) -> int:
    return rng.choice([0, 1, 1, 2, 2, 3, 4])


def word(rng: random.Random) -> str:
    return rng.choice(["sun", "word", "the", "1", "Section", "été", "straße", "NASA", "k", "s", "i", "Hello"])


def relation(rng: random.Random) -> str:
    return rng.choice(RELATIONS)


def nth(rng: random.Random) -> dict[str, Any]:
    paragraphs = rng.randint(1, 3)
    return {
        "num_paragraphs": paragraphs,
        "nth_paragraph": rng.randint(1, paragraphs),
        "first_word": rng.choice(["sun", "Été"]),
    }


def nothing(rng: random.Random) -> dict[str, Any]:
    return {}


Texts = Callable[[random.Random], str]
Arguments = Callable[[random.Random], dict[str, Any]]
TYPES: dict[str, tuple[Texts, Arguments]] = {
    "change_case:capital_word_frequency": (
        plain,
        lambda rng: {"capital_frequency": some(rng), "capital_relation": relation(rng)},
    ),
    "change_case:english_capital": (language, nothing),
    "change_case:english_lowercase": (language, nothing),
    "combination:repeat_prompt": (
        of("Say hello", "say HELLO", "say", "Hello"),
        lambda rng: {"prompt_to_repeat": rng.choice(["Say hello", " say hello\n", "hello"])},
    ),
    "combination:two_responses": (of("*" * 6, "*" * 6, "yes", "no", "*" * 7), nothing),
    "detectable_content:number_placeholders": (
        of("[name]", "[", "]", "[]", "[[a]"),
        lambda rng: {"num_placeholders": some(rng)},
    ),
    "detectable_content:postscript": (
        of("P.S.", "p.s.", "P. S.", "P.P.S", "p. p.s", "PS"),
        lambda rng: {"postscript_marker": rng.choice(["P.S.", "P.P.S", "sun "])},
    ),
    "detectable_format:constrained_response": (of("My answer is yes.", "My answer", "is no.", "\n"), nothing),
    "detectable_format:json_format": (
        of('{"a": [1]}', "```json", "```", "```JSON", "[1, 2]", "null", "NaN", "{", '"a"', longest=3),
        nothing,
    ),
    "detectable_format:multiple_sections": (
        of("Section 1", "SECTION 2", "Section", "3", "section 4"),
        lambda rng: {"section_spliter": rng.choice(["Section", "SECTION "]), "num_sections": some(rng)},
    ),
    "detectable_format:number_bullet_lists": (
        of("* a", "- b", "*", "-", "\n", "\n", "**c**", "\n * d", "\n\n- e"),
        lambda rng: {"num_bullets": some(rng)},
    ),
    "detectable_format:number_highlighted_sections": (
        of("*a*", "**b**", "*", "**", "* *", "** c **", "***d***"),
        lambda rng: {"num_highlights": some(rng)},
    ),
    "detectable_format:title": (of("<<", ">>", "<<a>>", "<<>>", "<", ">", "<<<>>>", "title"), nothing),
    "keywords:existence": (plain, lambda rng: {"keywords": [word(rng) for _ in range(rng.randint(1, 2))]}),
    "keywords:forbidden_words": (plain, lambda rng: {"forbidden_words": [word(rng) for _ in range(3)]}),
    "keywords:frequency": (
        plain,
        lambda rng: {"keyword": f"{word(rng)} ", "frequency": some(rng), "relation": relation(rng)},
    ),
    "keywords:letter_frequency": (
        plain,
        lambda rng: {"letter": rng.choice("aeSNi"), "let_frequency": some(rng), "let_relation": relation(rng)},
    ),
    "language:response_language": (language, lambda rng: {"language": rng.choice(["en", "en", "de", "ja", "hi"])}),
    "length_constraints:nth_paragraph_first_word": (
        of("sun", "\n\n", "'Sun'", '"sun', "sun.shine", "été,", "ÉTÉ", "\n\n", "sun!", longest=4),
        nth,
    ),
    "length_constraints:number_paragraphs": (
        of("a", "***", "\n***\n", "***", "b"),
        lambda r: {"num_paragraphs": some(r)},
    ),
    "length_constraints:number_sentences": (
        prose,
        lambda rng: {"num_sentences": 2 * some(rng), "relation": relation(rng)},
    ),
    "length_constraints:number_words": (plain, lambda rng: {"num_words": 3 * some(rng), "relation": relation(rng)}),
    "punctuation:no_comma": (plain, nothing),
    "startend:end_checker": (
        of("Any questions?", "any QUESTIONS?", '"', "?", "Any"),
        lambda rng: {"end_phrase": rng.choice(["Any questions?", " questions? "])},
    ),
    "startend:quotation": (of('"', '"', "a", '"a"', "“", longest=4), nothing),
}


@pytest.fixture(scope="module")
def theirs() -> Iterator[ModuleType]:
    """lm-eval's registry, without the rest of lm-eval, and without a download."""
    found = find_spec("lm_eval")
    assert found and found.submodule_search_locations
    with pytest.MonkeyPatch.context() as patch:
        for name in ("lm_eval", "lm_eval.tasks"):
            package = ModuleType(name)
            package.__path__ = [os.path.join(found.submodule_search_locations[0], *name.split(".")[1:])]
            patch.setitem(sys.modules, name, package)
        patch.setenv("LOCAL_RANK", "1")  # the first rank would download
        registry = import_module("lm_eval.tasks.ifeval.instructions_registry")
        util = import_module("lm_eval.tasks.ifeval.instructions_util")
        punkt, nltk = import_module("nltk.tokenize.punkt"), import_module("nltk")
        patch.setattr(util, "_get_sentence_tokenizer", punkt.PunktSentenceTokenizer)
        patch.setattr(nltk, "word_tokenize", partial(nltk.word_tokenize, preserve_line=True))
        patch.setattr(import_module("langdetect").DetectorFactory, "seed", 0)
        yield registry
        for name in [name for name in sys.modules if name.startswith("lm_eval.tasks.")]:
            del sys.modules[name]


def their_verdict(theirs: ModuleType, id: str, text: str, kwargs: dict[str, Any]) -> bool:
    checker = theirs.INSTRUCTION_DICT[id](id)
    checker.build_description(**kwargs)
    return bool(checker.check_following(text))


def test_we_know_the_types_that_they_know(theirs: ModuleType) -> None:
    assert CHECKERS.keys() == TYPES.keys() == theirs.INSTRUCTION_DICT.keys()
    assert len(CHECKERS) == 25


@pytest.mark.parametrize("id", TYPES)
def test_our_verdicts_are_theirs(theirs: ModuleType, id: str) -> None:
    texts, arguments = TYPES[id]
    rng, obeyed = random.Random(id), 0
    size = SLOW if texts is language else TEXTS
    for _ in range(size):
        text, kwargs = texts(rng), arguments(rng)
        expected = their_verdict(theirs, id, text, kwargs)
        assert CHECKERS[id](text, **kwargs) == expected, (text, kwargs)
        obeyed += expected
    assert FEW <= obeyed <= size - FEW, "these texts try one outcome alone"


def test_strictly_and_loosely_we_agree_on_whole_prompts(theirs: ModuleType) -> None:
    utils = import_module("lm_eval.tasks.ifeval.utils")
    free = [id for id in TYPES if id.split(":")[0] not in ("language", "length_constraints") and "english" not in id]
    rng, looser = random.Random(7), 0
    for _ in range(TEXTS):
        ids = rng.sample(free, 3)
        kwargs = [{name: value or 1 for name, value in TYPES[id][1](rng).items()} for id in ids]
        text = rng.choice(JOINTS).join(TYPES[rng.choice(ids)][0](rng) for _ in range(rng.randint(1, 3)))
        asked = Instructed("1", "p", tuple(Instruction(id, given) for id, given in zip(ids, kwargs, strict=True)))
        row = utils.InputExample(1, ids, "p", kwargs)
        strict, loose = follow(asked, text, CHECKERS), follow_loosely(asked, text, CHECKERS)
        assert strict == utils.test_instruction_following_strict(row, text).follow_instruction_list
        assert loose == utils.test_instruction_following_loose(row, text).follow_instruction_list
        looser += strict != loose
    assert looser > FEW


def test_a_zero_is_a_value_here_where_they_draw_a_number(theirs: ModuleType) -> None:
    utils = import_module("lm_eval.tasks.ifeval.utils")
    id, kwargs = "detectable_format:number_bullet_lists", {"num_bullets": 0}
    asked, row = Instructed("1", "p", (Instruction(id, kwargs),)), utils.InputExample(1, [id], "p", [kwargs])
    assert follow(asked, "no bullets", CHECKERS) == [True]
    assert utils.test_instruction_following_strict(row, "no bullets").follow_instruction_list == [False]
