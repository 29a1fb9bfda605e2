"""Prompts and labelled responses from files: IFEval's format, bare prompts, nested levels, LLMBar's pairs; suites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import DataError, SettingsError
from sparring.tasks.instructions import (
    CHECKERS,
    Instructed,
    Instruction,
    Judged,
    follow,
    load_instructed,
    load_judged,
    suite_of,
)

BULLETS = "detectable_format:number_bullet_lists"
PUBLISHED = {
    "key": 1000,
    "prompt": "Write a list. No commas.",
    "instruction_id_list": ["punctuation:no_comma", BULLETS],
    "kwargs": [{}, {"num_bullets": 0}],
}


def written(folder: Path, *rows: Any, name: str = "rows.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def complaint(folder: Path, row: Any, load: Any = load_instructed) -> str:
    """What is said of a bad row that stands second."""
    source = written(folder, {"prompt": "p", "response": "r", "label": True}, row)
    with pytest.raises(DataError) as caught:
        load(source)
    message = str(caught.value)
    assert message.startswith(f"{source}:2: ")
    return message.removeprefix(f"{source}:2: ")


def test_a_published_row_is_read_and_a_zero_in_it_kept(tmp_path: Path) -> None:
    (asked,) = load_instructed(written(tmp_path, PUBLISHED))
    said = (Instruction("punctuation:no_comma", {}), Instruction(BULLETS, {"num_bullets": 0}))
    assert asked == Instructed("1000", "Write a list. No commas.", said)
    assert follow(asked, "none", CHECKERS) == [True, True]


def test_a_value_of_none_is_not_there_and_a_float_without_a_fraction_is_a_number(tmp_path: Path) -> None:
    kwargs = [dict.fromkeys(("num_bullets", "relation", "keywords")), {"num_bullets": 2.0, "relation": None}]
    (asked,) = load_instructed(written(tmp_path, {**PUBLISHED, "kwargs": kwargs}))
    assert [dict(one.kwargs) for one in asked.instructions] == [{}, {"num_bullets": 2}]
    assert type(asked.instructions[1].kwargs["num_bullets"]) is int


def test_a_bare_prompt_has_nothing_to_check(tmp_path: Path) -> None:
    source = written(tmp_path, {"prompt": "a"}, {"prompt": "b", "id": "mine", "split": "x"})
    assert load_instructed(source) == [Instructed("prompt-1", "a"), Instructed("mine", "b")]


def test_levels_have_a_group(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{level}", "group": 7, "level": level} for level in (1, 2)]
    assert load_instructed(written(tmp_path, *rows))[1] == Instructed("prompt-2", "p2", (), "7", 2)


def instructed(id: Any, kwargs: Any) -> dict[str, Any]:
    return {"prompt": "q", "instruction_id_list": [id], "kwargs": [kwargs]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (instructed("punctuation:no_commas", {}), "unknown instruction 'punctuation:no_commas'; did you mean 'punc"),
        (instructed("zzz", {}), "unknown instruction 'zzz'; known are change_case:"),
        (instructed(3, {}), "unknown instruction 3"),
        (instructed(BULLETS, {}), f"{BULLETS} needs num_bullets; its kwargs are {{}}"),
        (instructed(BULLETS, None), f"{BULLETS} needs num_bullets"),
        (instructed(BULLETS, {"num_bullets": None}), f"{BULLETS} needs num_bullets"),
        (
            instructed(BULLETS, {"num_bullets": 1, "num_bulets": 2}),
            "'num_bulets'; did you mean 'num_bullets'?",
        ),
        (instructed("punctuation:no_comma", {"zzz": 1}), "does not take 'zzz'; it takes nothing"),
        (instructed(BULLETS, [1]), "its kwargs are [1], not an object"),
        (instructed(BULLETS, {"num_bullets": -1}), "num_bullets is -1; it is a whole number of 0 or more"),
        (instructed(BULLETS, {"num_bullets": 1.5}), "num_bullets is 1.5; it is a whole number"),
        (instructed(BULLETS, {"num_bullets": float("nan")}), "num_bullets is nan; it is a whole number"),
        (instructed(BULLETS, {"num_bullets": float("inf")}), "num_bullets is inf; it is a whole number"),
        (instructed(BULLETS, {"num_bullets": True}), "num_bullets is True; it is a whole number"),
        (instructed(BULLETS, {"num_bullets": "2"}), "num_bullets is '2'; it is a whole number"),
        (instructed("keywords:existence", {"keywords": []}), "keywords is []; it is a list of strings, at least one"),
        (instructed("keywords:existence", {"keywords": "sun"}), "keywords is 'sun'; it is a list"),
        (instructed("keywords:existence", {"keywords": [" "]}), "it is a string that is not blank"),
        (instructed("language:response_language", {"language": "english"}), "it is one of ar, bg, bn"),
        (
            instructed("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}),
            "letter is 'ab'; it is a single letter",
        ),
        (
            instructed("length_constraints:number_words", {"num_words": 1, "relation": "at most"}),
            "relation is 'at most'; it is one of less than, at least",
        ),
        (
            instructed(
                "length_constraints:nth_paragraph_first_word",
                {"num_paragraphs": 1, "nth_paragraph": 0, "first_word": "a"},
            ),
            "nth_paragraph is 0; it is a whole number of 1 or more",
        ),
        ({**PUBLISHED, "kwargs": [{}]}, "2 in instruction_id_list, but 1 kwargs"),
        ({**PUBLISHED, "kwargs": {}}, "kwargs is {}, not a list"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": "\ud800"}, "prompt holds half of a surrogate pair"),
        ({"prompt": 3}, "prompt is 3, not a string"),
        ({"text": "a"}, "prompt is None, not a string"),
        ({"prompt": "a", "key": "prompt-1"}, "key prompt-1 stands twice, first at "),
        ({"prompt": "a", "key": [1]}, "key is [1], neither a number nor a string"),
        ({"prompt": "a", "level": 1}, "group is None; a row with a level names its group"),
        ({"prompt": "a", "group": "g"}, "level is None; it is a whole number of 1 or more"),
        ({"prompt": "a", "group": "g", "level": 0}, "level is 0; it is a whole number of 1 or more"),
        ([], "not an object but []"),
    ],
)
def test_a_bad_row_is_told_by_file_and_line(tmp_path: Path, row: Any, told: str) -> None:
    assert told in complaint(tmp_path, row)


def test_a_level_stands_once_in_its_group(tmp_path: Path) -> None:
    source = written(tmp_path, *({"prompt": f"p{n}", "group": "g", "level": 2} for n in range(2)))
    with pytest.raises(DataError, match=r":2: level 2 of group g stands twice, first at .*:1"):
        load_instructed(source)


def test_other_checkers_say_what_they_need_by_their_signature(tmp_path: Path) -> None:
    def long(text: str, *, least: int, most: int = 9) -> bool:
        return least <= len(text) <= most

    (asked,) = load_instructed(written(tmp_path, instructed("own:long", {"least": 2})), {"own:long": long})
    assert follow(asked, "abc", {"own:long": long}) == [True]
    with pytest.raises(DataError, match="own:long needs least"):
        load_instructed(written(tmp_path, instructed("own:long", {"most": 2})), {"own:long": long})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    written(tmp_path, PUBLISHED)
    with pytest.raises(DataError, match=r"row\.jsonl: no such file; did you mean .*rows\.jsonl\?"):
        load_instructed(str(tmp_path / "row.jsonl"))


# Labelled responses


def test_labelled_responses_have_a_kind(tmp_path: Path) -> None:
    source = written(
        tmp_path,
        {"prompt": "p", "response": "", "label": False},
        {"id": 4, "prompt": "p", "response": "r", "label": True, "kind": "adversarial"},
    )
    assert load_judged(source) == [
        Judged("response-1", "p", "", False, "natural"),
        Judged("4", "p", "r", True, "adversarial"),
    ]


def test_a_pair_of_llmbar_gives_two_responses_the_better_one_true(tmp_path: Path) -> None:
    source = written(tmp_path, {"input": "p", "output_1": "a", "output_2": "b", "label": 2, "kind": "adversarial"})
    assert load_judged(source) == [
        Judged("response-1/1", "p", "a", False, "adversarial"),
        Judged("response-1/2", "p", "b", True, "adversarial"),
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "response": "r"}, "label is None; it is true where the response follows its prompt, or false"),
        ({"prompt": "p", "response": "r", "label": "Yes"}, "label is 'Yes'; it is true"),
        ({"prompt": "p", "response": None, "label": True}, "response is None, not a string"),
        ({"prompt": "p", "response": "\udfff", "label": True}, "response holds half of a surrogate pair"),
        ({"prompt": "", "response": "r", "label": True}, "prompt is empty"),
        ({"prompt": "p", "response": "r", "label": True, "kind": 1}, "kind is 1, not a name"),
        ({"input": "p", "output_1": "a", "output_2": "b", "label": 0}, "label is 0; it is 1 or 2"),
        ({"input": "p", "output_1": "a", "output_2": "b", "label": True}, "label is True; it is 1 or 2"),
        ({"input": "p", "output_1": "a", "label": 1}, "output_2 is None, not a string"),
        ({"id": "response-1", "prompt": "p", "response": "r", "label": True}, "id response-1 stands twice"),
    ],
)
def test_a_bad_label_is_told_by_file_and_line(tmp_path: Path, row: Any, told: str) -> None:
    assert told in complaint(tmp_path, row, load_judged)


# Suites


def prompts(folder: Path, name: str, size: int, **more: Any) -> str:
    return written(folder, *({**PUBLISHED, "key": n, "prompt": f"{name} {n}", **more} for n in range(size)), name=name)


def test_a_suite_draws_by_seed_without_repeats_and_a_smaller_draw_is_the_start_of_a_larger(tmp_path: Path) -> None:
    suite = suite_of(prompts(tmp_path, "a.jsonl", 20), prompts(tmp_path, "b.jsonl", 5))
    drawn = suite.draw("train", 12, 0)
    assert len({asked.id for asked in drawn}) == 12
    assert suite.draw("train", 4, 0) == drawn[:4]
    assert suite.draw("train", 12, 1) != drawn
    assert {asked.prompt[0] for asked in suite.draw("test", 5, 0)} == {"b"}
    assert suite.judged is None and suite.levels is None and suite.checkers is CHECKERS


def test_a_suite_has_no_more_than_its_files(tmp_path: Path) -> None:
    suite = suite_of(test=prompts(tmp_path, "b.jsonl", 5))
    with pytest.raises(SettingsError, match="6 prompts in test are asked for; there are 5"):
        suite.draw("test", 6, 0)
    with pytest.raises(SettingsError, match="1 prompts in train are asked for; there are 0"):
        suite.draw("train", 1, 0)


def test_groups_are_drawn_whole_level_by_level_and_not_as_prompts(tmp_path: Path) -> None:
    rows = [{**PUBLISHED, "key": f"{g}{n}", "prompt": f"{g}{n}", "group": g, "level": n} for g in "abc" for n in (2, 1)]
    suite = suite_of(test=written(tmp_path, *rows, {**PUBLISHED, "prompt": "alone"}))
    assert suite.levels
    drawn = suite.levels(2, 0)
    assert [asked.level for asked in drawn] == [1, 2, 1, 2]
    assert len({asked.group for asked in drawn}) == 2
    assert [asked.prompt for asked in suite.draw("test", 1, 0)] == ["alone"]
    with pytest.raises(SettingsError, match="4 groups are asked for; there are 3"):
        suite.levels(4, 0)


def test_labelled_responses_are_drawn_by_seed(tmp_path: Path) -> None:
    source = written(tmp_path, *({"prompt": "p", "response": f"{n}", "label": True} for n in range(9)))
    suite = suite_of(judged=source)
    assert suite.judged
    assert len(suite.judged(9, 0)) == 9 and suite.judged(3, 0) == suite.judged(9, 0)[:3]


def test_a_prompt_that_is_trained_on_is_no_test(tmp_path: Path) -> None:
    train = written(tmp_path, PUBLISHED, name="train.jsonl")
    test = written(tmp_path, {**PUBLISHED, "key": 5, "prompt": "write a  list. NO commas."}, name="test.jsonl")
    with pytest.raises(DataError, match=r"test\.jsonl: the prompt with key 5 is also in .*train\.jsonl, with key 1000"):
        suite_of(train, test)


def test_a_test_that_cannot_be_checked_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompt has instructions"):
        suite_of(test=written(tmp_path, {"prompt": "a"}))


# Datasets by name. In a process of its own: `datasets` reads its settings, offline among them, when it is imported.


def test_a_dataset_is_read_by_its_name_with_gaps_filled_with_none(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    org = tmp_path / "org" / "name"
    org.mkdir(parents=True)
    names = ("num_bullets", "relation", "keywords")
    full = [dict.fromkeys(names), {**dict.fromkeys(names), "num_bullets": 0}]
    written(org, {**PUBLISHED, "kwargs": full}, {**PUBLISHED, "key": 2, "kwargs": full}, name="train.jsonl")
    script = "from sparring.tasks.instructions import load_instructed\nprint(load_instructed('org/name:/train')[1])"
    env = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(
        "Instructed(id='2', prompt='Write a list. No commas.', instructions=(Instruction(id='punctuation:no_comma', "
        f"kwargs={{}}), Instruction(id='{BULLETS}', kwargs={{'num_bullets': 0}})), group=None, level=None)\n"
    )
