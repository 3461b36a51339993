"""A promotion noted in a file of YAML, and nothing else touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.experiment.verdict.noting import KEY, Edit, note_promotion
from loragraft.experiment.verdict.promoted import Promoted
from loragraft.plain_yaml import parse_yaml, read_yaml
from tests.support.sources import ROOT

SHIPPED = (ROOT / "configs" / "default.yaml").read_bytes()


def entry(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a promotion's values."""
    return {
        "experiment": "hybrid", "series": "science", "size": "0.5B", "date": "2026-11-22",
        "engine": "llama", "model": "../outputs/exports/science", "adapter": None,
        "baseline": "plain", "metric": "factuality", "gain": 0.081, "interval": [0.03, 1e-05],
        "wanted": 0.05, "grounding": 0.45, "grounding_from": 0.41, "grounding_wanted": 0.35,
        "questions": 420, "papers": 30, "key": "ab" * 32, **changes,
    }  # fmt: skip


def noted(path: Path) -> Any:  # noqa: ANN401
    """Return the section of a file."""
    return read_yaml(path).values[KEY]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "default.yaml"
    found.write_bytes(SHIPPED)
    return found


def test_the_shipped_file_keeps_every_byte(path: Path) -> None:
    assert note_promotion(path, entry()).changed
    assert path.read_bytes().startswith(SHIPPED)
    assert noted(path) == {**entry(), "history": []}
    Promoted.model_validate(noted(path))


def test_the_same_again_writes_nothing(path: Path) -> None:
    note_promotion(path, entry())
    before, stat = path.read_bytes(), path.stat()
    assert not note_promotion(path, entry(date="2027-01-01")).changed
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == stat.st_mtime_ns


def test_an_adapter_that_is_unknown_now_is_the_one_that_stands_there(path: Path) -> None:
    note_promotion(path, entry(adapter="Org/adapter"))
    unknown = {key: value for key, value in entry().items() if key != "adapter"}
    assert not note_promotion(path, unknown).changed
    assert note_promotion(path, {**unknown, "gain": 0.09}).changed
    assert "adapter" not in noted(path)
    assert noted(path)["history"][0]["adapter"] == "Org/adapter"
    assert Promoted.model_validate(noted(path)).adapter is None
    assert note_promotion(path, entry(gain=0.09)).changed


def test_earlier_ones_are_kept_in_order(path: Path) -> None:
    for name in ("first", "second", "third"):
        assert note_promotion(path, entry(experiment=name)).changed
    found = noted(path)
    assert found["experiment"] == "third"
    assert [one["experiment"] for one in found["history"]] == ["second", "first"]
    assert path.read_bytes().startswith(SHIPPED)
    assert path.read_bytes().count(b"promoted:") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"# nothing yet\n", b""),
        (b"seed: 1", b""),
        (b"seed: 1\r\nsize: small  # by hand\r\n", b""),
        (b"\xef\xbb\xbfseed: 1\n\n\n", b""),
        (b"seed: 1\n\n# what was promoted\n", b"\n# behind it\n\nsize: x   # a comment\n"),
        (b"# a\r\n", b"# indented\r\n  # more\r\nsize: x\r\n"),
        (b"", b"---not: a marker\n"),
        ("name: \u00e4 \U0001f600 # \u2028# \u2029# odd\n".encode(), b"size: x"),
    ],
)
@pytest.mark.parametrize("old", [b"", b"promoted:", b"promoted: null", b"there"])
def test_what_stands_around_it_keeps_its_bytes(
    tmp_path: Path, before: bytes, after: bytes, old: bytes
) -> None:
    end = b"\r\n" if b"\r\n" in before + after else b"\n"
    path = tmp_path / "default.yaml"
    if old == b"there":
        path.write_bytes(b"")
        note_promotion(path, entry(experiment="older"))
        note_promotion(path, entry(experiment="old"))
        old = path.read_bytes().rstrip(b"\n").replace(b"\n", end)
    broken = before and not before.endswith(b"\n")
    path.write_bytes(
        before + (end if broken and old else b"") + (old + end if old else b"") + after
    )
    before_values = {k: v for k, v in (read_yaml(path).values or {}).items() if k != KEY}
    assert note_promotion(path, entry()).changed
    text = path.read_bytes()
    kept = before + after if not old else before
    assert text.startswith(kept)
    assert old == b"" or text.endswith(after)
    values = read_yaml(path).values
    assert {k: v for k, v in values.items() if k != KEY} == before_values
    assert values[KEY]["experiment"] == "hybrid"
    assert (b"\r\n" in text) == (b"\r\n" in before + after)


