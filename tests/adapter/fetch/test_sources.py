"""What a user types, and what it is taken for."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.adapter.fetch import Source, parse_source
from loragraft.adapter.fetch.urls import check_url, redact_url
from loragraft.errors import InputError


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf:owner/name", Source("hf", "owner/name", "model")),
        ("hf:owner/name@main", Source("hf", "owner/name", "model", "main")),
        ("hf:o-w.n/n_a.m-1@refs/pr/1", Source("hf", "o-w.n/n_a.m-1", "model", "refs/pr/1")),
        ("hf:datasets/owner/name@v1", Source("hf", "owner/name", "dataset", "v1")),
        ("owner/name@v1", Source("hf", "owner/name", "model", "v1")),
        ("https://huggingface.co/owner/name", Source("hf", "owner/name", "model")),
        ("https://huggingface.co/owner/name/tree/v1/", Source("hf", "owner/name", "model", "v1")),
        ("https://huggingface.co/datasets/o/n", Source("hf", "o/n", "dataset")),
        ("kaggle:owner/data", Source("kaggle", "owner/data", "dataset")),
        ("kaggle:owner/data@3", Source("kaggle", "owner/data", "dataset", "3")),
        ("kaggle:owner/data/versions/3", Source("kaggle", "owner/data", "dataset", "3")),
        ("kaggle:o/m/transformers/x", Source("kaggle", "o/m/transformers/x", "model")),
        ("kaggle:o/m/pyTorch/x/4", Source("kaggle", "o/m/pyTorch/x", "model", "4")),
        ("https://www.kaggle.com/datasets/o/d", Source("kaggle", "o/d", "dataset")),
        ("https://www.kaggle.com/models/o/m/f/v/2", Source("kaggle", "o/m/f/v", "model", "2")),
        ("rclone:drive:loras/mine", Source("rclone", "drive:loras/mine")),
        ("rclone:my drive:", Source("rclone", "my drive:")),
        ("https://a.org/x.zip", Source("https", "https://a.org/x.zip")),
        ("https://huggingface.co/o/n/resolve/main/a.zip",
         Source("https", "https://huggingface.co/o/n/resolve/main/a.zip")),
        ("http://127.0.0.1:8000/x.zip", Source("https", "http://127.0.0.1:8000/x.zip")),
        ("http://[::1]/x.zip", Source("https", "http://[::1]/x.zip")),
    ],
)  # fmt: skip
def test_sources(text: str, source: Source) -> None:
    assert parse_source(text) == source


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("hf:datasets/owner/name@v1", "hf:datasets/owner/name@v1"),
        ("owner/name", "hf:owner/name"),
        ("kaggle:owner/data/versions/3", "kaggle:owner/data@3"),
        ("rclone:a:b", "rclone:a:b"),
        ("https://a.org/x", "https://a.org/x"),
    ],
)
def test_a_source_spells_itself(text: str, spelled: str) -> None:
    assert str(parse_source(text)) == spelled
    assert parse_source(spelled) == parse_source(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:owner/name@v1", "name"),
        ("kaggle:owner/reddit-4b-think", "reddit-4b-think"),
        ("rclone:drive:a/b-7b/", "b-7b"),
        ("https://a.org/x/y.zip?token=1", "y.zip"),
        ("https://a.org", "https://a.org"),
    ],
)
def test_the_last_name(text: str, name: str) -> None:
    assert parse_source(text).name == name


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_source("owner/name") == Source("local", "owner/name")
    assert parse_source("hf:owner/name").kind == "hf"


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "a/b/c", "./a/b", "hf:", "hf:name", "hf:a/b/c", "hf:a/b@", "hf:../b",
        "hf:-a b/c", "kaggle:x",
        "kaggle:a/b@main", "kaggle:a/b/c", "kaggle:../x", "rclone:", "rclone:nothing",
        "rclone::local:/etc", "rclone:-x:y", "rclone:a,ssh=evil:y", "rclone:--config=x:y",
        "http://example.org/x.zip", "https://", "https:///x", "https://a b/c", "https://[/x",
        "ftp://a.org/x", "file:///etc/passwd", "http://10.0.0.1/x", "https://a.org:port/x",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_source(text)


def test_a_revision_given_apart() -> None:
    assert parse_source("hf:a/b", "v1").revision == "v1"
    assert parse_source("hf:a/b@v1", "v1").revision == "v1"
    assert parse_source("kaggle:a/b", "3").revision == "3"
    for text, revision, words in (
        ("hf:a/b@v1", "v2", "names the revision v1"),
        ("kaggle:a/b", "main", "are numbers"),
        ("https://a.org/x", "main", "has no revisions"),
    ):
        with pytest.raises(InputError, match=words):
            parse_source(text, revision)


def test_an_error_tells_no_secret() -> None:
    with pytest.raises(InputError) as caught:
        check_url("http://me:s3cret@example.org/x?sig=s3cret")
    assert "s3cret" not in str(caught.value)


def test_redaction() -> None:
    url = "https://me:pw@a.org/x%20y/z.zip?id=7&token=abc&X-Amz-Credential=k&X-Goog-Date=d#frag"
    assert redact_url(url) == (
        "https://a.org/x%20y/z.zip?id=7&token=***&X-Amz-Credential=***&X-Goog-Date=***"
    )
    assert redact_url("https://a.org/x") == "https://a.org/x"
