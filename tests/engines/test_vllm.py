"""The vLLM engine: what it asks of a server, with one that passes for it; and a real one, marked `vllm`."""

import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from bench.vllm import PYTHON, SERVING
from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.engines.vllm import RANKS, VLLM, Serving, command_of, identity_of, open_vllm, option, options
from sparring.errors import EngineError, RolloutError, ServerError
from sparring.ledger import home
from sparring.training.settings import LoRASettings, SFTSettings
from sparring.training.sft import fine_tune
from sparring.types import Chat, Completion, Example, LogProb, Sampling, assistant, system, user
from sparring.worlds import concierge
from sparring.worlds.concierge import language
from tests.processes import PRETENDER, facts, gone, members
from tests.servable import servable

TASKS = [row["text"] for row in language.tasks()]
FOOD = "What kind of food do you like?"

PRETENDING = Serving(command=(sys.executable, str(PRETENDER), "serve"), startup=60)
REAL = replace(SERVING, max_lora_rank=4)
"""As on two cores that are shared."""


def conversations(count: int) -> list[Chat]:
    chats: list[Chat] = [[user(text), assistant(FOOD), user("Tea.")] for text in TASKS[:count]]
    chats[0] = [system("You ask."), *chats[0]]
    chats[1] = chats[1][:1]
    return chats


def adapter_files(folder: Path, layer: str = "q_proj", r: int = 4, wider: int = 0) -> Path:
    """What passes for an adapter of the embedded model's first layer."""
    import torch

    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": r, "lora_alpha": r, "target_modules": [layer], "base_model_name_or_path": "M"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = f"base_model.model.model.layers.0.self_attn.{layer}"
    weights = {f"{name}.lora_A.weight": torch.ones(r, 96 + wider), f"{name}.lora_B.weight": torch.zeros(128, r)}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def served(engine: VLLM) -> list[str]:
    return [card["id"] for card in json.loads(engine.server.process.ask("GET", "/v1/models")[1])["data"]]


def with_token(engine: VLLM, token: int) -> Chat:
    """A chat that has a token in it."""
    assert engine.template
    return [user(engine.template.tokenizer.convert_ids_to_tokens(token))]


def processes(engine: VLLM) -> list[int]:
    return members(facts(engine.server.process.port)["pid"])


# What it asks of a server


@pytest.fixture
def pretended() -> Iterator[VLLM]:
    engine = open_vllm(str(concierge.MODEL), PRETENDING)
    yield engine
    engine.close()


def test_the_command_line_is_ours_then_the_users_and_the_model_stands_where_the_command_takes_it() -> None:
    serve = command_of("org/model", Serving(arguments=("--dtype", "float32")), 8000, 16)
    assert serve[:3] == ["vllm", "serve", "org/model"] and serve[-2:] == ["--dtype", "float32"]
    assert "--enable-lora" in serve and option(serve, "--port") == "8000" and option(serve, "--host") == "127.0.0.1"
    assert "lm_head" not in options(serve, "--lora-target-modules")
    module = command_of("org/model", Serving(command=("python", "-m", "vllm.x")), 8000, 16)
    assert module[:5] == ["python", "-m", "vllm.x", "--model", "org/model"]


def test_an_option_is_read_in_either_form_and_the_last_one_counts() -> None:
    words = ["--port", "1", "--port=2", "--names", "a", "b", "--flag"]
    assert (option(words, "--port"), options(words, "--names"), option(words, "--flag")) == ("2", ("a", "b"), None)


def test_settings_out_of_bounds_are_refused_by_name() -> None:
    with pytest.raises(EngineError, match=r"max_lora_rank = 513, but it must be in \[1, 512\]"):
        Serving(max_lora_rank=513)
    with pytest.raises(EngineError, match="the command of vLLM is empty"):
        Serving(command=())


def test_a_model_folder_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="gone' cannot be served: there is no such folder"):
        open_vllm(str(tmp_path / "gone"), PRETENDING)


