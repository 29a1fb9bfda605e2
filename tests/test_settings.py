"""Settings: how layers overlay each other, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from sparring.errors import SettingsError, UsageError
from sparring.settings import Settings


class Train(Settings):
    """How the policy is trained."""

    lr: float = Field(1e-5, gt=0)
    """Peak learning rate."""
    steps: int = 100


class Loop(Settings):
    """A recipe's settings."""

    rounds: int = Field(2, ge=1)
    """Rounds of the loop, >= 1."""
    signal: Literal["log_prob", "information_gain"] = "log_prob"
    name: str = "run"
    tags: tuple[str, ...] = ()
    train: Train = Train()
    judge: Train | None = None
    samples: int = 10
    keep: int = 1

    @model_validator(mode="after")
    def _keep_within_samples(self) -> Loop:
        if self.keep > self.samples:
            raise ValueError(f"keep ({self.keep}) must not exceed samples ({self.samples})")
        return self


def toml(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def complaint(*overrides: str, layers: list[Any] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Loop.load(layers or [], overrides)
    return str(caught.value)


def test_later_layers_win_key_by_key_and_overrides_come_last(tmp_path: Path) -> None:
    file = toml(tmp_path / "mine.toml", "rounds = 3\n[train]\nlr = 1e-4\n")
    loop = Loop.load([{"rounds": 5, "train": {"steps": 7}}, file], ["train.lr=2e-4", "name = mine "])
    assert loop == Loop(rounds=3, name="mine", train=Train(lr=2e-4, steps=7))


def test_nothing_given_is_the_defaults() -> None:
    assert Loop.load() == Loop()


def test_loading_leaves_the_layers_as_they_were() -> None:
    layer = {"train": {"lr": 1.0}}
    Loop.load([layer, {"train": {"lr": 2.0}}], ["train.steps=1"])
    assert layer == {"train": {"lr": 1.0}}


@given(st.integers(1, 10**9), st.floats(1e-9, 1e9), st.lists(st.text(st.characters(codec="ascii")), max_size=3))
@settings(deadline=None)
def test_a_value_written_as_toml_comes_out_as_it_went_in(rounds: int, lr: float, tags: list[str]) -> None:
    quoted = ", ".join('"' + "".join(f"\\u{ord(letter):04x}" for letter in tag) + '"' for tag in tags)
    loop = Loop.load([], [f"rounds={rounds}", f"train.lr={lr!r}", f"tags=[{quoted}]"])
    assert (loop.rounds, loop.train.lr, loop.tags) == (rounds, lr, tuple(tags))


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@settings(deadline=None)
def test_any_text_that_means_nothing_in_toml_is_a_string(text: str) -> None:
    assert Loop.load([], [f"name=/{text}"]).name == f"/{text}".strip()


@pytest.mark.parametrize("text", ["2026-11-21", "10:30:00", "a=b", "C:\\runs", '"quoted', "", "1\nother = 2", "7b"])
def test_dates_and_half_toml_stay_the_text_that_was_typed(text: str) -> None:
    assert Loop.load([], [f"name={text}"]).name == text


def test_a_quoted_override_is_a_string_even_where_it_looks_like_a_number() -> None:
    assert Loop.load([], ['name="7"']).name == "7"
    assert "name = 7: must be a valid string" in complaint("name=7")


def test_an_override_may_be_a_table_and_leaves_its_neighbours() -> None:
    assert Loop.load([{"train": {"steps": 7}}], ["train={lr=1.5}"]).train == Train(lr=1.5, steps=7)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [("ronds=1", "rounds"), ("train.lrr=1", "train.lr"), ("lr=1", "train.lr"), ("trian.lr=1", "train")],
)
def test_an_unknown_setting_is_named_with_the_nearest_one(override: str, nearest: str) -> None:
    assert f"did you mean {nearest!r}?" in complaint(override)


def test_an_unknown_setting_that_is_near_to_none_is_told_all_of_them() -> None:
    said = complaint("zzzzzz=1")
    assert said.startswith("unknown setting 'zzzzzz'; the settings are rounds, signal")
    assert "train.lr" in said and "judge.steps" in said


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rounds=0", "rounds = 0: must be greater than or equal to 1"),
        ("rounds=many", "rounds = 'many': must be a valid integer"),
        ("rounds.x=1", "rounds = {'x': 1}: must be a valid integer"),
        ("train.lr=0.0", "train.lr = 0.0: must be greater than 0"),
        ("train=fast", "train = 'fast': must be a valid dictionary"),
        ("signal=loud", "signal = 'loud': must be 'log_prob' or 'information_gain'"),
        ("keep=11", "keep (11) must not exceed samples (10)"),
    ],
)
def test_a_wrong_value_is_named_with_its_bound(override: str, message: str) -> None:
    assert message in complaint(override)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    assert len(complaint("rounds=0", "signal=loud", "nmae=x").splitlines()) == 3


def test_a_setting_without_a_default_is_asked_for() -> None:
    class Needs(Settings):
        """One."""

        model: str

    with pytest.raises(SettingsError, match=r"^model is required$"):
        Needs.load()


@pytest.mark.parametrize("override", ["rounds", "=3", "train.=3", ".lr=3"])
def test_an_override_without_name_or_value_is_shown_how_to_write_one(override: str) -> None:
    assert "write NAME=VALUE" in complaint(override)


@pytest.mark.parametrize(
    ("text", "line"),
    [("rounds = 1\nlr = = 2\n", 2), ("rounds = 1\n\ntags = [1,\n", 3), ("rounds = 1\nrounds = 2\n", 2)],
)
def test_malformed_toml_is_told_by_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    file = toml(tmp_path / "bad.toml", text)
    assert complaint(layers=[file]).startswith(f"{file}:{line}: ")


def test_a_settings_file_that_is_not_text_or_not_there_is_named(tmp_path: Path) -> None:
    latin, missing = tmp_path / "latin.toml", tmp_path / "missing.toml"
    latin.write_bytes(b'rounds = 1\nname = "caf\xe9"\n')
    assert complaint(layers=[latin]).startswith(f"{latin}:2: not UTF-8")
    assert complaint(layers=[missing]) == f"{missing}: No such file or directory"


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbfrounds = 4\n")
    assert Loop.load([file]).rounds == 4


def test_the_line_under_a_field_is_its_help() -> None:
    assert Loop.model_fields["rounds"].description == "Rounds of the loop, >= 1."


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Loop().rounds = 9  # type: ignore[misc]


def test_a_settings_error_is_wrong_usage() -> None:
    assert issubclass(SettingsError, UsageError)
    assert SettingsError.exit_status == 2


def test_a_table_given_in_part_lies_over_the_defaults_of_its_field() -> None:
    from sparring.recipes.star_gate import StarGate

    overrides = ["roles.author.engine=hf:x", "questioner.max_tokens=30", "roles.roleplayer.max_tokens=50"]
    settings = StarGate.load([], overrides)
    author, roleplayer = settings.roles.author, settings.roles.roleplayer
    assert (author.engine, author.temperature, author.top_p, author.max_tokens) == ("hf:x", 1.4, 0.9, 400)
    assert (settings.questioner.temperature, settings.questioner.max_tokens) == (0.9, 30)
    assert (roleplayer.engine, roleplayer.max_tokens) == ("base", 50)
