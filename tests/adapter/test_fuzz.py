"""2,450 mutated adapters: findings or an error of ours, in little time and memory.

Every example goes through all that a command does with an adapter: opening, fingerprint, checks,
verification, inspection. Nothing else than our own errors may come out, no example may take
seconds, and the process may not grow by more than 1 GiB meanwhile.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.config import streamable
from loragraft.adapter.findings import Severity
from loragraft.adapter.fingerprint import candidates, fingerprint
from loragraft.adapter.inspect import inspect_adapter
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import LoragraftError
from tests.adapter.builders import CONFIG, PREFIX, lora_arrays, write_base

pytestmark = pytest.mark.slow

EXAMPLES = 350
"""Of each of the seven mutations below: 2,450 in all."""
MEMORY = 1 << 30
"""Bytes by which the process may grow."""
SECONDS = 5.0
"""Of one example at most; usual ones take hundredths."""

MANY = settings(
    max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
CONFIG_KEYS = st.sampled_from([
    "peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "bias",
    "lora_bias", "modules_to_save", "trainable_token_indices", "init_lora_weights",
    "base_model_name_or_path", "target_parameters", "layer_replication", "fan_in_fan_out",
    "fine_tune_type", "lora_parameters", "task_type", "quantization_config", "velora_config",
])  # fmt: skip
PARTS = st.sampled_from([
    "base_model", "model", "layers", "0", "9" * 30, "self_attn", "q_proj", "lora_A", "lora_B",
    "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "weight", "bias", "default",
    "modules_to_save", "original_module", "base_layer", "token_adapter", "trainable_tokens_delta",
    "lm_head", "embed_tokens", "gate_up_proj", "lora_a", "lora_b", "m", "", "é", "x\n", "٣",
])  # fmt: skip
KEYS = st.one_of(
    st.lists(PARTS, min_size=1, max_size=7).map(".".join),
    st.lists(PARTS, min_size=1, max_size=6).map(lambda parts: PREFIX + ".".join(parts)),
    st.text(max_size=12),
)
SHAPES = st.lists(st.integers(0, 9), max_size=4)
DTYPES = st.sampled_from(["float32", "float16", "float64", "int8", "uint8", "int64", "bool"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """Open a healthy base once for all mutations."""
    with Checkpoint(write_base(tmp_path_factory.mktemp("base"))) as checkpoint:
        yield checkpoint


@pytest.fixture(autouse=True, scope="module")
def bounded_memory() -> Iterator[None]:
    """Let an allocation beyond the bound fail, where the system can; MemoryError is no finding."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def exercise(folder: Path, base: Checkpoint) -> None:
    """Do everything with an adapter that a command would; let nothing but our errors by."""
    start = time.perf_counter()
    open_and_check(folder, base)
    for values in (True, False):
        report = verify_adapter(VerifyRequest(folder, base.folder, "someone/pico", values=values))
        assert report.findings
        assert report.first_line.startswith(report.verdict.value.upper())
        assert "\n" not in report.first_line
        json.dumps(report.to_json())
    try:
        json.dumps(inspect_adapter(folder, hashes=False).to_json())
    except LoragraftError:
        assert report.verdict is Severity.FAIL  # what cannot be opened is never verified
    assert time.perf_counter() - start < SECONDS


def open_and_check(folder: Path, base: Checkpoint) -> None:
    try:
        with open_adapter(folder) as adapter:
            streamable(adapter.config)
            candidates(fingerprint(adapter))
            assert len(grouped(adapter)) == len(adapter.tensors)
            for finding in run_checks(CheckContext(adapter, base, "someone/pico")):
                assert str(finding)
            for module in adapter.modules.values():
                shapes = adapter.array(module.a_key).shape, adapter.array(module.b_key).shape
                assert shapes == ((module.rank, module.in_features),
                                  (module.out_features, module.rank))  # fmt: skip
    except LoragraftError:
        return


def grouped(adapter: Adapter) -> set[str]:
    """Return the keys that stand in any group."""
    keys = {key for module in adapter.modules.values() for key in module.keys}
    keys |= {*adapter.saved.values(), *adapter.biases.values(), *adapter.originals.values()}
    keys |= {*adapter.frozen.values(), *(rows.key for rows in adapter.token_rows.values())}
    return keys | set(adapter.unknown)


def put(folder: Path, weights: bytes | None = None, config: bytes | None = None) -> Path:
    (folder / "adapter_model.safetensors").write_bytes(
        save(lora_arrays()) if weights is None else weights
    )
    (folder / "adapter_config.json").write_bytes(
        json.dumps(CONFIG).encode() if config is None else config
    )
    return folder


@MANY
@given(data=st.data())
def test_bytes_of_the_file(data: st.DataObject, base: Checkpoint, tmp_path: Path) -> None:
    weights = bytearray(save(lora_arrays()))
    header = 8 + int.from_bytes(weights[:8], "little")
    end = data.draw(st.sampled_from([8, header, len(weights)]))
    for _ in range(data.draw(st.integers(1, 6))):
        weights[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.one_of(st.just(len(weights)), st.integers(0, len(weights))))
    exercise(put(tmp_path, weights=bytes(weights[:size])), base)


