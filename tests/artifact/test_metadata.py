"""EXPERIMENT_METADATA.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.metadata import (
    METADATA_NAME,
    plain,
    read_metadata,
    write_metadata,
)
from loragraft.errors import BundleError

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text().filter(lambda key: key != "schema_version"), _JSON, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("metadata")
    write_metadata(folder, metadata)
    assert read_metadata(folder) == {"schema_version": 1, **metadata}
    assert [path.name for path in folder.iterdir()] == [METADATA_NAME]


@dataclass(frozen=True)
class _Gate:
    name: str
    measured: float


def test_values_of_python_become_plain() -> None:
    value = {
        "path": Path("a/b"), "gate": _Gate("finite", float("nan")), "when": date(2025, 11, 1),
        "count": np.int64(3), "k": np.float32(0.5), "names": frozenset({"b", "a"}), 1: (1, 2),
        "low": float("-inf"),
    }  # fmt: skip
    assert plain(value) == {
        "path": "a/b", "gate": {"name": "finite", "measured": "NaN"}, "when": "2025-11-01",
        "count": 3, "k": 0.5, "names": ["a", "b"], "1": [1, 2], "low": "-Infinity",
    }  # fmt: skip


def test_a_value_without_a_plain_form_is_a_bug() -> None:
    with pytest.raises(TypeError, match="object"):
        plain({"x": object()})


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"file": "odd\udcff"})
    assert read_metadata(tmp_path)["file"] == "odd\udcff"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ('{"schema_version": ' + "9" * 5000 + "}", "not readable as JSON"),
        ("[]", "schema_version"),
        ('{"a": 1}', "schema_version"),
        ('{"schema_version": true}', "schema_version"),
        ('{"schema_version": 99}', "Upgrade loragraft"),
    ],
)
def test_broken_or_newer_metadata_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / METADATA_NAME).write_text(text)
    with pytest.raises(BundleError, match=message):
        read_metadata(tmp_path)


def test_missing_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        read_metadata(tmp_path)


def test_the_file_reads_well(tmp_path: Path) -> None:
    text = write_metadata(tmp_path, {"name": "Über"}).read_text(encoding="utf-8")
    assert "Über" in text
    assert list(json.loads(text)) == ["schema_version", "name"]
