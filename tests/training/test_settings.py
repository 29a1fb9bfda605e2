"""Training settings: refused at the door, by name, value and bound."""

import warnings
from typing import Any, get_args, get_type_hints

import pytest

from sparring.cli.setup import job_settings, reference_of
from sparring.errors import EngineError, SettingsError
from sparring.settings import Preference, Training
from sparring.training.settings import DPOSettings, LoRASettings, SFTSettings


def test_defaults_are_the_papers() -> None:
    settings = SFTSettings()
    assert (settings.learning_rate, settings.epochs, settings.batch_size, settings.schedule) == (2e-5, 1, 64, "cosine")
    assert (settings.warmup_share, settings.max_length, settings.validation_share) == (0.1, 1024, 0.05)
    assert settings.rows_per_device == 4


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"learning_rat; did you mean learning_rate\?"):
        SFTSettings.read({"learning_rat": 1e-3})
    with pytest.raises(SettingsError, match=r"lora.alfa; did you mean lora.alpha\?"):
        SFTSettings.read({"lora": {"alfa": 8}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rate": 0}, "learning_rate = 0, but it must be > 0"),
        ({"epochs": float("nan")}, "epochs = nan, but it must be > 0"),
        ({"batch_size": 0}, "batch_size = 0, but it must be >= 1"),
        ({"validation_share": 1.0}, r"validation_share = 1.0, but it must be in \[0, 1\)"),
        ({"max_truncated": 5}, r"max_truncated = 5, but it must be in \[0, 1\]"),
        ({"normaliser": "rows"}, "normaliser = 'rows', but it must be one of weights, tokens"),
        ({"schedule": "cos"}, "schedule = 'cos', but it must be one of cosine"),
        ({"lora": {"r": 0}}, "lora.r = 0, but it must be >= 1"),
        ({"tokens": 0}, "tokens = 0, but it must be >= 1"),
    ],
)
def test_an_impossible_value_is_refused_with_its_bound(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        SFTSettings.read(values)


def test_a_nested_adapter_is_read() -> None:
    assert SFTSettings.read({"lora": {"r": 4}}).lora == LoRASettings(r=4)
    assert SFTSettings.read({"lora": None}).lora is None


def test_a_recipes_training_settings_are_the_jobs_by_name_default_and_choice() -> None:
    given = Training().model_dump(exclude={"launcher", "report_to"})
    assert SFTSettings.read(given) == SFTSettings()
    assert given.keys() == get_type_hints(SFTSettings).keys() - {"kind"}
    for name in ("normaliser", "schedule"):
        assert get_args(Training.model_fields[name].annotation) == get_args(get_type_hints(SFTSettings)[name])


def test_settings_for_pairs_are_the_jobs_by_name_and_default_without_what_has_no_meaning() -> None:
    assert job_settings(Preference()) == DPOSettings()
    assert (DPOSettings().beta, DPOSettings().sft_weight) == (0.1, 0.1)
    given = Preference().model_dump(exclude={"launcher", "report_to", "reference", "normaliser"})
    assert given.keys() == get_type_hints(DPOSettings).keys() - {"kind"}
    assert job_settings(Preference(beta=0.5, lora={"r": 4})) == DPOSettings(beta=0.5, lora=LoRASettings(r=4))
    assert isinstance(job_settings(Training()), SFTSettings)
    with pytest.raises(SettingsError, match="normaliser = 'tokens': must be left alone"):
        Preference.load([], ["normaliser=tokens"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"beta": 0}, "beta = 0, but it must be > 0"),
        ({"sft_weight": -1}, "sft_weight = -1, but it must be >= 0"),
        ({"normaliser": "weights"}, "unknown training setting normaliser"),
        ({"schedule": "cos"}, "schedule = 'cos', but it must be one of cosine"),
    ],
)
def test_an_impossible_value_for_pairs_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        DPOSettings.read(values)


def test_a_reference_is_an_engine_whose_model_a_trainer_can_open() -> None:
    assert [reference_of(each) for each in (Training(), Preference(), Preference(reference="base"))] == ["", "", ""]
    assert reference_of(Preference(reference="hf:org/model")) == "org/model"
    with pytest.raises(EngineError, match="'https://host/v1#model' cannot be trained here"):
        reference_of(Preference(reference="https://host/v1#model"))


@pytest.mark.parametrize(("given", "kept"), [("5", 5), ("5.0", 5), ("0.5", 0.5)])
def test_whole_epochs_stay_whole_wherever_they_are_written(given: str, kept: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = Training.load([], [f"epochs={given}"])
        for epochs in (training.epochs, training.model_dump()["epochs"], training.model_dump(mode="json")["epochs"]):
            assert (epochs, type(epochs)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("epochs=0", "epochs = 0: must be greater than 0"),
        ("epochs=inf", "epochs = inf: must be a finite number"),
        ("tokens=0", "tokens = 0: must be greater than or equal to 1"),
        ("normaliser=rows", "normaliser = 'rows': must be 'weights' or 'tokens'"),
        ("schedule=cos", "schedule = 'cos': must be 'cosine', 'linear'"),
        ("warmup_share=1", "warmup_share = 1: must be less than 1"),
        ("weight_decay=-1", "weight_decay = -1: must be greater than or equal to 0"),
        ("threads=0", "threads = 0: must be greater than or equal to 1"),
        ('report_to=["mlflow"]', "report_to.0 = 'mlflow': must be 'trackio', 'wandb' or 'tensorboard'"),
    ],
)
def test_a_recipe_refuses_an_impossible_training_before_anything_runs(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Training.load([], [override])