HOSTILE = [
    "null",
    "1e-4",
    "2020-01-01",
    "no",
    "a: b",
    "# x",
    "'",
    '"',
    "- a",
    "x\ny",
    "\x85",
    "\u2028",
    "\u200b",
    " ",
    "{",
    "&a",
    "*a",
    "!!python/object",
    "\x1b[31m",
    "\U0001f600",
    "\\",
    "%",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_name_comes_back_as_it_was(path: Path, text: str) -> None:
    note_promotion(path, entry(model=text, experiment=text))
    note_promotion(path, entry())
    assert noted(path)["history"][0]["model"] == text
    assert noted(path)["history"][0]["experiment"] == text


@settings(max_examples=40)
@given(st.text(max_size=40), st.floats(-1, 1))
def test_any_value_comes_back_as_it_was(text: str, gain: float) -> None:
    from loragraft.experiment.verdict import noting

    lines = noting._spelled({"experiment": text, "gain": gain, "history": [{"model": text}]})
    found = parse_yaml("\n".join(lines), Path("x.yaml")).values[KEY]
    assert found == {"experiment": text, "gain": gain, "history": [{"model": text}]}


@pytest.mark.parametrize(
    "text",
    ["{seed: 1}\n", "seed: 1\n...\n", "promoted: &p {a: 1}\nother: *p\n", "- a\n", "promoted: 3\n",
     "promoted: {experiment: x}\n", "seed: 1\nseed: 2\n", "a: [\n"],
)  # fmt: skip
def test_what_cannot_be_edited_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "default.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        note_promotion(path, entry())
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["default.yaml"]


def test_a_name_that_is_no_text_is_not_written(path: Path) -> None:
    with pytest.raises(InputError, match="Nothing was written"):
        note_promotion(path, entry(experiment="\udc80"))
    assert path.read_bytes() == SHIPPED


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ("history: []", "history: [] # my note", 1),
        ("promoted:", "promoted: # by hand\n  # and why", 2),
        ("  series:", "# at the margin\n\n  series:", 1),
        ("wanted: 0.05", "wanted: 0.05  # see #3, # really", 1),
        ("interval: [", "interval: [ # low\n    ", 1),
        ("experiment: hybrid", 'experiment: "a # b"', 0),
        ("experiment: hybrid", "experiment: a#b", 0),
        ("  history: []\n", "  history: []\n  # behind it, and kept\n", 0),
        ("promoted:", "# above it, and kept\npromoted:", 0),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\ufeff", "name: \u00e4 # \u2028# \u2029# odd\n"])
def test_comments_that_are_not_kept_are_counted(
    tmp_path: Path, old: str, new: str, count: int, end: str, before: str
) -> None:
    path = tmp_path / "default.yaml"
    path.write_text("")
    note_promotion(path, entry())
    text = path.read_text()
    assert old in text
    text = f"{before}{text.replace(old, new)}size: x # after\n".replace("\n", end)
    path.write_bytes(text.encode())
    assert note_promotion(path, entry(gain=0.2)) == Edit(changed=True, comments=count)
    lost = text.count("#") - path.read_bytes().decode().count("#")
    assert (lost > 0) == (count > 0)  # values with a # move into the history


def test_links_and_modes_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_bytes(SHIPPED)
    real.chmod(0o640)
    link = tmp_path / "default.yaml"
    link.symlink_to(real)
    note_promotion(link, entry())
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert noted(real)["experiment"] == "hybrid"


def test_a_file_that_is_read_only_is_left_alone(path: Path) -> None:
    path.chmod(0o444)
    with pytest.raises(InputError, match=r"is read-only.*--default FILE"):
        note_promotion(path, entry())
    assert path.read_bytes() == SHIPPED
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_file_that_others_may_write_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="is read-only"):
        note_promotion(path, entry())
    assert path.read_bytes() == SHIPPED


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_the_owner_stays(path: Path) -> None:
    os.chown(path, 1234, 4321)
    path.chmod(0o664)
    note_promotion(path, entry())
    stat = path.stat()
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o777) == (1234, 4321, 0o664)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        note_promotion(tmp_path / "default.yaml", entry())


NOTING = """
import sys
from pathlib import Path
from loragraft.experiment.verdict.noting import note_promotion
from tests.experiment.verdict.test_noting import entry
print("ready", flush=True)
sys.stdin.readline()
for number in range(12):
    note_promotion(Path(sys.argv[1]), entry(experiment=f"{sys.argv[2]}{number}"))
"""


def test_two_at_once_are_both_kept(path: Path) -> None:
    words = (sys.executable, "-c", NOTING, str(path))
    running = [
        subprocess.Popen((*words, who), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for who in "ab"
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    for one in running:
        one.communicate()
        assert one.returncode == 0
    found = noted(path)
    names = [found["experiment"], *(one["experiment"] for one in found["history"])]
    assert sorted(names) == sorted(f"{who}{number}" for who in "ab" for number in range(12))
    assert os.listdir(path.parent) == ["default.yaml"]


def test_what_an_editor_saved_meanwhile_is_not_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loragraft.experiment.verdict import noting

    check = noting._check

    def saved(where: Path, *rest: Any) -> None:  # noqa: ANN401
        check(where, *rest)
        where.write_bytes(b"seed: 5\n")

    monkeypatch.setattr(noting, "_check", saved)
    with pytest.raises(InputError, match="changed meanwhile"):
        note_promotion(path, entry())
    assert path.read_bytes() == b"seed: 5\n"
