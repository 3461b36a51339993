"""What an adapter is, from its headers: kind, rank, shapes, sizes, base, and what lies beside it.

No values are decoded and no torch is needed; only the hashes read whole files, once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.fingerprint import candidates, fingerprint
from loragraft.adapter.leftovers import Leftover, find_leftovers
from loragraft.adapter.naming import read_name
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.adapter.sizes import expected_bytes, expected_bytes_for_rank
from loragraft.artifact.hash_cache import cached_sha256
from loragraft.errors import AdapterError

_MAX_HASHED = 64
"""Files of the folder that are hashed; an adapter has about ten."""
_LAYER = re.compile(r"\.(\d{1,6})\.")


@dataclass(frozen=True)
class AdapterReport:
    """What an adapter is.

    Attributes:
        path: The weights file.
        format: Whose layout it is: peft or mlx.
        type: PEFT's type, with its variants: ``LORA``, ``LORA (DoRA, rsLoRA)``.
        task: What it was trained for, as configured.
        ranks: Every rank that its pairs have.
        alphas: Every alpha.
        scalings: Every factor before B·A.
        targets: Last names of the adapted modules, and how many of each there are.
        modules: How many LoRA pairs it has.
        layers: Layer indices as ranges (``0-29``), None where names hold none.
        saved: Tensors of the base that it replaces whole.
        token_rows: Embeddings of which it trained single rows.
        parameters: Elements in the file.
        dtypes: Elements by dtype.
        bytes: Size of the weights file.
        expected_bytes: Size by its shapes and dtypes.
        expected_bytes_for_rank: Size if every pair had the configured rank.
        claimed_base: The base that the configuration names.
        name_says: What the folder's name says of the base, in words.
        widths: Widths of the base as the shapes show them.
        candidates: Known bases that the shapes do not rule out, the likelier first.
        leftovers: What a training left beside it.
        hashes: SHA-256 of the folder's files by name; empty where not wanted.
        notes: What was decided while it was looked for.
    """

    path: Path
    format: str
    type: str
    task: str | None
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    scalings: tuple[float, ...]
    targets: Mapping[str, int]
    modules: int
    layers: str | None
    saved: tuple[str, ...]
    token_rows: tuple[str, ...]
    parameters: int
    dtypes: Mapping[str, int]
    bytes: int
    expected_bytes: int
    expected_bytes_for_rank: int
    claimed_base: str | None
    name_says: str
    widths: Mapping[str, int]
    candidates: tuple[str, ...]
    leftovers: tuple[Leftover, ...]
    hashes: Mapping[str, str]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "path": str(self.path)}


def inspect_adapter(path: Path, *, hashes: bool = True) -> AdapterReport:
    """Describe an adapter.

    Args:
        path: Folder or file, as :func:`open_adapter` takes it.
        hashes: Whether the files are hashed; a hash is remembered while its file is unchanged.

    Raises:
        AdapterError: If there is none, or its configuration or file is broken.
        UnsupportedError: If it is a pickle, or an MLX adapter that cannot be converted.
    """
    with open_adapter(path) as adapter:
        config, modules = adapter.config, adapter.modules.values()
        shown = fingerprint(adapter)
        dtypes = Counter[str]()
        for info in adapter.tensors.values():
            dtypes[info.dtype] += info.size
        return AdapterReport(
            path=adapter.path,
            format=adapter.location.format,
            type=_type(adapter),
            task=config.task_type,
            ranks=tuple(sorted({module.rank for module in modules})),
            alphas=tuple(sorted({module.alpha for module in modules})),
            scalings=tuple(sorted({module.scaling for module in modules})),
            targets=dict(sorted(Counter(m.name.rpartition(".")[2] for m in modules).items())),
            modules=len(adapter.modules),
            layers=_layers(adapter),
            saved=tuple(adapter.saved),
            token_rows=tuple(adapter.token_rows),
            parameters=adapter.parameters,
            dtypes=dict(dtypes),
            bytes=adapter.path.stat().st_size,
            expected_bytes=expected_bytes(adapter),
            expected_bytes_for_rank=expected_bytes_for_rank(adapter),
            claimed_base=config.base_model_name_or_path,
            name_says=str(read_name(adapter.folder.resolve().name)),
            widths={**shown.widths(), **({"layers": shown.layers} if shown.layers else {})},
            candidates=tuple(base.name for base in candidates(shown)),
            leftovers=find_leftovers(Path(path) if Path(path).is_dir() else adapter.folder),
            hashes=_hashes(adapter) if hashes else {},
            notes=adapter.notes,
        )


def _type(adapter: Adapter) -> str:
    config = adapter.config
    variants = [name for flag, name in ((config.use_dora, "DoRA"), (config.use_rslora, "rsLoRA"))
                if flag]  # fmt: skip
    return f"{config.peft_type} ({', '.join(variants)})" if variants else config.peft_type


def _layers(adapter: Adapter) -> str | None:
    """Return the adapted layers as ranges: ``0-11, 14``."""
    matches = (_LAYER.search(f".{name}.") for name in adapter.modules)
    numbers = sorted({int(match[1]) for match in matches if match is not None})
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return ", ".join(words) or None


def _hashes(adapter: Adapter) -> dict[str, str]:
    """Hash the folder's own files; those of folders below are others' business."""
    found: dict[str, str] = {}
    try:
        files = sorted(path for path in adapter.folder.iterdir() if path.is_file())
        for path in files[:_MAX_HASHED]:
            found[path.name] = cached_sha256(path)
    except OSError as error:
        raise AdapterError(
            f"Cannot read {error.filename or adapter.folder}: {error.strerror or error}. "
            "Check the permissions there."
        ) from None
    return found
