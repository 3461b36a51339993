"""Files of strangers: a pipe or a device in their place is refused, and nothing hangs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.adapter.locate import read_config
from loragraft.checkpoint.files import read_small
from loragraft.checkpoint.model import read_json
from loragraft.checkpoint.safetensors import read_header
from loragraft.checkpoint.template import resolve_chat_template
from loragraft.errors import AdapterError, CheckpointError, TemplateError


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among the files here")


@pytest.mark.parametrize("put", [pipe, endless])
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (read_json, CheckpointError),
        (read_header, CheckpointError),
        (read_config, AdapterError),
        (lambda path: resolve_chat_template([path.parent]), TemplateError),
    ],
    ids=["json", "weights", "adapter", "template"],
)
@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
def test_what_is_no_regular_file_is_refused(
    name: str,
    read: Callable[[Path], object],
    error: type[Exception],
    put: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    put(tmp_path / name)
    with pytest.raises(error, match=rf"{name}.* no regular file"):
        read(tmp_path / name)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")  # as in the Hub's cache
    assert read_json(tmp_path / "config.json") == {"a": 1}


def test_a_limit_is_kept_whatever_the_size_says(tmp_path: Path) -> None:
    path = tmp_path / "some"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_small(path, 4)
