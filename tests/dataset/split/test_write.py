"""A split on the disk: what its manifest says, what a kill leaves, what is never overwritten."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.lock import hold_lock
from loragraft.dataset.records import read_records
from loragraft.dataset.split import write
from loragraft.dataset.split.load import find_split, load_split
from loragraft.dataset.split.manifest import same_split
from loragraft.dataset.split.write import Written, plan_split, write_split
from loragraft.errors import CheckFailedError, InputError, LockedError

SEED = 20251101


def record(number: int, paper: int | None) -> dict[str, Any]:
    values = {
        "kind": "qa",
        "id": f"q{number}",
        "task_type": ["numeric", "entity"][number % 2],
        "question": f"What is \u00fc{number}?",
        "answers": [str(number)],
        "note": number,
    }
    return values if paper is None else {**values, "paper_id": f"p{paper}"}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 80 records of ten papers, some of none."""
    path = tmp_path / "data.jsonl"
    rows = [record(n, None if n % 10 == 9 else n % 10) for n in range(80)]
    text = "\r\n\n".join(json.dumps(row, ensure_ascii=n % 2 == 0) for n, row in enumerate(rows))
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return path


def split(source: Path, folder: Path, tag: str = "t", **options: Any) -> Written:  # noqa: ANN401
    more = {key: options.pop(key) for key in ("replace", "check") if key in options}
    return write_split(plan_split(source, **{"seed": SEED, **options}), folder, tag, **more)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_hold_every_record_and_the_manifest_says_so(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "splits"
    done = split(source, folder)
    assert done.changed
    assert sorted(content(folder)) == [
        "t_manifest.json", "t_test.jsonl", "t_train.jsonl", "t_val.jsonl",
    ]  # fmt: skip
    loaded = load_split(folder, "t")
    assert loaded.manifest == json.loads(json.dumps(done.manifest))
    assert (loaded.tag, loaded.seed) == ("t", SEED)
    parts = {name: list(loaded.records(name)) for name in loaded.files}
    assert {name: len(part) for name, part in parts.items()} == {"train": 56, "val": 12, "test": 12}
    by_id = {r.id: r for r in read_records(source)}
    assert {r.id: r for part in parts.values() for r in part} == by_id

    told = loaded.manifest
    assert told["source"] == {
        "name": "data.jsonl", "records": 80,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }  # fmt: skip
    for name, file in loaded.files.items():
        assert told["files"][name]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert told["files"][name]["records"] == len(parts[name])
        counted = Counter((r.task_type, r.paper_id) for r in parts[name])
        strata = {(s["task_type"], s["paper_id"]): s[name] for s in told["strata"] if s[name]}
        assert strata == counted
    assert told["fractions"] == {"train": 0.7, "val": 0.15, "test": 0.15}
    assert all(value < 1 for value in told["largest_deviation"].values())
    small = [s for s in told["strata"] if s["small"]]
    assert told["small_strata"]["strata"] == len(small)
    assert all(sum(s[n] for n in parts) < told["small_strata"]["fewer_records_than"] for s in small)


def test_training_needs_no_test_file(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "s")
    (tmp_path / "s" / "t_test.jsonl").unlink()
    for loaded in (
        load_split(tmp_path / "s", "t", ("train", "val")),
        find_split("t", tmp_path / "s", ("train", "val")),
        find_split(str(tmp_path / "s" / "t_manifest.json"), parts=("train", "val")),
    ):
        assert list(loaded.files) == ["train", "val"]
    with pytest.raises(InputError, match=r"t_test\.jsonl cannot be read"):
        load_split(tmp_path / "s", "t")


@pytest.mark.parametrize("group_by", [None, "paper_id"])
def test_each_test_record_says_whether_its_paper_was_trained_on(
    source: Path, tmp_path: Path, group_by: Any  # noqa: ANN401
) -> None:  # fmt: skip
    split(source, tmp_path / "s", group_by=group_by)
    loaded = load_split(tmp_path / "s", "t")
    trained = {r.paper_id for r in loaded.records("train")}
    expected = {r.id: None if r.paper_id is None else r.paper_id in trained
                for r in loaded.records("test")}  # fmt: skip
    assert loaded.seen_in_training() == expected
    seen = Counter(expected.values())
    papers = loaded.manifest["papers"]
    assert papers["test_records_of_trained_papers"] == seen[True]
    assert papers["test_records_of_other_papers"] == seen[False]
    assert papers["test_records_without_paper"] == seen[None]
    assert (seen[True] == 0) == (group_by is not None)
    assert (seen[False] > 0) == (group_by is not None)


def test_another_order_of_the_same_records_gives_the_same_files(
    source: Path, tmp_path: Path
) -> None:
    split(source, tmp_path / "a")
    lines = [line for line in source.read_text("utf-8-sig").splitlines() if line]
    source.write_text("\n".join(reversed(lines)), encoding="utf-8")
    split(source, tmp_path / "b")
    one, other = content(tmp_path / "a"), content(tmp_path / "b")
    del one["t_manifest.json"], other["t_manifest.json"]  # which name the source's hash
    assert one == other


def test_the_same_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    assert split(source, folder).changed
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not split(source, folder).changed
    assert not split(source, folder, replace=True).changed
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_version_of_loragraft_made_the_same_split(source: Path, tmp_path: Path) -> None:
    done = split(source, tmp_path)
    told = {**json.loads(done.path.read_text("utf-8")), "loragraft_version": "0.0.1"}
    done.path.write_text(json.dumps(told))
    assert same_split(told, done.manifest)
    assert not split(source, tmp_path).changed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "seed 20251101 there and 1 now"),
        ({"group_by": "paper_id"}, "group_by None there and paper_id now"),
        ({"fractions": (0.8, 0.1, 0.1)}, "fractions 0.7/0.15/0.15 there and 0.8/0.1/0.1 now"),
    ],
)
def test_another_split_is_not_overwritten_unasked(
    source: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    folder = tmp_path / "s"
    split(source, folder)
    before = content(folder)
    with pytest.raises(InputError) as caught:
        split(source, folder, **options)
    assert words in str(caught.value)
    assert "--replace" in str(caught.value)
    assert content(folder) == before
    assert split(source, folder, replace=True, **options).changed
    assert load_split(folder, "t")
    assert content(folder) != before


def test_files_of_someone_else_are_not_overwritten_unasked(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "t_val.jsonl").write_text("mine\n")
    with pytest.raises(InputError, match=r"t_val.jsonl is there already, without a manifest"):
        split(source, folder)
    assert content(folder) == {"t_val.jsonl": b"mine\n"}
    assert split(source, folder, replace=True).changed


def test_a_split_never_overwrites_its_own_source(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "t_train.jsonl"
    source.rename(target)
    with pytest.raises(InputError, match="would be overwritten by its own split"):
        split(target, tmp_path, replace=True)


def test_a_check_that_fails_leaves_everything_as_it_was(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    split(source, folder)
    before = content(folder)
    seen: dict[str, int] = {}

    def refuse(files: Mapping[str, Path]) -> None:
        seen.update({name: len(list(read_records(path))) for name, path in files.items()})
        raise CheckFailedError("leaks")

    with pytest.raises(CheckFailedError, match="leaks"):
        split(source, folder, seed=2, replace=True, check=refuse)
    assert seen == {"train": 56, "val": 12, "test": 12}
    assert content(folder) == before


KILLED = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from loragraft.dataset.split import write
    folder, source, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    done, replace = [], Path.replace
    def watched(self, target):
        done.append(target)
        if len(done) > at:
            os._exit(9)
        return replace(self, target)
    Path.replace = watched
    planned = write.plan_split(source, seed=int(sys.argv[4]))
    write.write_split(planned, folder, "t", replace=True)
""")


@pytest.mark.parametrize(("before", "at"), [(None, 0), (None, 6), (1, 4), (1, 5), (1, 7)])
def test_a_write_killed_at_any_rename_is_made_whole_by_the_same_command(
    source: Path, tmp_path: Path, before: int | None, at: int
) -> None:
    """Four drafts are made, then three files get their names, then the manifest."""
    folder = tmp_path / "s"
    if before is not None:
        split(source, folder, seed=before)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(source), str(at), str(SEED)], check=False
    )
    assert killed.returncode == 9
    if before is None:
        with pytest.raises(InputError, match=r"t_manifest.json does not exist"):
            load_split(folder, "t")
        assert split(source, folder).changed  # also without replace: what is there is its own
    elif at <= 4:
        assert load_split(folder, "t").seed == before
        assert split(source, folder, replace=True).changed
    else:
        with pytest.raises(InputError, match=r"A write was interrupted.*--replace"):
            load_split(folder, "t")
        assert split(source, folder, replace=True).changed
    assert load_split(folder, "t").seed == SEED
    assert len(content(folder)) == 4


def test_another_process_at_the_same_split_is_waited_for_by_a_person(
    source: Path, tmp_path: Path
) -> None:
    with hold_lock(tmp_path / ".t.lock"), pytest.raises(LockedError):
        split(source, tmp_path)


def test_a_source_that_changes_meanwhile_is_noticed(source: Path, tmp_path: Path) -> None:
    planned = plan_split(source, seed=SEED)
    data = source.read_bytes()
    for changed in (data.replace(b"q3", b"q9", 1), data + b"\n", data[:-20]):
        source.write_bytes(changed)
        with pytest.raises(InputError, match="was changed while it was split"):
            write_split(planned, tmp_path / "s", "t")
        assert content(tmp_path / "s") == {}


@pytest.mark.parametrize("tag", ["", "a/b", "..", "-x", "a\nb", "con", "x" * 300, ".x"])
def test_odd_tags_are_refused(source: Path, tmp_path: Path, tag: str) -> None:
    with pytest.raises(InputError, match="The tag "):
        split(source, tmp_path, tag)
    with pytest.raises(InputError, match="The tag "):
        load_split(tmp_path, tag)


def test_what_cannot_be_read_twice_is_refused(tmp_path: Path) -> None:
    for odd in (tmp_path, Path(os.devnull)):
        with pytest.raises(InputError, match="no regular file"):
            plan_split(odd, seed=SEED)


def test_a_folder_that_cannot_be_one_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="Nothing can be written into"):
            split(source, folder)
    for name in ("t_val.jsonl", "t_manifest.json"):
        folder = tmp_path / name
        (folder / name).mkdir(parents=True)
        with pytest.raises(InputError, match="is a folder; move it away"):
            split(source, folder, replace=True)


def test_a_split_is_found_by_tag_and_by_manifest(source: Path, tmp_path: Path) -> None:
    done = split(source, tmp_path)
    assert find_split("t", tmp_path) == find_split(str(done.path))
    with pytest.raises(InputError, match=r"other_manifest.json does not exist"):
        find_split("other", tmp_path)


def test_every_change_of_a_file_is_noticed(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path)
    for name in ("train", "val", "test"):
        path = tmp_path / f"t_{name}.jsonl"
        data = path.read_bytes()
        for changed in (data + b"\n", data[:-1], b""):
            path.write_bytes(changed)
            with pytest.raises(InputError, match="is not the file that its manifest names"):
                load_split(tmp_path, "t")
        path.unlink()
        with pytest.raises(InputError, match="cannot be read"):
            load_split(tmp_path, "t")
        path.write_bytes(data)
    assert load_split(tmp_path, "t")


def test_odd_manifests_are_refused_in_words(source: Path, tmp_path: Path) -> None:
    done = split(source, tmp_path)
    good = json.loads(done.path.read_text("utf-8"))
    for data, words in [
        (b"", "is no JSON"), (b"\xff", "is no JSON"), (b"[" * 99_999, "is no JSON"),
        (b"[]", "no manifest of dataset split"), (b"{}", "no manifest of dataset split"),
        (json.dumps({**good, "schema_version": 2}).encode(), "Upgrade loragraft"),
        (json.dumps({**good, "tag": "u"}).encode(), "it was renamed"),
        (json.dumps({**good, "strata": [3]}).encode(), "strata.0"),
        (json.dumps({**good, "files": {}}).encode(), "files.train"),
        (json.dumps({**good, "seed": 2**63}).encode(), "seed"),
        (json.dumps({**good, "largest_deviation": {"records": math.nan}}).encode(), "finite"),
        (json.dumps({**good, "papers": {**good["papers"], "all": 10**4000}}).encode(), "papers"),
    ]:  # fmt: skip
        done.path.write_bytes(data)
        with pytest.raises(InputError, match=words):
            load_split(tmp_path, "t")
    for key in good:
        if key not in ("stratified_by",):
            done.path.write_text(json.dumps({k: v for k, v in good.items() if k != key}))
            with pytest.raises(InputError):
                load_split(tmp_path, "t")
    named = {**good["files"]["train"], "name": "../secret.jsonl"}
    done.path.write_text(json.dumps({**good, "files": {**good["files"], "train": named}}))
    with pytest.raises(InputError, match=r"is called '../secret.jsonl' in its manifest"):
        load_split(tmp_path, "t")


def test_memory_is_bounded_by_ids_not_by_texts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a record between the two readings holds none of its texts."""
    planned = plan_split(source, seed=SEED)
    assert all(len(item) == 3 for part in planned.split.parts.values() for item in part)
    assert set(planned.spans) == {f"q{n}" for n in range(80)}
    monkeypatch.setattr(write, "split_records", None)  # writing decides nothing any more
    assert write_split(planned, tmp_path, "t").changed