@MANY
@given(
    changes=st.dictionaries(
        st.sampled_from(["__metadata__", *list(lora_arrays())[:2], "new", ""]),
        st.one_of(JSON, st.fixed_dictionaries({
            "dtype": st.one_of(st.sampled_from(["F32", "F16", "BF16", "I8", "F8_E4M3"]), JSON),
            "shape": st.one_of(SHAPES, JSON),
            "data_offsets": st.one_of(
                st.lists(st.integers(-1, 20_000), min_size=1, max_size=3), JSON),
        })),
        min_size=1, max_size=3,
    ),
    padding=st.binary(max_size=9),
)  # fmt: skip
@example(changes={"new": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}, padding=b"")
def test_entries_of_the_header(
    changes: dict[str, Any], padding: bytes, base: Checkpoint, tmp_path: Path
) -> None:
    weights = save(lora_arrays())
    header = 8 + int.from_bytes(weights[:8], "little")
    raw = json.dumps({**json.loads(weights[8:header]), **changes}).encode()
    exercise(put(tmp_path, struct.pack("<Q", len(raw)) + raw + weights[header:] + padding), base)


@MANY
@given(changes=st.dictionaries(CONFIG_KEYS, JSON, min_size=1, max_size=4))
def test_values_of_the_configuration(
    changes: dict[str, Any], base: Checkpoint, tmp_path: Path
) -> None:
    exercise(put(tmp_path, config=json.dumps({**CONFIG, **changes}).encode()), base)


@MANY
@given(data=st.data())
def test_bytes_of_the_configuration(data: st.DataObject, base: Checkpoint, tmp_path: Path) -> None:
    config = bytearray(json.dumps(CONFIG).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        config[data.draw(st.integers(0, len(config) - 1))] = data.draw(st.integers(0, 255))
    exercise(put(tmp_path, config=bytes(config)), base)


@MANY
@given(
    entries=st.lists(st.tuples(KEYS, SHAPES, DTYPES), min_size=1, max_size=8),
    keep=st.integers(0, 8),
    config=st.fixed_dictionaries({}, optional={
        "use_dora": st.booleans(), "lora_bias": st.booleans(),
        "bias": st.sampled_from(["none", "all", "lora_only"]),
        "modules_to_save": st.lists(st.sampled_from(["lm_head", "embed_tokens", "layers", ""])),
        "trainable_token_indices": st.one_of(
            st.lists(st.integers(0, 300), max_size=4),
            st.dictionaries(PARTS, st.lists(st.integers(0, 300), max_size=4), max_size=3)),
        "rank_pattern": st.dictionaries(PARTS, st.integers(1, 9), max_size=2),
        "layers_to_transform": st.lists(st.integers(-1, 3), max_size=2),
        "target_modules": st.one_of(st.lists(PARTS, max_size=3), st.text(max_size=6)),
    }),
    fill=st.sampled_from([0.0, 1.0, np.nan]),
)  # fmt: skip
def test_keys_shapes_and_dtypes(
    entries: list[tuple[str, list[int], str]],
    keep: int,
    config: dict[str, Any],
    fill: float,
    base: Checkpoint,
    tmp_path: Path,
) -> None:
    arrays = dict(list(lora_arrays().items())[:keep])
    for key, shape, dtype in entries:
        if key != "__metadata__":
            value = np.nan_to_num(fill) if np.dtype(dtype).kind in "iub" else fill
            arrays[key] = np.full(shape, value, dtype=dtype)
    exercise(put(tmp_path, save(arrays), json.dumps({**CONFIG, **config}).encode()), base)


@MANY
@given(
    parameters=st.one_of(JSON, st.fixed_dictionaries({
        "rank": st.one_of(st.integers(1, 8), JSON), "scale": st.one_of(st.floats(), JSON)})),
    kind=st.one_of(st.sampled_from(["lora", "dora", "full"]), JSON),
    entries=st.lists(st.tuples(KEYS, SHAPES), max_size=6),
)  # fmt: skip
def test_mlx_adapters(
    parameters: object,
    kind: object,
    entries: list[tuple[str, list[int]]],
    base: Checkpoint,
    tmp_path: Path,
) -> None:
    arrays = {key: np.ones(shape, np.float32) for key, shape in entries if key != "__metadata__"}
    arrays |= {"model.layers.0.self_attn.q_proj.lora_a": np.ones((64, 4), np.float32),
               "model.layers.0.self_attn.q_proj.lora_b": np.ones((4, 64), np.float32)}  # fmt: skip
    config = {"fine_tune_type": kind, "lora_parameters": parameters}
    exercise(put(tmp_path, save(arrays), json.dumps(config).encode()), base)


FOREIGN = st.sampled_from([
    "tokenizer.json", "vocab.json", "added_tokens.json", "tokenizer_config.json",
    "chat_template.json", "chat_template.jinja", "trainer_state.json", "README.md",
    "training.yaml", "EXPERIMENT_METADATA.json",
])  # fmt: skip
CONTENTS = st.one_of(
    st.binary(max_size=60),
    JSON.map(json.dumps).map(str.encode),
    st.fixed_dictionaries({}, optional={
        "model": st.one_of(JSON, st.fixed_dictionaries({"vocab": st.one_of(
            JSON, st.dictionaries(st.text(max_size=3), st.integers(-1, 200), max_size=3))})),
        "added_tokens": JSON, "added_tokens_decoder": JSON, "chat_template": JSON,
        "use_rslora": JSON, "date": JSON,
    }).map(json.dumps).map(str.encode),
)  # fmt: skip


@MANY
@given(
    files=st.dictionaries(FOREIGN, CONTENTS, min_size=1, max_size=4),
    name=st.text(max_size=20),
    claim=st.text(max_size=20),
)
def test_files_and_names_around_it(
    files: dict[str, bytes], name: str, claim: str, base: Checkpoint, tmp_path: Path
) -> None:
    folder = put(tmp_path, config=json.dumps({**CONFIG, "base_model_name_or_path": claim}).encode())
    for path in folder.iterdir():
        if not path.name.startswith("adapter_"):
            path.unlink()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    report = verify_adapter(VerifyRequest(folder, base.folder, source_name=name, since=date.min))
    assert report.first_line
    exercise(folder, base)
