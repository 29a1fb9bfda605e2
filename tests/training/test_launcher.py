"""How a job is launched on many devices: settings that are shipped, as accelerate reads them."""

import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_multi_gpu_env

from sparring.errors import SettingsError
from sparring.training.process import CONFIGS, launched

SHIPPED = sorted(path.name for path in CONFIGS.iterdir())


def read(name: str) -> Any:
    """Return what `accelerate launch` makes of a file and two processes."""
    words = launched(["--config_file", f"sparring:{name}", "--num_processes", "2"])
    args = launch_command_parser().parse_args([*words, "job.py"])
    known = set(vars(args))
    args, config, _ = _validate_launch_command(args)
    assert config and {*config.fsdp_config, *config.deepspeed_config} <= known  # accelerate passes over other names
    return args


def test_without_a_launcher_it_is_python() -> None:
    assert launched([]) == [sys.executable]
    assert launched(["accelerate", "launch", "--num_processes", "8"])[-1] == "8"


@pytest.mark.parametrize("words", [["--config_file", "sparring:fsdp.yaml"], ["--config_file=sparring:fsdp.yaml"]])
def test_a_shipped_file_is_named_without_its_place(words: list[str]) -> None:
    path = launched(words)[-1].removeprefix("--config_file=")
    assert Path(path) == CONFIGS / "fsdp.yaml" and Path(path).is_file()


def test_a_file_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    said = "'sparring:fdsp.yaml' is not shipped; these are: deepspeed-zero2.yaml, deepspeed-zero3.yaml, fsdp.yaml"
    with pytest.raises(SettingsError, match=said):
        launched(["accelerate", "launch", "--config_file", "sparring:fdsp.yaml"])


@pytest.mark.parametrize("name", SHIPPED)
def test_accelerate_reads_every_shipped_file_and_leaves_precision_to_the_job(name: str) -> None:
    config = load_config_from_file(str(CONFIGS / name))
    assert config.distributed_type == (DistributedType.FSDP if "fsdp" in name else DistributedType.DEEPSPEED)
    args = read(name)
    assert (args.num_processes, args.mixed_precision) == (2, "no")
    assert (args.use_fsdp, args.use_deepspeed) == ("fsdp" in name, "deepspeed" in name)


def test_fsdp_shards_every_layer_and_gathers_a_whole_model_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in prepare_multi_gpu_env(read("fsdp.yaml")).items():
        monkeypatch.setenv(variable, value)
    plugin: Any = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward, plugin.activation_checkpointing) == (2, True, False)
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_steps_when_the_job_does_and_gathers_a_whole_model_to_save(stage: int) -> None:
    args = read(f"deepspeed-zero{stage}.yaml")
    assert (args.zero_stage, args.gradient_accumulation_steps, args.gradient_clipping) == (stage, 1, 1.0)
    assert stage == 2 or args.zero3_save_16bit_model is True