def test_a_completion_is_made_of_the_servers_tokens(pretended: VLLM) -> None:
    replies = pretended.generate([Request([user("tea")], Sampling(1.0), index) for index in range(3)])
    assert replies == [Completion("?", "stop", 4, 2)] * 3


def test_engines_of_a_model_share_a_server_that_stops_with_the_last(tmp_path: Path) -> None:
    base = open_vllm(str(concierge.MODEL), PRETENDING)
    adapted = open_vllm(f"{concierge.MODEL}@{adapter_files(tmp_path / 'adapter').parent}", PRETENDING)
    assert adapted.server is base.server
    base.close()
    assert adapted.generate([Request([user("tea")])]) == [Completion("?", "stop", 4, 2)]
    adapted.close()
    assert adapted.server.process.ended.result(5) == "it was stopped"
    again = open_vllm(str(concierge.MODEL), PRETENDING)
    assert again.server is not base.server
    again.close()


def test_an_adapter_has_a_new_name_each_time_and_is_unloaded_with_its_engine(tmp_path: Path, pretended: VLLM) -> None:
    folder = adapter_files(tmp_path / "adapter")
    first, second = (open_vllm(f"{concierge.MODEL}@{folder}", PRETENDING) for _ in range(2))
    assert first.model != second.model and served(pretended) == ["base", first.model, second.model]
    assert first.identity == second.identity != pretended.identity
    first.close()
    assert served(pretended) == ["base", second.model]
    second.close()


def test_the_identity_follows_the_weights_and_not_their_place(tmp_path: Path, pretended: VLLM) -> None:
    one, two = adapter_files(tmp_path / "one"), adapter_files(tmp_path / "two")
    three = adapter_files(tmp_path / "three", r=8)
    engines = [open_vllm(f"{concierge.MODEL}@{folder}", PRETENDING) for folder in (one, two, three)]
    first, second, third = (engine.identity for engine in engines)
    assert first == second != third and str(tmp_path) not in first
    for engine in engines:
        engine.close()


def test_the_identity_follows_the_chat_template(tmp_path: Path) -> None:
    here, there, edited = (tmp_path / name / "model" for name in ("here", "there", "edited"))
    for folder in (here, there, edited):
        shutil.copytree(concierge.MODEL, folder)
    with (edited / "chat_template.jinja").open("a") as file:
        file.write("{# edited #}")
    first, second, third = (identity_of(str(folder), None, ()) for folder in (here, there, edited))
    assert first == second != third


@pytest.mark.parametrize(
    ("layer", "r", "said"),
    [
        ("q_proj", 32, "has rank r = 32, above max_lora_rank = 16 of the server: set max_lora_rank = 32"),
        ("lm_head", 4, "changes lm_head, but the server takes adapters of q_proj, k_proj"),
    ],
)
def test_an_adapter_beyond_the_server_is_refused(
    tmp_path: Path, pretended: VLLM, layer: str, r: int, said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        open_vllm(f"{concierge.MODEL}@{adapter_files(tmp_path / 'adapter', layer, r)}", PRETENDING)
    assert served(pretended) == ["base"]


def test_a_checkpoint_without_an_adapter_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"holds no adapter .*train with lora, or serve the checkpoint as a model"):
        open_vllm(f"{concierge.MODEL}@{tmp_path}", PRETENDING)
    with pytest.raises(EngineError, match="there is no such folder"):
        open_vllm(f"{concierge.MODEL}@{tmp_path / 'gone'}", PRETENDING)
    broken = adapter_files(tmp_path / "broken")
    (broken / "adapter_config.json").write_text('{"peft_type": "PROMPT_TUNING"}')
    with pytest.raises(EngineError, match="describes no LoRA adapter"):
        open_vllm(f"{concierge.MODEL}@{broken}", PRETENDING)


