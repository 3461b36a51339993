"""Vectors of an unfinished run: kept, bound to an embedder, never trusted where damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.rag.index.kept import KeptVectors

_HASHES = [hashlib.sha256(str(number).encode()).digest() for number in range(10)]
_VECTORS = np.arange(30, dtype=np.float32).reshape(10, 3)
_QUIET = [HealthCheck.function_scoped_fixture]


def _write(path: Path) -> None:
    with KeptVectors(path, "key") as kept:
        kept.add(_HASHES[:4], _VECTORS[:4])
        kept.add(_HASHES[4:], _VECTORS[4:])


def test_keeps_vectors(tmp_path: Path) -> None:
    _write(tmp_path / "kept")
    with KeptVectors(tmp_path / "kept", "key") as kept:
        assert len(kept) == 10
        assert kept.dimensions == 3
        np.testing.assert_array_equal(kept.vectors(_HASHES[::-1]), _VECTORS[::-1])
        with pytest.raises(ValueError, match="dimensions"):
            kept.add([b"x" * 32], np.ones((1, 4), np.float32))


def test_belongs_to_one_embedder(tmp_path: Path) -> None:
    _write(tmp_path / "kept")
    with KeptVectors(tmp_path / "kept", "another") as kept:
        assert len(kept) == 0
        kept.add(_HASHES[:1], np.ones((1, 5), np.float32))
    with KeptVectors(tmp_path / "kept", "another") as kept:
        assert kept.dimensions == 5
        np.testing.assert_array_equal(kept.vectors(_HASHES[:1]), np.ones((1, 5)))


@settings(max_examples=40, deadline=None, suppress_health_check=_QUIET)
@given(cut=st.integers(0, 516), flip=st.one_of(st.none(), st.integers(0, 515)))
def test_trusts_nothing_behind_damage(tmp_path: Path, cut: int, flip: int | None) -> None:
    path = tmp_path / "kept"
    path.unlink(missing_ok=True)
    _write(path)
    data = bytearray(path.read_bytes())
    assert len(data) == 516
    if flip is not None:
        data[flip] ^= 1
    path.write_bytes(data[:cut])
    with KeptVectors(path, "key") as kept:
        there = [n for n, key in enumerate(_HASHES) if key in kept]
        assert there == list(range(len(there)))
        np.testing.assert_array_equal(
            kept.vectors([_HASHES[n] for n in there]).reshape(-1, 3), _VECTORS[there]
        )
        rest = [n for n in range(10) if n not in there]
        if rest and kept.dimensions in (0, 3):
            kept.add([_HASHES[n] for n in rest], _VECTORS[rest])
            np.testing.assert_array_equal(kept.vectors(_HASHES), _VECTORS)
