"""Checks of the machine: what training needs, room for it, the ledger, servers left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from sparring.doctor.plumbing import Finding, Job, Plumbing, gigabytes
from sparring.engines import guard
from sparring.engines.weights import parameters
from sparring.errors import SettingsError, SparringError, TrainingError
from sparring.ledger import Ledger, home
from sparring.training.process import SHIPPED
from sparring.worlds import model_of

FULL, ADAPTER = 16, 4.5
"""Bytes a parameter takes in training, in float32: weights, gradients, Adam's two moments; weights with an adapter."""
SAVED = 4
"""Bytes a parameter takes in a checkpoint, which is float32 and whole, also after LoRA."""
STEP = 12
"""Bytes a parameter that is trained takes in a saved step: its weight and Adam's two moments."""
RECORDS = 1e9
"""Bytes left for what a run writes beside checkpoints."""
LIBRARIES = ("torch", "transformers", "accelerate")
INSTALL = "pip install 'sparring[local]'"


def servers(plumbing: Plumbing) -> Iterator[Finding]:
    """Look for servers that were left behind, before a new one is started (which ends them)."""
    left = [facts for _, facts in guard.stale(home() / "servers")]
    for facts in left:
        found = f"left behind by a run that was killed: pid {facts['pid']}, port {facts['port']}, {facts['model']}"
        yield Finding("servers", "miss", found, f"the next vLLM of ours ends it; or: kill -- -{facts['pid']}")
    if not left:
        yield Finding("servers", "ok", "none was left behind")


def training(plumbing: Plumbing) -> Iterator[Finding]:
    """Look for what the training processes need."""
    for name, job in plumbing.jobs.items():
        try:
            yield _training(name, job, plumbing.max_lora_rank)
        except SparringError as error:
            yield Finding(name, "miss", str(error), f"mend the settings of {name}; libraries: {INSTALL}")


def _training(name: str, job: Job, most: int | None) -> Finding:
    lora = job.settings.lora
    sharded = job.reference and job.launcher  # then TRL prepares the reference
    deepspeed = any(f"{SHIPPED}deepspeed" in word for word in job.launcher)
    wanted = {"peft": lora, "trl": sharded, "deepspeed": deepspeed}
    for library in (*LIBRARIES, *(name for name, needed in wanted.items() if needed)):
        if find_spec(library) is None:
            raise TrainingError(f"{library} is not installed")
    if job.launcher and shutil.which(job.launcher[0]) is None:
        raise SettingsError(f"{name}.launcher: there is no program {job.launcher[0]!r}")
    if lora and most is not None and lora.r > most:
        raise SettingsError(f"{name}.lora.r = {lora.r} is above the server's max_lora_rank = {most}")
    devices = devices_of(job.launcher)
    what = f"LoRA of rank {lora.r}" if lora else "every weight"
    rows = f"{job.settings.batch_size} rows a step on {devices} device(s)"
    return Finding(name, "ok", f"{what}, {rows}, each with room for {job.settings.rows_per_device} of the longest")


def devices_of(launcher: Sequence[str]) -> int:
    """Return how many processes a launcher starts, as far as its words say; 1 where they do not."""
    for at, word in enumerate(launcher):
        name, _, value = word.partition("=")
        value = value or next(iter(launcher[at + 1 :]), "")
        if name in ("--num_processes", "--num-processes", "--nproc_per_node", "--nproc-per-node") and value.isdigit():
            return max(1, int(value))
    return 1


def disk(plumbing: Plumbing) -> Iterator[Finding]:
    """Compare what the run's checkpoints will take to what is free."""
    if plumbing.model is None:
        yield Finding("disk", "skip", f"the size of {model_of(plumbing.policy)!r} is not known here yet")
        return
    count = sum(job.checkpoints for job in plumbing.jobs.values())
    # Steps are removed when their training ends, and there are two while one is saved. Those of adapters are little.
    steps = 2 * STEP * any(job.settings.save_every and job.settings.lora is None for job in plumbing.jobs.values())
    need = (count * SAVED + steps) * parameters(plumbing.model) + RECORDS
    place = next(folder for folder in (plumbing.place.resolve(), *plumbing.place.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if need > free:
        what = f"{count} checkpoints{', saved steps' if steps else ''} and records"
        raise SparringError(f"{what} take {gigabytes(need)}, {place} has {gigabytes(free)}")
    yield Finding("disk", "ok", f"{gigabytes(need)} of {gigabytes(free)} in {place}")


def memory(plumbing: Plumbing) -> Iterator[Finding]:
    """Compare what training will hold, activations left out, to what is free."""
    if not plumbing.jobs:
        yield Finding("memory", "ok", "nothing is trained")
        return
    free, where = free_memory(max(devices_of(job.launcher) for job in plumbing.jobs.values()))
    if plumbing.model is None or free is None:
        what = "free memory is" if free is None else f"the size of {model_of(plumbing.policy)!r} is"
        yield Finding("memory", "skip", f"{what} not known here")
        return
    whole = any(job.settings.lora is None for job in plumbing.jobs.values())
    need = parameters(plumbing.model) * (FULL if whole else ADAPTER)
    if need > free:
        raise SparringError(f"training holds {gigabytes(need)} and activations, {where} has {gigabytes(free)} free")
    yield Finding("memory", "ok", f"{gigabytes(need)} and activations, of {gigabytes(free)} free {where}")


def free_memory(devices: int = 1) -> tuple[float | None, str]:
    """Return the bytes that are free where training would run, and where that is."""
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            count = min(devices, torch.cuda.device_count())
            return float(sum(torch.cuda.mem_get_info(at)[0] for at in range(count))), f"on {count} GPU(s)"
    return host_memory(), "in this machine"


def host_memory() -> float | None:
    """Return the bytes of main memory that are free; None where the system does not say so in Linux's way."""
    facts = Path("/proc/meminfo")
    if not facts.is_file():
        return None
    kilobytes = dict(line.split(":", 1) for line in facts.read_text(encoding="ascii").splitlines())
    return float(kilobytes["MemAvailable"].split()[0]) * 1024


def ledger(plumbing: Plumbing) -> Iterator[Finding]:
    """Open the ledger for writing."""
    opened = Ledger()
    opened.close()
    yield Finding("ledger", "ok", f"{opened.path} can be written")
