"""Values are judged by their bits, in every dtype, as decoding them would judge."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.adapter.checks import CheckContext, run_checks
from loragraft.adapter.findings import Severity, worst
from loragraft.adapter.reader import open_adapter
from loragraft.adapter.values import BLOCK_BYTES, ValueScan, scan_values
from loragraft.checkpoint.safetensors import decode_float32
from loragraft.errors import AdapterError
from tests.adapter.builders import PREFIX, write_adapter

KEY = f"{PREFIX}x.lora_A.weight"
ITEMS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}


def write_raw(folder: Path, dtype: str, content: bytes) -> Path:
    """Write one tensor of a dtype that numpy may not have."""
    write_adapter(folder, {KEY: np.zeros(1, np.float32)})
    shape = [1, len(content) // ITEMS[dtype]]
    header = (
        f'{{"{KEY}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{len(content)}]}}}}'
    ).encode()
    file = folder / "adapter_model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return folder


def scanned(folder: Path) -> ValueScan:
    with open_adapter(folder) as adapter:
        return scan_values(adapter)


@given(
    dtype=st.sampled_from(sorted(ITEMS)),
    words=st.lists(
        st.one_of(st.integers(0, 2**16 - 1), st.sampled_from([0, 0x8000, 0x7F80, 0x7C00, 0xFFFF])),
        min_size=4, max_size=32,
    ),
)  # fmt: skip
def test_bits_say_what_decoding_says(
    dtype: str, words: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = np.array(words[: len(words) // 4 * 4], "<u2").tobytes()
    values = decode_float32(content, dtype)
    bad = values.size - int(np.isfinite(values).sum())
    with np.errstate(invalid="ignore"):  # signalling NaN
        zero = not values.any()
    found = scanned(write_raw(tmp_path_factory.mktemp("adapter"), dtype, content))
    assert found.nonfinite == ({KEY: bad} if bad else {})
    assert (KEY in found.zero) == zero


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    assert scanned(write_raw(tmp_path, "BF16", b"\x00\x80" * 8)).zero == {KEY}


def test_the_last_value_of_many_blocks_counts(tmp_path: Path) -> None:
    content = bytes(3 * BLOCK_BYTES + 2) + b"\x80\x7f"
    assert scanned(write_raw(tmp_path, "BF16", content)).nonfinite == {KEY: 1}


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    with open_adapter(write_raw(tmp_path, "F32", bytes(4096))) as adapter:
        adapter.path.write_bytes(adapter.path.read_bytes()[:1000])
        with pytest.raises(AdapterError, match="ended inside"):
            scan_values(adapter)
        adapter.path.unlink()
        with pytest.raises(AdapterError, match="Cannot read"):
            scan_values(adapter)


def test_every_tensor_is_told_to_the_progress(tmp_path: Path) -> None:
    sizes: list[int] = []
    with open_adapter(write_adapter(tmp_path)) as adapter:
        scan_values(adapter, sizes.append)
        assert sizes == [info.nbytes for info in adapter.tensors.values()]


def test_memory_does_not_grow_with_the_file(make_adapter: Callable[..., Path]) -> None:
    """64 MB of values, in rows of 16, are checked in less than one."""
    arrays = {f"{PREFIX}x.lora_A.weight": np.ones((4, 1 << 22), np.float32),
              f"{PREFIX}x.lora_B.weight": np.ones((8, 4), np.float32)}  # fmt: skip
    folder = make_adapter(arrays, target_modules=["x"])
    del arrays
    with open_adapter(folder) as adapter:
        tracemalloc.start()
        findings = run_checks(CheckContext(adapter))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert worst(findings) is Severity.PASS
    assert {"values.nonfinite", "effect.zero"} <= {finding.code for finding in findings}
    assert peak < 1 << 20
