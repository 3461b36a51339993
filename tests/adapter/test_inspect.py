"""What inspecting tells of adapters, real and made."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loragraft.adapter.inspect import inspect_adapter
from loragraft.errors import AdapterError, UnsupportedError
from tests.adapter.builders import PREFIX, lora_arrays, write_adapter


def test_the_real_example_is_described(example_adapter: Path) -> None:
    report = inspect_adapter(example_adapter)
    assert (report.type, report.format, report.task) == ("LORA", "peft", "CAUSAL_LM")
    assert (report.ranks, report.alphas, report.scalings) == ((4,), (16.0,), (4.0,))
    assert (report.modules, report.layers) == (180, "0-29")
    assert report.targets == dict.fromkeys(
        ("gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"), 30
    )
    assert report.dtypes == {"F16": report.parameters}
    file = example_adapter / "adapter_model.safetensors"
    assert report.bytes == report.expected_bytes == file.stat().st_size
    assert report.expected_bytes_for_rank == report.bytes
    assert report.claimed_base == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert report.widths["hidden"] == 576
    assert report.candidates[0] == "SmolLM2-135M"
    assert report.hashes[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
    content = report.to_json()
    assert json.loads(json.dumps(content))["layers"] == "0-29"


def test_variants_ranges_and_leftovers_are_told(tmp_path: Path) -> None:
    arrays = {
        key.replace("layers.2.", "layers.7."): value for key, value in lora_arrays(layers=3).items()
    }
    arrays[f"{PREFIX}lm_head.weight"] = np.ones((128, 64), np.float16)
    folder = write_adapter(tmp_path / "tiny-7b", arrays, use_rslora=True,
                           modules_to_save=["lm_head"])  # fmt: skip
    (folder / "train.jsonl").write_text("{}")
    report = inspect_adapter(folder, hashes=False)
    assert report.type == "LORA (rsLoRA)"
    assert report.scalings == (4.0,)
    assert report.layers == "0-1, 7"
    assert report.saved == ("lm_head.weight",)
    assert set(report.dtypes) == {"F16", "F32"}
    assert report.name_says == "7B"
    assert [(item.kind, item.name) for item in report.leftovers] == [("data", "train.jsonl")]
    assert report.hashes == {}


def test_another_rank_shows_in_the_expected_size(tmp_path: Path) -> None:
    report = inspect_adapter(write_adapter(tmp_path / "adapter", r=8))
    pairs = 2 * 4 * (64 + 64 + 64 + 32) * 4
    assert report.expected_bytes_for_rank - report.bytes == pairs


def test_broken_adapters_are_errors(tmp_path: Path) -> None:
    with pytest.raises(AdapterError):
        inspect_adapter(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(UnsupportedError, match="pickle"):
        inspect_adapter(tmp_path)


def test_no_torch_is_imported(example_adapter: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from loragraft.adapter.inspect import inspect_adapter\n"
        "from loragraft.adapter.verify import VerifyRequest, verify_adapter\n"
        f"path = Path({str(example_adapter)!r})\n"
        "inspect_adapter(path); verify_adapter(VerifyRequest(path))\n"
        "heavy = {'torch', 'transformers', 'peft', 'numba', 'huggingface_hub', 'rich', 'jinja2'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
