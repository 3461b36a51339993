"""A workspace: the folder in which configurations, data and results have their places.

```
configs/                          series, training, curation: copied, to be edited
evaluation/datasets/splits/       loragraft dataset split writes here
examples/                         an invented collection of papers, and an adapter for SmolLM2
notebooks/finetuning/             loragraft train notebook
ollama/                           Modelfiles
outputs/{adapters,exports,indexes,experiments}/
.env.example, .gitignore, README.md
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.errors import InputError
from loragraft.shipped import shipped_file, shipped_folder

FOLDERS = (
    "configs",
    "evaluation/datasets/splits",
    "notebooks/finetuning",
    "ollama",
    "outputs/adapters",
    "outputs/exports",
    "outputs/indexes",
    "outputs/experiments",
)
EXAMPLES = ("science", "smollm2-lora")
KEPT_AS = ".old"
"""What a file that gave way has behind its name."""

IGNORED = """\
# what the commands make
/outputs/
*.gguf

# keys
.env
"""
README = """\
# A workspace of loragraft

```
configs/                      what is run: series of experiments, training, curation
evaluation/datasets/splits/   train, val and test, written by loragraft dataset split
examples/                     an invented collection of papers, and an adapter for SmolLM2-135M
outputs/adapters/             what loragraft train run trains
outputs/exports/              bundles: GGUF, Modelfile, metadata
outputs/indexes/              what loragraft rag index makes
outputs/experiments/          answers and scores, a folder for each series
ollama/                       Modelfiles
notebooks/finetuning/         what loragraft train notebook writes
```

The usual way, from this folder:

```
loragraft dataset split RECORDS.jsonl --tag science -o evaluation/datasets/splits
loragraft train run configs/training/science.yaml
loragraft export merge-and-quantize Qwen/Qwen2.5-0.5B-Instruct outputs/adapters/lora_science_0p5 \\
    -o outputs/exports --name qwen2.5-0.5b-science-lora
loragraft ollama register outputs/exports/qwen2.5-0.5b-science-lora
loragraft rag index PAPERS -o outputs/indexes/science
loragraft experiment run configs/science_0p5.yaml --dry-run
loragraft experiment run configs/science_0p5.yaml
loragraft experiment report configs/science_0p5.yaml
```

Keys of endpoints come from the environment alone: copy `.env.example` to `.env`, fill in what you
use, and load it before a command (`set -a; . ./.env; set +a`).
"""


@dataclass(frozen=True)
class Workspace:
    """What was made of a folder.

    Attributes:
        folder: The workspace.
        written: Files that are new, relative to it.
        same: Files that were there with the same content.
        kept: Files that were there with another content, and stay.
        replaced: Files that gave way, each with the name under which the old one is kept.
    """

    folder: Path
    written: tuple[str, ...]
    same: tuple[str, ...]
    kept: tuple[str, ...]
    replaced: tuple[tuple[str, str], ...]


def make_workspace(
    folder: Path, *, examples: bool = True, force: bool = False, dry_run: bool = False
) -> Workspace:
    """Make a folder a workspace; what is there stays as it is.

    Args:
        folder: New, empty or in use.
        examples: Whether the example collection and its adapter are copied.
        force: Whether files of the same name and another content give way; each is kept beside
            the new one.
        dry_run: Only say what would be done.

    Raises:
        InputError: If something that is no folder stands where a folder belongs, or nothing can
            be written there.
        UnavailableError: If this installation lacks its configurations.
        OutOfSpaceError: If the disk is full.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is no folder. Choose another name for the workspace.")
    written, same, kept, replaced = [], [], [], []
    contents = list(_contents(examples))
    if not dry_run:
        _make_folders(folder)
    for name, content in contents:
        found = _look(folder / name, content)
        if found == "same":
            same.append(name)
        elif found == "other" and not force:
            kept.append(name)
        else:
            old = _free_name(folder / name) if found == "other" else None
            if not dry_run:
                _write(folder / name, content, old)
            if old is None:
                written.append(name)
            else:
                replaced.append((name, (folder / name).with_name(old.name).name))
    return Workspace(folder, tuple(written), tuple(same), tuple(kept), tuple(replaced))


def _contents(examples: bool) -> Iterator[tuple[str, bytes]]:
    """Yield what a workspace holds, by names relative to it."""
    yield "README.md", README.encode()
    yield ".gitignore", IGNORED.encode()
    yield ".env.example", shipped_file(".env.example").read_bytes()
    yield from _below("configs", shipped_folder("configs"))
    for part in EXAMPLES if examples else ():
        yield from _below(f"examples/{part}", shipped_folder("examples") / part)


def _below(name: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _make_folders(folder: Path) -> None:
    for name in FOLDERS:
        _make_folder(folder / name)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{folder} cannot be made: a file stands in its way. Move it, or choose another folder."
        ) from None
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made: {error.strerror}. Choose another folder."
        ) from None


def _look(path: Path, content: bytes) -> str:
    """Return whether nothing, the same or something else stands at a path."""
    if not os.path.lexists(path):
        return "nothing"
    try:
        same = path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:  # a folder, a link to nowhere, a file that may not be read
        return "other"
    return "same" if same else "other"


def _free_name(path: Path) -> Path:
    """Return a name beside a file that nothing has."""
    candidate, number = path.with_name(path.name + KEPT_AS), 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}{KEPT_AS}{number}")
    return candidate


def _write(path: Path, content: bytes, old: Path | None) -> None:
    _make_folder(path.parent)
    try:
        if old is not None:
            path.rename(old)
        try:
            write_atomically(path, content)
        except BaseException:
            if old is not None:
                old.rename(path)
            raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}. Choose another folder."
        ) from None
