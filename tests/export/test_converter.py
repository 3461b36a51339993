"""The way through llama.cpp's converter script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import CheckFailedError, InputError, UnsupportedError
from loragraft.export.converter import (
    convert_and_quantize,
    convert_checkpoint,
    find_script,
    quantize_file,
)
from tests.export.pico_llama import make_weights, write_model


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A converter of our own that does what its argument asks: the interface is what is tested."""
    path = tmp_path / "tree" / "convert_hf_to_gguf.py"
    path.parent.mkdir()
    path.write_text(
        "import shutil, sys\n"
        "source, out = sys.argv[1], sys.argv[sys.argv.index('--outfile') + 1]\n"
        "assert sys.argv[sys.argv.index('--outtype') + 1] == 'f32'\n"
        "shutil.copyfile(source + '/ready.gguf', out)\n"
    )
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    write_model(folder / "ready.gguf", make_weights(51), "F32")
    return folder


def test_a_script_is_found_by_path_and_by_folder(script: Path) -> None:
    assert find_script(script) == find_script(script.parent) == script
    with pytest.raises(InputError, match="convert_hf_to_gguf"):
        find_script(script.parent.parent)


def test_one_file_for_each_mix(script: Path, checkpoint: Path, tmp_path: Path) -> None:
    outputs = [("Q8_0", tmp_path / "a.gguf"), ("Q4_K_M", tmp_path / "b.gguf")]
    floats = tmp_path / ".one.float.gguf"
    floats.write_bytes(b"of a run that was killed")
    convert_and_quantize(script, checkpoint, outputs, floats=floats)
    with GgufFile(tmp_path / "a.gguf") as first, GgufFile(tmp_path / "b.gguf") as second:
        assert first.tensor("blk.0.ffn_up.weight").type_name == "Q8_0"
        assert second.tensor("blk.0.ffn_up.weight").type_name == "Q4_K"
        base = make_weights(51)["model.layers.0.mlp.up_proj.weight"]
        assert np.abs(first.rows("blk.0.ffn_up.weight") - base).max() < 0.01
    assert not floats.exists()


def test_a_failure_leaves_no_float_file(script: Path, checkpoint: Path, tmp_path: Path) -> None:
    floats = tmp_path / ".one.float.gguf"
    out = tmp_path / "no" / "such" / "folder" / "a.gguf"
    with pytest.raises(CheckFailedError, match="Quantizing"):
        convert_and_quantize(script, checkpoint, [("Q8_0", out)], floats=floats)
    assert not floats.exists()


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("raise SystemExit('it went wrong')", CheckFailedError, "it went wrong"),
        ("import no_such_module", CheckFailedError, "Install that package"),
        (
            "import sys; sys.exit('ERROR:hf-to-gguf:Model OddForCausalLM is not supported')",
            UnsupportedError,
            "no such architecture",
        ),
        ("pass", CheckFailedError, "status 0"),
    ],
)
def test_a_failing_script_is_explained(
    script: Path, checkpoint: Path, tmp_path: Path, body: str, error: type[Exception], words: str
) -> None:
    script.write_text(body)
    with pytest.raises(error, match=words):
        convert_checkpoint(script, checkpoint, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_a_broken_source_is_explained(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckFailedError, match=r"Quantizing broken\.gguf to Q4_K_M failed"):
        quantize_file(tmp_path / "broken.gguf", tmp_path / "out.gguf", "Q4_K_M")
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.slow
def test_llama_cpps_own_script_on_real_files(
    smollm2_checkpoint: Path, llama_cpp_source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "smollm2.gguf"
    floats = tmp_path / "float.gguf"
    convert_and_quantize(llama_cpp_source, smollm2_checkpoint, [("Q8_0", out)], floats=floats)
    with GgufFile(out) as file:
        assert file.get("general.architecture") == "llama"
        assert file.tensor("token_embd.weight").type_name == "Q8_0"
