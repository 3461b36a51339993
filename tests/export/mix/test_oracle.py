"""llama.cpp asked for types: trusted only if it is there, complete and right on the control."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.errors import UnavailableError
from loragraft.export.mix import (
    MIXES,
    ModelShape,
    TensorSpec,
    assign_types,
    oracle,
    oracle_problem,
    worker,
)
from loragraft.export.mix.oracle import CONTROL_SHAPE, CONTROL_TENSORS, types_by_llama
from loragraft.export.mix.rules import types_by_rules


@pytest.fixture
def fresh_worker() -> Iterator[None]:
    """Answers of another library must not be remembered, nor those of a changed worker."""
    oracle._run_worker.cache_clear()
    yield
    oracle._run_worker.cache_clear()


def test_it_can_be_asked_here() -> None:
    assert oracle_problem() is None
    _, source = assign_types(CONTROL_SHAPE, CONTROL_TENSORS, "Q4_K_M")
    assert source == "llama.cpp"


@pytest.mark.parametrize("mix", MIXES.values(), ids=list(MIXES))
def test_the_control_is_answered_as_the_table_does(mix: oracle.Mix) -> None:
    expected = types_by_rules(CONTROL_SHAPE, CONTROL_TENSORS, mix)
    assert list(types_by_llama(CONTROL_SHAPE, CONTROL_TENSORS, mix)) == expected


def test_asking_says_nothing_and_imports_nothing() -> None:
    code = (
        "import sys\n"
        "from loragraft.export.mix import oracle\n"
        "oracle.types_by_llama(oracle.CONTROL_SHAPE, oracle.CONTROL_TENSORS, "
        "oracle.MIXES['Q4_K_M'])\n"
        "print(sorted({'llama_cpp', 'numpy', 'gguf', 'torch'} & set(sys.modules)))\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(oracle.__file__).parents[3])},
    )
    assert child.stdout == "[]\n"
    assert child.stderr == ""


def test_without_a_library_the_rules_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert "not installed" in (oracle_problem() or "")
    ours, source = assign_types(CONTROL_SHAPE, CONTROL_TENSORS, "q4_k_m")
    assert source == "rules"
    assert [item.qtype for item in ours] == types_by_rules(
        CONTROL_SHAPE, CONTROL_TENSORS, MIXES["Q4_K_M"]
    )
    with pytest.raises(UnavailableError, match="not installed"):
        assign_types(CONTROL_SHAPE, CONTROL_TENSORS, "Q4_K_M", source="oracle")


def test_a_file_that_is_no_library_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    (tmp_path / "libllama.so").write_bytes(b"not a library")
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert "failed with exit status 1" in (oracle_problem() or "")


def test_a_library_without_the_functions_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    """The library of ggml stands in for one that exports none of llama.cpp's functions."""
    real = oracle.find_library()
    assert real is not None
    (tmp_path / "libllama.so").symlink_to(next(real.parent.glob("*ggml-base*")))
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    assert "does not export _Z31llama_quant_model_from_metadata" in (oracle_problem() or "")


def test_a_library_that_answers_the_control_differently_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    """A drift of the interface: two fields of the model description have changed places."""
    fields = ('("heads", ctypes.c_uint32)', '("heads_kv", ctypes.c_uint32)')
    code = Path(worker.__file__).read_text(encoding="utf-8")
    before, after = (f"{fields[0]},\n        {fields[1]}", f"{fields[1]},\n        {fields[0]}")
    assert before in code
    (tmp_path / "worker.py").write_text(code.replace(before, after), encoding="utf-8")
    monkeypatch.setattr(worker, "__file__", str(tmp_path / "worker.py"))
    with pytest.raises(UnavailableError, match=r"not trusted.*attn_v.*Q2_K"):
        types_by_llama(CONTROL_SHAPE, CONTROL_TENSORS, MIXES["Q2_K"])


def test_a_type_that_is_none_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    """A newer llama.cpp may know types that this version does not: here for a lone tensor."""
    code = Path(worker.__file__).read_text(encoding="utf-8")
    before, after = "return list(answer)", "return [999] if len(answer) == 1 else list(answer)"
    assert before in code
    (tmp_path / "worker.py").write_text(code.replace(before, after), encoding="utf-8")
    monkeypatch.setattr(worker, "__file__", str(tmp_path / "worker.py"))
    spec = TensorSpec("blk.0.attn_q.weight", (64, 256))
    with pytest.raises(UnavailableError, match=r"answers tensor type 999 for blk\.0\.attn_q"):
        types_by_llama(ModelShape("llama", 1, 256, 64, 1, 1, 64, 64), [spec], MIXES["Q4_K_M"])


def test_a_worker_that_is_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    monkeypatch.setattr(oracle, "PATIENCE_SECONDS", 0.001)
    with pytest.raises(UnavailableError, match=r"could not be asked for tensor types: .*timed out"):
        types_by_llama(CONTROL_SHAPE, CONTROL_TENSORS, MIXES["Q4_K_M"])


@pytest.mark.parametrize(
    ("shape", "name", "message"),
    [
        (ModelShape("mamba", 2, 64, 64, 1, 1, 64, 64), "output.weight", "'mamba' is none of"),
        (ModelShape("llama", 513, 64, 64, 1, 1, 64, 64), "output.weight", "513 layers"),
        (ModelShape("llama", 0, 64, 64, 1, 1, 64, 64), "output.weight", "0 layers"),
        (ModelShape("llama", 2, 64, 64, 1, 1, 64, 64), "x" * 64, "longer than 63 bytes"),
    ],
)
def test_what_would_abort_llama_cpp_is_not_asked(
    shape: ModelShape, name: str, message: str
) -> None:
    with pytest.raises(UnavailableError, match=message):
        types_by_llama(shape, [TensorSpec(name, (64, 64))], MIXES["Q4_K_M"])


def test_an_abort_in_the_child_leaves_this_process_alive(
    monkeypatch: pytest.MonkeyPatch, fresh_worker: None
) -> None:
    """A row that the binary type has no fallback for makes llama.cpp end its process."""
    shape = ModelShape("llama", 1, 64, 64, 1, 1, 64, 64)
    with pytest.raises(UnavailableError, match="failed with exit status"):
        types_by_llama(shape, [TensorSpec("blk.0.attn_q.weight", (64, 96))], MIXES["Q1_0"])
