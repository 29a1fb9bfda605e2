"""A model as a standard Hugging Face folder: weights, tokenizer, chat template, generation config, card."""

from __future__ import annotations

import shutil
from pathlib import Path

from sparring.export.card import model_card
from sparring.export.chosen import Chosen, Form, Model, choose
from sparring.export.place import check, put
from sparring.export.speech import speech
from sparring.export.tongue import Tongue, generation_config
from sparring.files import Row, read_json, write_json
from sparring.report.record import Record
from sparring.runs import Run
from sparring.worlds import model_of

KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of what a model is made of: weights, config, tokenizer, chat template. Pickles and logs stay."""
OWN = ("training.json", "canary.json")
"""Ours, and of no use to anybody else."""
OF_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
OF_TOKENIZER = ("tokenizer*", "*.jinja", "vocab.*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens*")
HERE = ("_name_or_path", "name_or_path", "is_local", "local_files_only")
"""Keys of configs that tell where a model lay on this machine."""
PICTURE = "figures.png"


def export(
    run: Run,
    out: Path,
    *,
    model: Model = "policy",
    round: int | None = None,
    form: Form = "merged",
) -> Path:
    """Write a checkpoint as a folder that transformers, vLLM and PEFT load without us, and return it.

    `round`: None for the last, or what the run rolled back to. Raises RunError where there is no such
    checkpoint, or `out` holds something else; SettingsError for a model that the recipe does not train, or an adapter
    where there is none.
    """
    chosen = choose(run, model, round, form)
    about = speech(chosen, form)
    check(out, about)
    record, tongue = Record.read(run), Tongue.of(chosen.folder)
    picture = drawn_figures(record)
    card = model_card(chosen, form, about, record, tongue, bool(picture))

    def fill(folder: Path) -> None:
        copy_model(chosen, folder, form)
        config = generation_config(chosen.folder, tongue.ends, about["sampling"])
        write_json(folder / "generation_config.json", config)
        if picture:
            (folder / PICTURE).write_bytes(picture)
        (folder / "README.md").write_text(card, encoding="utf-8")

    return put(out, about, fill)


def drawn_figures(record: Record) -> bytes | None:
    """Return the picture of a run that has been measured; None of one that has not."""
    if not record.metrics:
        return None
    from sparring.report.charts import picture

    return picture(record)


def copy_model(chosen: Chosen, folder: Path, form: Form) -> None:
    """Copy the files that are the model, and nothing that tells of this machine."""
    if form == "merged":
        copy(chosen.folder, folder)
        return
    assert chosen.adapter is not None  # `choose` has looked
    for name in OF_ADAPTER:
        shutil.copyfile(chosen.adapter / name, folder / name)
    for path in {path for pattern in OF_TOKENIZER for path in chosen.folder.glob(pattern) if path.is_file()}:
        shutil.copyfile(path, folder / path.name)
    told = read_json(folder / "adapter_config.json")
    name = chosen.base.hub or ("base" if chosen.base.world else chosen.base.name)
    write_json(folder / "adapter_config.json", {**told, "base_model_name_or_path": name})
    _rewrite(folder / "tokenizer_config.json", {})
    if chosen.base.world:  # nobody could find it
        (folder / "base").mkdir()
        copy(Path(model_of(chosen.base.engine)), folder / "base")


def copy(model: Path, folder: Path) -> None:
    """Copy a whole model."""
    for path in sorted(model.iterdir()):
        if path.is_file() and path.suffix in KEPT and path.name not in OWN:
            shutil.copyfile(path, folder / path.name)
    if (model / "additional_chat_templates").is_dir():
        shutil.copytree(model / "additional_chat_templates", folder / "additional_chat_templates")
    _rewrite(folder / "tokenizer_config.json", {})
    _rewrite(folder / "config.json", {"use_cache": True})  # a trainer turns it off


def _rewrite(path: Path, more: Row) -> None:
    if path.is_file():
        told = {name: value for name, value in read_json(path).items() if name not in HERE}
        write_json(path, {**told, **more})
