"""Names in place of this machine's folders, in what goes to others.

Warnings, reasons and findings name files by their whole path, which helps who runs the export and
is nobody else's business: it holds user names and the insides of a network. So every text of a
bundle goes through :meth:`Places.hide` before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from loragraft.adapter.locate import locate_adapter, read_config

_CLAIMS = ("base_model_name_or_path", "model")
"""Where adapters of PEFT and of MLX name their base."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BEFORE = r"(?<![\w.-])"
_AFTER = r"(?![\w-]|\.\w)"
"""A folder's path ends where no character of a longer name follows."""


def hub_snapshot(folder: Path) -> tuple[str, str] | None:
    """Return repository and commit of a folder in the Hub's cache; None for any other.

    The cache has ``models--owner--name/snapshots/COMMIT``.
    """
    for path in (folder.absolute(), folder.resolve()):
        repository = path.parent.parent.name
        if path.parent.name == "snapshots" and repository.startswith("models--"):
            return repository.removeprefix("models--").replace("--", "/"), path.name
    return None


def hub_commit(folder: Path) -> str | None:
    """Return the commit that a folder of the Hub's cache holds; None for any other folder."""
    found = hub_snapshot(folder)
    return found[1] if found is not None and _COMMIT.fullmatch(found[1]) else None


def shared_name(folder: Path) -> str:
    """Return what a folder may be called in front of others: its repository or its own name."""
    found = hub_snapshot(folder)
    return found[0] if found is not None else folder.resolve().name


def adapter_name(weights: Path) -> str:
    """Return an adapter's folder (or repository) and file, without the path of this machine."""
    return f"{shared_name(weights.parent)}/{weights.name}"


def claimed_name(claim: str | None) -> str | None:
    """Return the base that an adapter names; of a path, which is one of another machine, its end.

    Args:
        claim: A repository's name, or a path in the form of any system.
    """
    if claim is None:
        return None
    rooted = claim.startswith(("/", "~", ".", "\\")) or PureWindowsPath(claim).drive
    if not rooted and "\\" not in claim and claim.count("/") < 2:
        return claim
    kind = PureWindowsPath if "\\" in claim else PurePosixPath
    return kind(claim).name or "a folder"


@dataclass(frozen=True)
class Places:
    """Folders of this machine with the names that stand for them in front of others."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, folders: Iterable[tuple[Path, str]], texts: Mapping[str, str]) -> Places:
        """Collect folders, in every form a message may spell them, and further texts.

        Args:
            folders: Each with its name; an earlier one's name counts where two are the same.
            texts: What else is to be replaced.
        """
        names = dict(texts)
        for folder, name in [*folders, *_home()]:
            for form in (folder, folder.absolute(), folder.resolve()):
                if form.parent == form or len(form.parts) < 2:
                    continue  # a root or a bare word would be found in any text
                for text in (str(form), form.as_posix(), repr(str(form))[1:-1]):
                    names.setdefault(text, name)
        return cls(names)

    def hide(self, value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        """Return a text, or JSON with every text in it, with names in place of the folders."""
        if isinstance(value, str):
            return self._hide_text(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hide(item) for item in value]
        return value

    def _hide_text(self, text: str) -> str:
        known = [form for form in self.names if form in text]
        if not known:
            return text
        longest_first = sorted(known, key=len, reverse=True)
        pattern = _BEFORE + f"(?:{'|'.join(map(re.escape, longest_first))})" + _AFTER
        return re.sub(pattern, lambda match: self.names[match[0]], text)


def _home() -> list[tuple[Path, str]]:
    try:
        return [(Path.home(), "~")]
    except RuntimeError:  # this user has none
        return []


def places_of(
    base: Path, adapters: Sequence[tuple[Path, float]], outputs: Path, converter: Path | None = None
) -> Places:
    """Return the folders of this machine that an export's texts may name, with other names.

    Args:
        base: The base checkpoint's folder.
        adapters: Each adapter's path and scale.
        outputs: The folder that the result goes into.
        converter: llama.cpp's script or its folder.
    """
    folders = [(base, _shown(base))]
    claims: dict[str, str] = {}
    for path, _ in adapters:
        folder = path if path.is_dir() else path.parent
        folders.append((folder, _shown(folder)))
        claims |= _claims(read_config(locate_adapter(path).config))
    if converter is not None:
        folder = converter if converter.is_dir() else converter.parent
        folders.append((folder, shared_name(folder)))
    return Places.of([*folders, (outputs, "outputs")], claims)


def _shown(folder: Path) -> str:
    found = hub_snapshot(folder)
    return f"{found[0]}@{found[1][:12]}" if found is not None else shared_name(folder)


def _claims(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the path by which an adapter names its base, in the machine that trained it."""
    claims: dict[str, str] = {}
    for key in _CLAIMS:
        claim = config.get(key)
        name = claimed_name(claim) if isinstance(claim, str) else None
        if isinstance(claim, str) and name is not None and len(claim) > 3 and claim != name:
            claims |= dict.fromkeys((claim, repr(claim)[1:-1]), name)
    return claims
