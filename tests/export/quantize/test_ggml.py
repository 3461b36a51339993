"""Finding and loading ggml."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import numpy as np
import pytest

from loragraft.engine import llama_library
from loragraft.engine.llama_library import OVERRIDE, library_folder
from loragraft.errors import UnavailableError
from loragraft.export.mix import oracle
from loragraft.export.quantize.ggml import Ggml, find_library, library_patterns


def test_the_description_names_library_and_version(ggml: Ggml) -> None:
    assert "ggml-base" in ggml.description
    assert "version" in ggml.description


def test_the_library_lies_in_the_package() -> None:
    assert find_library().is_file()


def test_one_folder_serves_quantizing_and_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types asked of one library and rows quantized by another would not belong together."""
    real, types_from = find_library(), oracle.find_library()
    assert types_from is not None
    assert real.parent == types_from.parent == library_folder()
    for path in (real, types_from):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv(OVERRIDE, str(tmp_path))
    assert find_library() == tmp_path / real.name
    assert oracle.find_library() == tmp_path / types_from.name


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("linux", "libggml-base.so"),
        ("linux", "libggml-base.so.0.25.3"),
        ("darwin", "libggml-base.dylib"),
        ("darwin", "libggml-base.0.dylib"),
        ("win32", "ggml-base.dll"),
        ("win32", "libggml-base.dll"),
    ],
)
def test_names_of_each_platform_are_recognised(tmp_path: Path, platform: str, name: str) -> None:
    (tmp_path / name).touch()
    assert any(list(tmp_path.glob(pattern)) for pattern in library_patterns(platform))


def test_a_missing_library_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OVERRIDE, str(tmp_path))
    with pytest.raises(UnavailableError, match=r"force-reinstall.*C\+\+ compiler"):
        find_library()


def test_a_broken_library_says_how_to_get_it(tmp_path: Path) -> None:
    broken = tmp_path / "libggml-base.so"
    broken.write_bytes(b"no library")
    with pytest.raises(UnavailableError, match="does not serve"):
        Ggml(broken)


def test_another_library_says_what_it_lacks() -> None:
    other = ctypes.util.find_library("m")
    assert other is not None
    with pytest.raises(UnavailableError, match=r"does not serve: .*ggml_quantize_chunk"):
        Ggml(Path(other))


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OVERRIDE, raising=False)
    monkeypatch.setattr(llama_library, "PACKAGE", "no_such_package_of_ggml")
    assert oracle.find_library() is None
    with pytest.raises(UnavailableError, match=r"llama-cpp-python, .* not installed here"):
        find_library()


def test_validation_sees_an_infinite_scale(ggml: Ggml, capfd: pytest.CaptureFixture[str]) -> None:
    data = ggml.quantize(8, np.ones((1, 32), dtype=np.float32))
    assert ggml.validate(8, data)
    data[0, :2] = (0x00, 0x7C)
    assert not ggml.validate(8, data)
    capfd.readouterr()
