"""What the checks of a whole folder look at: the files, the names and, where it opens, the adapter.

The checks of :mod:`loragraft.adapter.checks` need an opened adapter. These also speak of one that
does not open, and of what lies around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from loragraft.adapter.checks import CheckContext
from loragraft.adapter.findings import Finding
from loragraft.adapter.leftovers import Leftover, find_leftovers
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.model import Checkpoint


@dataclass(frozen=True)
class FolderContext:
    """An adapter's folder and what it is held against.

    Attributes:
        path: What the user pointed at.
        folder: The folder of the adapter's files.
        config: Its ``adapter_config.json`` as it stands; empty where it cannot be read.
        opened: What the checks of an opened adapter look at; None where it does not open.
        base: The base checkpoint, where one is given.
        clean_base: The base without any adapter, where one is given.
        source_name: Under which name it was had: a repository's, a dataset's.
        since: The first day on which it may have been trained.
        until: The last one.
    """

    path: Path
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    opened: CheckContext | None = None
    base: Checkpoint | None = None
    clean_base: Checkpoint | None = None
    source_name: str | None = None
    since: date | None = None
    until: date | None = None

    @property
    def adapter(self) -> Adapter | None:
        """The opened adapter."""
        return None if self.opened is None else self.opened.adapter

    @property
    def claimed(self) -> str | None:
        """The base that the configuration names, as PEFT or MLX writes it."""
        for key in ("base_model_name_or_path", "model"):
            name = self.config.get(key)
            if isinstance(name, str) and name:
                return name
        return None

    @property
    def name(self) -> str:
        """The name it goes by: the one it was had under, or its folder's whole path."""
        return self.source_name or str((self.path if self.path.is_dir() else self.folder).resolve())

    @cached_property
    def leftovers(self) -> tuple[Leftover, ...]:
        """What a training left beside the adapter; nothing beside a file of any other folder."""
        if self.path.is_dir():
            return find_leftovers(self.path)
        return find_leftovers(self.folder) if self.config else ()


FolderCheck = Callable[[FolderContext], Finding | None]
