"""Write a notebook that trains a run on a hosted machine, and the data it needs."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loragraft import __version__
from loragraft.artifact.files import write_atomically
from loragraft.artifact.space import format_bytes
from loragraft.checkpoint.resolve import existing_path, looks_like_repository
from loragraft.errors import InputError
from loragraft.training.config import TrainConfig
from loragraft.training.notebook.parcel import Packed, collect, write_parcel
from loragraft.training.notebook.render import render_notebook
from loragraft.training.notebook.sizes import Size, own_size, suggest_sizes
from loragraft.training.spelling import spell_config

Platform = Literal["colab", "kaggle"]
PLATFORMS: Mapping[Platform, str] = {"colab": "Google Colab", "kaggle": "Kaggle"}
Where = Literal["auto", "inside", "beside"]
MOST_INSIDE = 512 * 1024
"""Bytes of an archive that a notebook holds without being asked: it then stays below 1 MB, which
every editor and platform opens."""
LARGEST_INSIDE = 8 * 1024 * 1024
"""Bytes of an archive that a notebook may hold at all; Kaggle refuses notebooks of more."""
_SECRETS = re.compile(
    r"hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-[A-Za-z0-9-]{20,}|KGAT_\w{16,}|://[^/\s'\"]+@"
)
"""Tokens of the Hub, GitHub, GitLab, OpenAI and Kaggle, and a URL with a user."""


@dataclass(frozen=True)
class NotebookRequest:
    """What to write.

    Attributes:
        config: The run's.
        folder: Where to.
        platforms: That it explains; the code is the same for all.
        base: A repository, in place of the configuration's base.
        install: Where it takes loragraft from: ``pypi``, a URL, a wheel's path there, or nothing.
        data: Whether the data stands inside of the notebook.
        replace: Whether another notebook of that name gives way.
    """

    config: TrainConfig
    folder: Path
    platforms: tuple[Platform, ...] = ("colab", "kaggle")
    base: str | None = None
    install: str = "pypi"
    data: Where = "auto"
    replace: bool = False


@dataclass(frozen=True)
class WrittenNotebook:
    """What was written.

    Attributes:
        path: The notebook.
        archive: The data beside it; None where it stands inside.
        data_bytes: Of the packed data.
        sizes: By GPU.
        changed: False where the very same lay there.
        notes: For a person.
    """

    path: Path
    archive: Path | None
    data_bytes: int
    sizes: Mapping[str, Size]
    changed: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "notebook": str(self.path),
            "data": None if self.archive is None else str(self.archive),
            "data_bytes": self.data_bytes,
            "sizes": {name: size.to_json() for name, size in self.sizes.items()},
            "changed": self.changed,
            "notes": list(self.notes),
        }


def write_notebook(request: NotebookRequest) -> WrittenNotebook:
    """Write a notebook and, unless it is small, its data beside it.

    Raises:
        InputError: If the data is not there, the base is a folder of this machine, another
            notebook is in the way, or a token would get into it.
        OutOfSpaceError: If the disk is full.
    """
    config = _with_base(request.config, request.base)
    _make(request.folder)
    path = request.folder / f"{config.experiment_id}.ipynb"
    archive = request.folder / f"{config.experiment_id}_data.zip"
    draft = archive.with_name(f".{archive.name}.{os.getpid()}.draft")
    sizes, notes = suggest_sizes(config)
    try:
        packed = write_parcel(collect(config), draft)
        inside = _is_inside(request.data, packed)
        text = render_notebook(_values(config, request, packed, archive.name, sizes, inside=inside))
        _refuse_secrets(f"{text}\n{spell_config(config)}\n{request.install}")
        changed = _put(path, text, archive, draft, inside=inside, replace=request.replace)
    finally:
        draft.unlink(missing_ok=True)
    return WrittenNotebook(
        path, None if inside else archive, packed.bytes, sizes, changed, tuple(notes)
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made: {error.strerror}. Give another folder with -o."
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} may not be written to. Give another folder with -o.")


def _with_base(config: TrainConfig, base: str | None) -> TrainConfig:
    """Return the configuration with a base that another machine can have.

    Raises:
        InputError: If it is none.
    """
    name = config.base if base is None else base
    if looks_like_repository(name) and (base is not None or existing_path(name) is None):
        repository, _, revision = name.partition("@")
        change = {"base": repository} | ({"revision": revision} if revision else {})
        return config.model_copy(update=change)
    raise InputError(
        f"The base {name!r} is no repository of the Hugging Face Hub, and a hosted machine has no "
        "folders of this one. Name the repository with --base OWNER/NAME."
    )


def _is_inside(where: Where, packed: Packed) -> bool:
    if where == "inside" and packed.bytes > LARGEST_INSIDE:
        raise InputError(
            f"The data has {format_bytes(packed.bytes)}, packed; a notebook holds at most "
            f"{format_bytes(LARGEST_INSIDE)}. Leave it beside the notebook."
        )
    return where == "inside" or (where == "auto" and packed.bytes <= MOST_INSIDE)


def _values(
    config: TrainConfig,
    request: NotebookRequest,
    packed: Packed,
    archive: str,
    sizes: Mapping[str, Size],
    *,
    inside: bool,
) -> dict[str, Any]:
    """Return what the template asks for."""
    names = [PLATFORMS[platform] for platform in request.platforms]
    data = base64.b64encode(packed.path.read_bytes()).decode("ascii") if inside else None
    return {
        "id": config.experiment_id, "description": config.description, "base": config.base,
        "task": config.task,
        "version": __version__, "install": request.install, "where": " or ".join(names),
        "colab": "colab" in request.platforms, "kaggle": "kaggle" in request.platforms,
        "archive": archive, "archive_size": format_bytes(packed.bytes), "inside": data,
        "folder": archive.removesuffix(".zip"), "digest": packed.checksums_sha256,
        "content_bytes": packed.content_bytes,
        "wandb": "wandb" in config.reporters,
        "effective": config.optimiser.batch * config.optimiser.accumulation,
        "sizes": {name: size.to_json() for name, size in sizes.items()},
        "otherwise": own_size(config).to_json(),
    }  # fmt: skip


def _refuse_secrets(text: str) -> None:
    found = _SECRETS.search(text)
    if found is not None:
        raise InputError(
            f"The notebook would hold what looks like a token ({found[0][:6]}...). Take it out of "
            "the configuration or of --install; the notebook asks the platform's secrets for it."
        )


def _put(path: Path, text: str, archive: Path, draft: Path, *, inside: bool, replace: bool) -> bool:
    """Give both files their names; tell whether anything changed.

    Raises:
        InputError: If something else has one of the names.
    """
    data = text.encode("utf-8")
    same = _holds(path, data) and (inside or _holds(archive, draft.read_bytes()))
    if same:
        return False
    taken = [p for p in ((path,) if inside else (archive, path)) if os.path.lexists(p)]
    if taken and not replace:
        raise InputError(
            f"{taken[-1]} is there already and differs. Give --replace to write it anew, or "
            "another folder with -o."
        )
    if not inside:
        draft.replace(archive)
    write_atomically(path, data)
    return True


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
