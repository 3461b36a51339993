"""Finding and loading ggml."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from loragraft.errors import UnavailableError
from loragraft.export.quantize.ggml import Ggml, find_library, library_patterns, package_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_the_description_names_library_and_version(ggml: Ggml) -> None:
    assert "ggml-base" in ggml.description
    assert "version" in ggml.description


def test_the_library_lies_in_the_package() -> None:
    assert find_library(package_folder()).is_file()


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


def test_a_missing_library_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"force-reinstall.*C\+\+ compiler"):
        find_library(tmp_path)


def test_a_broken_library_says_how_to_get_it(tmp_path: Path) -> None:
    broken = tmp_path / "libggml-base.so"
    broken.write_bytes(b"no library")
    with pytest.raises(UnavailableError, match="does not serve"):
        Ggml(broken)


def test_validation_sees_an_infinite_scale(ggml: Ggml, capfd: pytest.CaptureFixture[str]) -> None:
    data = ggml.quantize(8, np.ones((1, 32), dtype=np.float32))
    assert ggml.validate(8, data)
    data[0, :2] = (0x00, 0x7C)
    assert not ggml.validate(8, data)
    capfd.readouterr()
