"""Configuration: what a file may hold, how files extend one another, what a typo gets."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from loragraft.errors import InputError
from loragraft.plain_yaml import read_yaml
from loragraft.settings import FilePath, Settings, load_settings, read_settings


class Length(Settings):
    """A rule."""

    kind: Literal["length"]
    least: int = 0
    most: int | None = None


class Words(Settings):
    """Another."""

    kind: Literal["words"]
    keywords: tuple[str, ...]


class Inner(Settings):
    """A mapping."""

    share: float = 0.5
    name: str = "x"


class Whole(Settings):
    """A configuration."""

    seed: int = 1
    rate: float = 0.1
    raw: FilePath | None = None
    inner: Inner = Inner()
    rules: tuple[Annotated[Length | Words, Field(discriminator="kind")], ...] = ()
    by_name: dict[str, Inner] = Field(default_factory=dict)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_settings(path, Whole)
    return str(caught.value)


def test_values_are_read_as_they_look(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.yaml",
        "a: 1e-4\nb: [no, on, 0o17, 0x1F, 2020-01-01, 12:30, .5, -3, ~, '5', !!str 5, !!int '7']\n"
        "c: [true, False, yes]\nno: {1: x}\n",
    )
    assert read_yaml(path).values == {
        "a": 1e-4,
        "b": ["no", "on", 15, 31, "2020-01-01", "12:30", 0.5, -3, None, "5", "5", 7],
        "c": [True, False, "yes"],
        "no": {"1": "x"},
    }


@given(data=st.text() | st.binary())
def test_no_content_is_a_bug(data: str | bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        load_settings(path, Whole)


def test_a_file_extends_others_key_by_key(tmp_path: Path) -> None:
    write(tmp_path / "base" / "one.yaml", "raw: data/raw.jsonl\nrate: 1\ninner: {share: 0.1}\n"
          "rules: [{kind: length}]\n")  # fmt: skip
    write(tmp_path / "base" / "two.yaml", "extends: one.yaml\nrate: 2\ninner: {name: two}\n")
    write(tmp_path / "three.yaml", "rate: 3\n")
    top = write(
        tmp_path / "top.yaml",
        "extends: [base/two.yaml, three.yaml]\nrules: [{kind: words, keywords: [a]}]\n",
    )
    found = load_settings(top, Whole)
    assert found.rate == 3
    assert found.inner == Inner(share=0.1, name="two")
    assert found.rules == (Words(kind="words", keywords=("a",)),)
    assert found.raw == tmp_path / "base" / "data" / "raw.jsonl"


def test_a_null_takes_the_place_of_what_the_base_says(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "raw: x\n")
    top = write(tmp_path / "top.yaml", "extends: base.yaml\nraw: null\n")
    assert load_settings(top, Whole).raw is None


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    target = tmp_path / "x" / "raw.jsonl"
    path = write(tmp_path / "a.yaml", f"raw: '{target.as_posix()}'\n")
    assert load_settings(path, Whole).raw == target


def test_a_path_may_begin_at_home_or_go_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = write(tmp_path / "x" / "a.yaml", "raw: ~/raw.jsonl\n")
    assert load_settings(path, Whole).raw == tmp_path / "raw.jsonl"
    (tmp_path / "raw.jsonl").touch()
    up = load_settings(write(path, "raw: ../raw.jsonl\n"), Whole).raw
    assert up == tmp_path / "raw.jsonl"
    odd = load_settings(write(path, "raw: ~nobody-here/raw.jsonl\n"), Whole).raw
    assert odd == tmp_path / "x" / "~nobody-here" / "raw.jsonl"


def test_a_path_up_from_a_link_goes_where_the_link_leads(tmp_path: Path) -> None:
    write(tmp_path / "far" / "x" / "a.yaml", "raw: ../raw.jsonl\n")
    (tmp_path / "near").symlink_to(tmp_path / "far" / "x", target_is_directory=True)
    (tmp_path / "far" / "raw.jsonl").touch()
    found = load_settings(tmp_path / "near" / "a.yaml", Whole).raw
    assert found is not None
    assert found.samefile(tmp_path / "far" / "raw.jsonl")


def test_settings_never_change(tmp_path: Path) -> None:
    found = load_settings(write(tmp_path / "a.yaml", ""), Whole)
    assert found == Whole()
    with pytest.raises(ValidationError, match="frozen"):
        found.seed = 3  # type: ignore[misc]


def test_files_in_a_circle_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: ./a.yaml\n")
    assert "extends itself: " in refused(tmp_path / "a.yaml")
    assert "extends itself: " in refused(write(tmp_path / "c.yaml", "extends: c.yaml\n"))


def test_one_base_by_two_ways_is_no_circle(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", "seed: 5\n")
    write(tmp_path / "l.yaml", "extends: base.yaml\n")
    write(tmp_path / "r.yaml", "extends: base.yaml\n")
    assert load_settings(write(tmp_path / "t.yaml", "extends: [l.yaml, r.yaml]"), Whole).seed == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sede: 1", "line 1: sede is no key that there is. Did you mean 'seed'?"),
        ("\ninner:\n  shore: 1\n", "line 3: inner.shore is no key that there is. Did you mean 'sh"),
        ("by_name: {x: {nam: 1}}", "by_name.x.nam is no key that there is. Did you mean 'name'?"),
        ("rules:\n- kind: length\n  mst: 3", "rules[0].mst is no key that there is. Did you mean"),
        ("zzzzz: 1", "There are: by_name, inner, rate, raw, rules, seed."),
        ("seed: three", "line 1: seed is 'three': input should be a valid integer"),
        ("seed: 1.5", "seed is 1.5: "),
        ("rate: .nan", "rate is nan: "),
        ("rules: [{kind: words}]", "rules[0].keywords is missing."),
        ("rules: [{kind: lenght}]", "rules[0].kind is 'lenght', which there is not. Did you mean"),
        ("rules: {kind: length}", "rules is {'kind': 'length'}: "),
        ("raw: ''", "raw is '': expected a path."),
        ("inner: 3", "inner is 3: input should be keys with values."),
        ("seed: 1\nseed: 2", "line 2: the key 'seed' stands twice"),
        ("seed: !!python/object/apply:os.system [ls]", "the tag '!!python/object/apply:os.system'"),
        ("seed: !mine 3", "the tag '!mine' is not read"),
        ("seed: !!int x", "'x' is no int"),
        ("<<: {seed: 1}", "the merge key << is not read; use extends"),
        ("[a, b]: 1", "a key is no text"),
        ("- 1", "holds a list; expected keys"),
        ("seed", "holds a text; expected keys with values"),
        ("a: [", "line 1 is no YAML: "),
        ("a: 1\n---\nb: 2\n", "is no YAML: but found another document"),
        ("a: &a [*a]", "aliases or nesting mean more values"),
        ("a: " + "[" * 2000, "nested too deeply"),
        ("seed: 1" + "0" * 5000, "is no int"),
        ("extends: 3", "extends is 3; expected a file or a list of files"),
        ("extends: none.yaml", "which is no file"),
        ("#" * 300_000, "larger than 256 KiB"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "a.yaml", text)
    message = refused(path)
    assert words in message
    assert str(path) in message


def test_a_change_may_name_ids_with_hyphens_and_digits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "by_name: {lora-v1: {name: x}}")
    found = load_settings(path, Whole, ["by_name.lora-v1.name=y", "by_name.0p5.name=z"])
    assert {key: one.name for key, one in found.by_name.items()} == {"lora-v1": "y", "0p5": "z"}
    for text in ("a b.c=1", ".seed=1", "seed.=1", "=1", "seed"):
        with pytest.raises(InputError, match="changes no key"):
            load_settings(path, Whole, [text])


def test_aliases_are_read_but_do_not_explode(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "inner: &x {share: 0.2}\nby_name: {a: *x}\n")
    assert load_settings(path, Whole).by_name["a"].share == 0.2
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert "more values than anyone would write" in refused(write(path, "\n".join(lines)))


def test_a_mistake_in_a_base_names_the_base(tmp_path: Path) -> None:
    base = write(tmp_path / "base.yaml", "\nseed: x\n")
    top = write(tmp_path / "top.yaml", "extends: base.yaml\nrate: y\n")
    assert refused(top).splitlines() == [
        f"{base}, line 2: seed is 'x': input should be a valid integer, unable to parse string as "
        "an integer.",
        f"{top}, line 2: rate is 'y': input should be a valid number, unable to parse string as a "
        "number.",
    ]


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "".join(f"key{n}: 1\n" for n in range(30)))
    assert refused(path).splitlines()[-1] == f"{path}: and 22 more."


def test_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(60):
        write(tmp_path / f"{number}.yaml", f"extends: {number + 1}.yaml\n")
    write(tmp_path / "60.yaml", "")
    assert "more than 50 files" in refused(tmp_path / "0.yaml")


def test_odd_files_are_refused_in_words(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path)
    assert "cannot be read" in refused(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"seed: 1\nraw: \xe9\n")
    assert "line 2 is no UTF-8: byte 0xe9" in refused(tmp_path / "latin.yaml")


def test_names_that_are_too_long_are_said(tmp_path: Path) -> None:
    class Placed(Settings):
        raw: FilePath

    name = "n" * 300
    with pytest.raises(InputError, match="which is no file"):
        load_settings(write(tmp_path / "a.yaml", f"extends: {name}\n"), Placed)
    with pytest.raises(InputError, match="the name is too long"):
        load_settings(write(tmp_path / "a.yaml", f"raw: {name}\n"), Placed)


def test_the_place_of_every_value_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "a:\n  b:\n  - x\n  - y\n")
    found: Any = read_settings(path)
    assert found.places["a", "b", 1] == (path, 4)
    assert found.places["a", "b"] == (path, 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder that a process works in")
def test_a_working_folder_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="the working folder, which is not there any more"):
        read_settings(Path("series.yaml"))
    (tmp_path / "whole.yaml").write_text("seed: 3")
    assert load_settings(tmp_path / "whole.yaml", Whole).seed == 3


def test_true_is_no_whole_number(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    for text in ("seed: true", "rules: [{kind: length, most: false}]"):
        path.write_text(text)
        with pytest.raises(InputError, match="expected a whole number, not true or false"):
            load_settings(path, Whole)
    path.write_text("rules: [{kind: length, most: null}]")
    assert load_settings(path, Whole).seed == 1
