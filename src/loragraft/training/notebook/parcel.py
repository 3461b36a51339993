"""What a hosted machine needs of this one: configuration and data in one archive.

```
training_config.yaml     the run's, its paths relative to here
splits/TAG_*             manifest, train and val of a split; never its test
train/, validation/      files, where there is no split
corpus/NAME              a file, or the documents of a folder
checksums.txt            of all others; the notebook knows its hash
```
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loragraft.adapter.fetch.names import safe_name
from loragraft.artifact.checksums import CHECKSUMS_NAME, format_checksums
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import AdapterError, InputError
from loragraft.training.config import DataConfig, TrainConfig
from loragraft.training.spelling import spell_config

CONFIG_NAME = "training_config.yaml"
TRAINED_PARTS = ("train", "val")
"""Of a split. Its test file does not go where models are trained."""
_CHUNK = 1 << 20
_MODE = 0o644 << 16


@dataclass(frozen=True)
class Parcel:
    """What goes into the archive.

    Attributes:
        config: The run's, with paths inside of the archive.
        files: By their names there.
    """

    config: TrainConfig
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Packed:
    """An archive that was written.

    Attributes:
        path: Where.
        bytes: Its size.
        content_bytes: Of all its files.
        checksums_sha256: SHA-256 of its ``checksums.txt``, which vouches for every other file.
    """

    path: Path
    bytes: int
    content_bytes: int
    checksums_sha256: str


def collect(config: TrainConfig) -> Parcel:
    """Find the files that a run reads, and give them names in the archive.

    Raises:
        InputError: If one is missing, a split is not what its manifest says, or a name cannot be
            stored on every system.
    """
    data = config.data
    inside, files = _records(data)
    if data.corpus is not None:
        documents = _corpus(data.corpus)
        files.update(documents)
        top = "/".join(next(iter(documents)).split("/")[:2])  # a document's id begins with it
        inside = inside.model_copy(update={"corpus": Path(top)})
    for name, path in files.items():
        _check(name, path)
    return Parcel(config.model_copy(update={"data": inside}), files)


def _records(data: DataConfig) -> tuple[DataConfig, dict[str, Path]]:
    if data.tag is not None:
        from loragraft.dataset.split.load import find_split

        split = find_split(data.tag, data.splits, TRAINED_PARTS)
        found = {f"splits/{path.name}": path for path in (split.path, *split.files.values())}
        return data.model_copy(update={"tag": split.tag, "splits": Path("splits")}), found
    numbered = {f"train/{n}/{path.name}": path for n, path in enumerate(data.train, start=1)}
    change: dict[str, object] = {"train": tuple(Path(name) for name in numbered),
                                 "splits": Path("splits")}  # fmt: skip
    if data.validation is not None:
        name = f"validation/{data.validation.name}"
        change["validation"] = Path(name)
        numbered[name] = data.validation
    return data.model_copy(update=change), numbered


def _corpus(corpus: Path) -> dict[str, Path]:
    """Return the documents by names that give them the same ids there.

    Raises:
        InputError: If there are none.
    """
    from loragraft.rag.corpus.find import Found, find_documents

    found = {f"corpus/{item.doc_id}": item.path for item in find_documents([corpus])
             if isinstance(item, Found)}  # fmt: skip
    if not found:
        raise InputError(f"{corpus} holds no documents that are read; expected the corpus.")
    return found


def _check(name: str, path: Path) -> None:
    if not path.is_file():
        state = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {state}; the configuration names it as data.")
    try:
        safe = str(safe_name(name))
    except AdapterError:
        safe = ""
    if safe != name:
        raise InputError(
            f"{path} has a name that not every system takes, so it cannot be packed. Rename it."
        )


def write_parcel(parcel: Parcel, path: Path) -> Packed:
    """Write the archive: the same content gives the same bytes, whenever and wherever.

    Args:
        parcel: What goes in.
        path: Where to; appears whole or not at all.

    Raises:
        InputError: If a file cannot be read.
        OutOfSpaceError: If the disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explain_full_disk(path), zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            content, digest = _fill(archive, parcel)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return Packed(path, path.stat().st_size, content, digest)


def _fill(archive: zipfile.ZipFile, parcel: Parcel) -> tuple[int, str]:
    """Write every file and the list of them; return the bytes and the list's hash."""
    note = "Packed by `loragraft train notebook`; paths are relative to this file."
    config = spell_config(parcel.config, note).encode("utf-8")
    digests = {CONFIG_NAME: _add_bytes(archive, CONFIG_NAME, config)}
    total = len(config)
    for name in sorted(parcel.files):
        digests[name], size = _add_file(archive, name, parcel.files[name])
        total += size
    listed = format_checksums(digests).encode("utf-8")
    return total + len(listed), _add_bytes(archive, CHECKSUMS_NAME, listed)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # dated 1980: the time of packing is nobody's concern
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = _MODE
    info.create_system = 3
    return info


def _add_bytes(archive: zipfile.ZipFile, name: str, data: bytes) -> str:
    archive.writestr(_info(name), data)
    return hashlib.sha256(data).hexdigest()


def _add_file(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[str, int]:
    try:
        source = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    with source, archive.open(_info(name), "w", force_zip64=True) as target:
        return _copy(source, target)


def _copy(source: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while block := source.read(_CHUNK):
        digest.update(block)
        size += len(block)
        target.write(block)
    return digest.hexdigest(), size