def test_a_server_started_for_an_adapter_that_is_refused_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="has rank r = 32"):
        open_vllm(f"{concierge.MODEL}@{adapter_files(tmp_path / 'adapter', r=32)}", PRETENDING)
    on_file = [json.loads(path.read_text())["model"] for path in (home() / "servers").glob("*.json")]
    assert str(concierge.MODEL) not in on_file


def test_calls_to_a_server_that_died_fail_at_once_with_its_last_lines(pretended: VLLM) -> None:
    never, deadly = with_token(pretended, 14), with_token(pretended, 13)
    waiting: list[BaseException] = []

    def ask() -> None:
        try:
            pretended.generate([Request(never)])
        except ServerError as error:
            waiting.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    for chat in (deadly, never):  # the first finds it alive
        with pytest.raises(ServerError, match="has ended: exit status 7") as caught:
            pretended.generate([Request(chat)])
        assert "KernelError: thirteen is more than it can take" in str(caught.value)
    thread.join(30)
    assert len(waiting) == 1


# A real server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return servable(concierge.MODEL, tmp_path_factory.mktemp("servable") / "model")


@pytest.fixture(scope="module")
def checkpoint(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model trained to answer with other tasks' words: far from its base."""
    out = tmp_path_factory.mktemp("trained") / "checkpoint"
    rows = [
        Example([*chat, assistant(TASKS[-at])], [0] * len(chat) + [1]) for at, chat in enumerate(conversations(64), 1)
    ]
    settings = SFTSettings(learning_rate=1e-2, batch_size=16, rows_per_device=16, validation_share=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT's own
        fine_tune(str(model), rows, out, 0, replace(settings, lora=LoRASettings(r=4, alpha=8)), lambda _: None)
    return out


@pytest.fixture(scope="module")
def base(model: Path) -> Iterator[VLLM]:
    if not PYTHON.exists():
        pytest.skip(f"there is no vLLM in {PYTHON.parents[1]}: run `make vllm`")
    engine = open_vllm(str(model), REAL)
    yield engine
    pids = processes(engine)
    engine.close()
    assert len(pids) >= 3, "the server, its engine core, its worker"
    assert gone(pids, 0)


@pytest.fixture(scope="module")
def adapted(model: Path, base: VLLM, checkpoint: Path) -> Iterator[VLLM]:
    engine = open_vllm(f"{model}@{checkpoint}", REAL)
    assert engine.server is base.server
    yield engine
    engine.close()


def apart(ours: VLLM, theirs: HF, count: int = 60) -> float:
    """Return the largest difference of scores, in nats a token."""
    chats, targets = conversations(count), TASKS[count : 2 * count]
    found = zip(ours.log_prob(chats, targets), theirs.log_prob(chats, targets), strict=True)
    differences: list[float] = []
    for one, other in found:
        assert isinstance(one, LogProb) and isinstance(other, LogProb) and one.tokens == other.tokens
        differences.append(abs(one.total - other.total) / one.tokens)
    return max(differences)


@pytest.mark.vllm
def test_base_and_adapter_score_as_transformers_does(base: VLLM, adapted: VLLM, model: Path, checkpoint: Path) -> None:
    assert base.rounding == adapted.rounding == 1e-3
    assert apart(base, HF(model, device="cpu")) < 1e-4
    assert apart(adapted, HF(checkpoint, device="cpu")) < 1e-4
    assert apart(adapted, HF(model, device="cpu")) > 1


@pytest.mark.vllm
def test_base_and_adapter_say_what_transformers_says(base: VLLM, adapted: VLLM, model: Path, checkpoint: Path) -> None:
    requests = [Request(chat, Sampling(max_tokens=24)) for chat in conversations(40)]
    requests += [Request(chat, Sampling(max_tokens=3)) for chat in conversations(10)]
    for ours, theirs in ((base, HF(model, device="cpu")), (adapted, HF(checkpoint, device="cpu"))):
        assert ours.generate(requests) == theirs.generate(requests)


@pytest.mark.vllm
def test_a_sample_is_the_same_alone_and_in_company_and_another_with_another_seed(base: VLLM) -> None:
    chat = conversations(3)[2]
    requests = [Request(chat, Sampling(1.5, 0.95, 24, seed=5), index) for index in (0, 1, 2, 3, 9)]
    together = base.generate(requests)
    assert together == [base.generate([request])[0] for request in reversed(requests)][::-1]
    assert len({reply.text for reply in together if isinstance(reply, Completion)}) > 1
    others = [replace(request, sampling=replace(request.sampling, seed=6)) for request in requests]
    assert base.generate(others) != together


@pytest.mark.vllm
def test_the_base_is_itself_in_company_of_two_adapters(
    base: VLLM, adapted: VLLM, model: Path, checkpoint: Path
) -> None:
    chats, targets = conversations(40), TASKS[40:80]
    alone = base.log_prob(chats, targets)
    with closing(open_vllm(f"{model}@{checkpoint}", REAL)) as other, ThreadPoolExecutor() as threads:
        found = list(threads.map(lambda engine: engine.log_prob(chats, targets), (other, base, adapted)))
    assert [score.total for score in found[1] if isinstance(score, LogProb)] == pytest.approx(
        [score.total for score in alone if isinstance(score, LogProb)], abs=1e-2
    )


@pytest.mark.vllm
def test_a_chat_beyond_the_context_is_one_failed_rollout(base: VLLM, adapted: VLLM) -> None:
    long = [user("tea " * 260)]
    for engine in (base, adapted):
        [said] = engine.generate([Request(long)])
        [scored] = engine.log_prob([long], ["then tea it is"])
        assert isinstance(said, RolloutError) and isinstance(scored, RolloutError)
        assert said.reason == scored.reason == "context overflow"
    [fits] = base.generate([Request([user("tea " * 245)], Sampling(2.0, max_tokens=200))])
    assert isinstance(fits, Completion) and (fits.completion_tokens or 0) <= 9


@pytest.mark.vllm
def test_an_adapter_of_another_base_is_refused_and_the_server_goes_on(base: VLLM, model: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"does not take adapter '.*' \(trained on 'M'\): 500: .*size of tensor"):
        open_vllm(f"{model}@{adapter_files(tmp_path / 'adapter', wider=8)}", REAL)
    assert isinstance(base.generate([Request([user("tea")])])[0], Completion)


@pytest.mark.vllm
def test_the_ranks_that_vllm_knows_are_these(base: VLLM) -> None:
    [source] = PYTHON.parents[1].glob("lib/python3.*/site-packages/vllm/config/lora.py")
    assert f"MaxLoRARanks = Literal{list(RANKS)}" in source.read_text()


@pytest.mark.vllm
def test_an_argument_that_vllm_does_not_know_is_reported_in_its_words(base: VLLM, model: Path) -> None:
    with pytest.raises(
        EngineError, match=r"did not start: exit status 2(.|\n)*unrecognized arguments: --no-such-thing"
    ):
        open_vllm(str(model), replace(REAL, arguments=("--no-such-thing",)))


@pytest.mark.vllm
def test_no_process_of_a_real_server_outlives_us_when_we_are_killed(base: VLLM, model: Path, tmp_path: Path) -> None:
    script = f"from tests.engines.test_vllm import REAL, open_vllm; open_vllm({str(model)!r}, REAL)"
    env = {**os.environ, "SPARRING_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=env) as ours:
        pids = started_core(tmp_path / "servers", ours)
        ours.kill()
    assert gone(pids)


def started_core(folder: Path, ours: "subprocess.Popen[bytes]") -> list[int]:
    """Wait until a server that is starting has a process for its engine; return the pids of all of it."""
    while ours.poll() is None:
        found = [json.loads(path.read_text() or "{}") for path in folder.glob("*.json")]
        pids = members(found[0]["pid"]) if found and found[0] else []
        if any("EngineCore" in Path(f"/proc/{pid}/cmdline").read_text() for pid in pids):
            return pids
        threading.Event().wait(0.2)
    raise AssertionError("it ended by itself")
