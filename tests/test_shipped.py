"""What comes with loragraft is found where it runs from."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft import shipped
from loragraft.errors import UnavailableError
from loragraft.shipped import shipped_file, shipped_folder


def test_a_checkout_has_them() -> None:
    assert (shipped_folder("configs") / "training").is_dir()
    assert (shipped_folder("examples") / "science" / "papers.jsonl").is_file()
    assert shipped_file(".env.example").is_file()


def test_a_wheel_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package" / "shipped" / "configs").mkdir(parents=True)
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "package")
    assert shipped_folder("configs") == tmp_path / "package" / "shipped" / "configs"


def test_neither_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(shipped, "CHECKOUT", tmp_path)
    with pytest.raises(UnavailableError, match="lacks its examples/"):
        shipped_folder("examples")
    (tmp_path / ".env.example").mkdir()
    with pytest.raises(UnavailableError, match=r"lacks its \.env\.example\."):
        shipped_file(".env.example")
