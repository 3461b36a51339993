"""The checksum list: what sha256sum reads and writes, and nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loragraft.artifact.checksums import (
    check_checksums,
    format_checksums,
    parse_checksums,
    read_checksums,
    write_checksums,
)
from loragraft.errors import BundleError

_HEX = "0123456789abcdef" * 4
_DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
# Odd on purpose: spaces, stars, backslashes, line breaks of all sorts, a BOM, other scripts.
_SEGMENTS = st.text(
    st.sampled_from(" *#ab.\\\n\r\t\x0b\x0c\x1c\x85\u2028\ufeffé漢😀\udcff"),
    min_size=1,
    max_size=12,
).filter(lambda text: text not in (".", ".."))
_NAMES = st.lists(_SEGMENTS, min_size=1, max_size=3).map("/".join)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.dictionaries(_NAMES, _DIGESTS, max_size=5))
@example({"a\r": _HEX, "b\\n": _HEX, "\ufeffc": _HEX, " d": _HEX, "*e": _HEX})
def test_what_is_written_is_read(digests: dict[str, str]) -> None:
    assert parse_checksums(format_checksums(digests)) == digests


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    try:
        names = parse_checksums(text)
    except BundleError:
        return
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


@pytest.mark.parametrize(
    "line",
    [f"{_HEX}  a.gguf\n", f"{_HEX} *a.gguf\n", f"{_HEX}  a.gguf\r\n", f"{_HEX.upper()}  a.gguf",
     f"# a comment\n\n{_HEX}  a.gguf\n", f"\ufeff{_HEX}  a.gguf\n"],
)  # fmt: skip
def test_both_marks_line_ends_and_comments_are_fine(line: str) -> None:
    assert parse_checksums(line) == {"a.gguf": _HEX}


@pytest.mark.parametrize(
    "line",
    ["nonsense", f"{_HEX} a", f"{_HEX[:-1]}  a", f"{_HEX}  ", f"{_HEX}a  b",
     f"SHA256 (a) = {_HEX}"],
)  # fmt: skip
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(BundleError, match=r"Line 2 .* expected 64 hexadecimal digits"):
        parse_checksums(f"{_HEX}  fine\n{line}\n")


@pytest.mark.parametrize("name", ["a\\q", "a\\"])
def test_odd_escapes_are_refused(name: str) -> None:
    with pytest.raises(BundleError, match="odd escape"):
        parse_checksums(f"\\{_HEX}  {name}\n")
    assert parse_checksums(f"\\{_HEX}  a\\n\n") == {"a\n": _HEX}


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", "a\0b"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(BundleError, match="leads out"):
        parse_checksums(f"{_HEX}  {name}\n")
    with pytest.raises(BundleError, match="leads out"):
        format_checksums({name: _HEX})


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="twice"):
        parse_checksums(f"{_HEX}  a\n{_HEX}  a\n")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    contents = {"a.gguf": b"weights", "sub/odd \\ name*": b"", "new\nline": b"x"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    write_checksums(tmp_path, {name: _sha(data) for name, data in contents.items()})
    return tmp_path


def test_healthy_folder_has_no_problems(bundle: Path) -> None:
    seen: list[int] = []
    assert check_checksums(bundle, seen.append) == []
    assert sum(seen) == len(b"weights") + 1
    assert not list(bundle.glob(".*"))


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs coreutils")
def test_sha256sum_agrees_in_both_directions(bundle: Path) -> None:
    subprocess.run(["sha256sum", "-c", "--strict", "checksums.txt"], cwd=bundle, check=True)
    ours = read_checksums(bundle)
    theirs = subprocess.run(
        ["sha256sum", "-b", *sorted(ours)], cwd=bundle, check=True, capture_output=True, text=True
    ).stdout
    assert parse_checksums(theirs) == ours


def test_every_kind_of_problem_is_found(bundle: Path) -> None:
    (bundle / "a.gguf").write_bytes(b"Weights")
    (bundle / "new\nline").unlink()
    (bundle / "stray").write_bytes(b"")
    (bundle / ".hidden").write_bytes(b"")
    kinds = {problem.name: problem.kind for problem in check_checksums(bundle)}
    assert kinds == {"a.gguf": "changed", "new\nline": "missing", "stray": "unlisted"}


def test_a_folder_in_place_of_a_file_is_a_problem(bundle: Path) -> None:
    (bundle / "a.gguf").unlink()
    (bundle / "a.gguf").mkdir()
    assert [problem.kind for problem in check_checksums(bundle)] == ["unreadable"]


def test_a_folder_without_a_list_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        check_checksums(tmp_path)
