"""An adapter as a GGUF of its own, which llama.cpp adds to a base at run time.

llama.cpp computes ``y = W·x + (alpha / rank) · B·(A·x)`` with one ``alpha`` for the whole file and
the rank of each pair of matrices (``src/llama-adapter.cpp`` and ``build_lora_mm`` in
``src/llama-graph.cpp`` of llama-cpp-python 0.3.36). PEFT's scaling may differ from module to module
(rank-stabilised LoRA, rank and alpha patterns): what ``alpha / rank`` does not give is multiplied
into B. Rows of B follow the rows of the base's tensor, which llama.cpp's llama architecture orders
differently for q and k.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.config import streamable
from loragraft.adapter.grouping import LoraModule
from loragraft.adapter.reader import Adapter, open_adapter
from loragraft.artifact.files import sync_folder
from loragraft.artifact.space import explain_full_disk
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError, BundleError, InputError, NonFiniteError, UnsupportedError
from loragraft.export.architectures import Family, TensorSource, find_family, permute_rows
from loragraft.export.delta import HEAD_NAME, Origin, same_values, saved_origin
from loragraft.export.mix.tensor_types import TensorType
from loragraft.export.places import claimed_name
from loragraft.export.prepare import QUANTIZATION_VERSION, OpenAdapter, open_adapters
from loragraft.export.writer import GgufOutput, Item, OutputTensor, write_header

FloatArray = NDArray[np.float32]
LoraDtype = Literal["f32", "f16"]

EMBEDDING = "token_embd.weight"
OUTPUT = "output.weight"

ALORA_KEY = "alora_invocation_tokens"
"""Option of an activated LoRA, which llama.cpp's server applies from those tokens on."""

FOLD_TOLERANCE = 1e-6
"""Relative error of alpha as float32 is at most 6e-8; B is left untouched below this."""

_TYPES: Mapping[LoraDtype, tuple[TensorType, int]] = {
    "f32": (TensorType.F32, 0),
    "f16": (TensorType.F16, 1),
}
"""Tensor type and `general.file_type` of each output format."""

_INSTEAD = "Merge it into the base instead: loragraft export merge-and-quantize."


@dataclass(frozen=True)
class LoraGguf:
    """What was written.

    ``alpha`` is the file's one alpha; ``folded`` counts the modules whose own scaling differs
    from ``alpha / rank``, so that the rest was multiplied into B.
    """

    path: Path
    sha256: str
    nbytes: int
    architecture: str
    modules: int
    alpha: float
    folded: int
    dtype: LoraDtype
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """One module with the GGUF tensor it lands on, and the factor that goes into B."""

    module: LoraModule
    source: TensorSource
    fold: float

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of lora_a and lora_b in numpy order.

        An embedding's A is looked up by rows, one for each token, so it is stored transposed.
        """
        module = self.module
        if module.kind == "embedding":
            rows, width = self.source.shape
            return (rows, module.rank), (width, module.rank)
        return (module.rank, module.in_features), (module.out_features, module.rank)


def export_lora_gguf(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    scale: float = 1.0,
    dtype: LoraDtype = "f32",
    replace_existing: bool = False,
) -> LoraGguf:
    """Open a base and an adapter and write the adapter as a GGUF.

    Of the base's weights only an embedding is read that the adapter holds a copy of.

    Args:
        base: Folder of the base checkpoint.
        adapter: Path of the adapter.
        out: The file to write.
        scale: The user's factor, put into the file's alpha.
        dtype: Format of A and B.
        replace_existing: Whether an existing file gives way.

    Raises:
        LoragraftError: Whatever does not fit, with its cause and the next step.
    """
    with ExitStack() as stack:
        checkpoint = stack.enter_context(Checkpoint(base))
        names = {*checkpoint.tensors, HEAD_NAME}
        with open_adapter(adapter) as first:  # before its keys are looked for in the base
            refuse_unappliable(first)
        [opened], notes = open_adapters([(adapter, scale)], names, stack)
        written = write_lora_gguf(
            opened, checkpoint, out, dtype=dtype, replace_existing=replace_existing
        )
    return replace(written, notes=(*notes, *written.notes))


def write_lora_gguf(
    opened: OpenAdapter,
    base: Checkpoint,
    out: Path,
    *,
    dtype: LoraDtype = "f32",
    replace_existing: bool = False,
) -> LoraGguf:
    """Write an opened adapter as a GGUF LoRA, whole or not at all.

    Args:
        opened: The adapter, the user's scale and the base tensor of each module.
        base: The base it belongs to.
        out: The file to write.
        dtype: Format of A and B: "f32" is exact, "f16" half the size.
        replace_existing: Whether an existing file gives way.

    Raises:
        UnsupportedError: llama.cpp cannot apply this adapter at run time.
        AdapterError: The adapter does not fit the base.
        NonFiniteError: NaN or Inf in the adapter, or an overflow in the output format.
        BundleError: The file is there already.
    """
    _check_out(out, replace_existing)
    family = find_family(base.config)
    refuse_unappliable(opened.adapter)
    _refuse_other_matrix(opened, base)
    alpha, pairs = _pair_up(opened, base, family)
    items = _metadata(opened.adapter, out, alpha, dtype)
    sha256 = _write(out, family.gguf_arch, items, opened.adapter, pairs, dtype)
    return LoraGguf(
        path=out,
        sha256=sha256,
        nbytes=out.stat().st_size,
        architecture=family.gguf_arch,
        modules=len(pairs),
        alpha=alpha,
        folded=sum(pair.fold != 1.0 for pair in pairs),
        dtype=dtype,
    )


def _check_out(out: Path, replace_existing: bool) -> None:
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(
            f"{out} cannot be written: give the path of a file, such as adapter.gguf, in a folder "
            "that exists."
        )
    if out.exists() and not replace_existing:
        raise BundleError(f"{out} is there already. Choose another name, or give --replace.")


def refuse_unappliable(adapter: Adapter) -> None:
    """Refuse what llama.cpp has no way to apply: it knows pairs of A and B, nothing else.

    Raises:
        UnsupportedError: With the reason and what to do instead.
    """
    config = adapter.config
    plain = {key: value for key, value in config.raw.items() if key != ALORA_KEY}
    unmergeable = streamable(replace(config, raw=plain))
    modules = adapter.modules.values()
    dora = [module.name for module in modules if module.magnitude_key is not None]
    biased = [module.name for module in modules if module.bias_key is not None]
    reasons = (
        (unmergeable is not None, unmergeable or ""),
        (bool(dora), f"is a DoRA adapter (magnitudes on {len(dora)} modules), and a GGUF LoRA "
                     "has no place for magnitudes"),
        (bool(biased), f"trained biases with its matrices (lora_bias on {len(biased)} modules), "
                       "which a GGUF LoRA cannot hold"),
        (bool(adapter.biases), f"carries {len(adapter.biases)} whole biases (bias = "
                               f"{config.bias}), which a GGUF LoRA cannot hold"),
        (bool(adapter.saved), f"replaces whole tensors ({_some(adapter.saved)}; "
                              "modules_to_save), which a GGUF LoRA cannot hold"),
        (bool(adapter.token_rows), "replaces rows of an embedding (trainable_token_indices), "
                                   "which a GGUF LoRA cannot hold"),
        (not adapter.modules, "holds no pair of LoRA matrices"),
    )  # fmt: skip
    for applies, reason in reasons:
        if applies:
            raise UnsupportedError(
                f"llama.cpp cannot apply {adapter.path} at run time: it {reason}. {_INSTEAD}"
            )


def _some(names: Mapping[str, object]) -> str:
    shown = ", ".join(map(repr, list(names)[:3]))
    return shown + (", …" if len(names) > 3 else "")


def _refuse_other_matrix(opened: OpenAdapter, base: Checkpoint) -> None:
    """Refuse pairs that were trained on another embedding than the base's.

    PEFT saves the matrix under an adapted embedding or head along, nearly always the base's own.

    Raises:
        UnsupportedError: If its shape or values differ.
    """
    adapter = opened.adapter
    for name, key in adapter.frozen.items():
        tensor = opened.tensors[name.removesuffix(".weight")]
        if tensor not in base.tensors:
            continue  # a tied head: refused with its own reason
        own = Origin(partial(base.rows, tensor), base.tensors[tensor].shape)
        if not same_values(saved_origin(adapter, key), own):
            raise UnsupportedError(
                f"llama.cpp cannot apply {adapter.path} at run time: it was trained on another "
                f"{tensor} than the base's (a resized vocabulary, for instance), which a GGUF LoRA "
                f"cannot hold. {_INSTEAD}"
            )


def _pair_up(opened: OpenAdapter, base: Checkpoint, family: Family) -> tuple[float, list[_Pair]]:
    """Choose alpha and lay each module on its GGUF tensor, in the order of llama.cpp's files."""
    sources = family.tensors(base.config, base.tensors)
    by_source = {source.source: source for source in sources if source.source is not None}
    tied = all(source.gguf_name != OUTPUT for source in sources)
    wanted = {  # alpha that llama.cpp would need for each module
        name: module.scaling * opened.scale * module.rank
        for name, module in opened.adapter.modules.items()
    }
    alpha = common_alpha(wanted.values())
    pairs = []
    for name, module in opened.adapter.modules.items():
        source = by_source.get(opened.tensors[name])
        _check_target(opened.adapter, module, source, tied=tied)
        if source is None:
            raise AdapterError(_not_there(opened.adapter, opened.tensors[name]))
        fold = wanted[name] / alpha
        pairs.append(_Pair(module, source, 1.0 if abs(fold - 1) <= FOLD_TOLERANCE else fold))
    return alpha, sorted(pairs, key=lambda pair: _order(pair.source.gguf_name))


def common_alpha(wanted: Iterable[float]) -> float:
    """Return the most frequent alpha, as the float32 that llama.cpp reads.

    Never zero: llama.cpp takes an alpha of zero for "no scaling at all".
    """
    counts = Counter(float(np.float32(value)) for value in wanted)
    counts.pop(0.0, None)
    usable = [value for value, _ in counts.most_common() if math.isfinite(value)]
    return usable[0] if usable else 1.0


def _order(name: str) -> tuple[int, str]:
    parts = name.split(".")
    return (int(parts[1]) if parts[0] == "blk" else -1, name)


def _not_there(adapter: Adapter, tensor: str) -> str:
    return (
        f"{adapter.path} changes {tensor}, which the base's GGUF does not hold as a tensor of its "
        f"own. {_INSTEAD}"
    )


def _check_target(
    adapter: Adapter, module: LoraModule, source: TensorSource | None, *, tied: bool
) -> None:
    at_head = module.name.rsplit(".", 1)[-1] == HEAD_NAME.removesuffix(".weight")
    if tied and (at_head or module.kind == "embedding"):
        raise UnsupportedError(
            f"llama.cpp cannot apply {adapter.path} at run time: it changes {module.name}, and the "
            "base has one matrix for embedding and output, which a GGUF LoRA cannot change on one "
            f"side only. {_INSTEAD}"
        )
    if source is None:
        return
    embedding = module.kind == "embedding"
    found = (module.out_features, module.in_features)
    found = found[::-1] if embedding else found
    if source.shape != found:
        raise AdapterError(
            f"{adapter.path}: {module.name} is made for a weight of shape {list(found)}, but the "
            f"base's is {list(source.shape)}. This adapter belongs to another base."
        )
    if (source.gguf_name == EMBEDDING) != embedding:
        raise UnsupportedError(
            f"llama.cpp cannot apply {adapter.path} at run time: the matrices of {module.name} are "
            f"laid out for {module.kind} layers, but it lands on {source.gguf_name}. {_INSTEAD}"
        )


def _metadata(adapter: Adapter, out: Path, alpha: float, dtype: LoraDtype) -> list[Item]:
    items: list[Item] = [
        ("general.type", "adapter", "string"),
        ("general.name", out.stem, "string"),
    ]
    claim = adapter.config.base_model_name_or_path
    if claim:
        items += [
            ("general.base_model.count", 1, "u32"),
            ("general.base_model.0.name", claimed_name(claim), "string"),
        ]
    items += [
        ("adapter.type", "lora", "string"),
        ("adapter.lora.alpha", alpha, "f32"),
        ("general.file_type", _TYPES[dtype][1], "u32"),
        ("general.quantization_version", QUANTIZATION_VERSION, "u32"),
    ]
    tokens = adapter.config.raw.get(ALORA_KEY)
    if tokens:
        items.append(("adapter.alora.invocation_tokens", _token_ids(tokens, adapter), "[u32]"))
    return items


def _token_ids(value: object, adapter: Adapter) -> list[int]:
    if not isinstance(value, list) or any(type(t) is not int or not 0 <= t < 2**32 for t in value):
        raise AdapterError(
            f"{adapter.location.config} holds {ALORA_KEY} = {value!r}, expected a list of token "
            "ids. Copy the file again from where the adapter was trained."
        )
    return value


def _output_tensors(pairs: Sequence[_Pair], dtype: LoraDtype) -> list[OutputTensor]:
    qtype = _TYPES[dtype][0]
    itemsize = 4 if qtype is TensorType.F32 else 2
    return [
        OutputTensor(
            f"{pair.source.gguf_name}.{suffix}", shape, qtype, shape[0] * shape[1] * itemsize
        )
        for pair in pairs
        for suffix, shape in zip(("lora_a", "lora_b"), pair.shapes, strict=True)
    ]


def _matrices(adapter: Adapter, pair: _Pair) -> Iterator[FloatArray]:
    """Yield lora_a and lora_b of one module, B scaled and in the base's row order."""
    a, b = adapter.array(pair.module.a_key), adapter.array(pair.module.b_key)
    for key, values in ((pair.module.a_key, a), (pair.module.b_key, b)):
        if not np.isfinite(values).all():
            raise NonFiniteError(f"{adapter.path}: {key} holds NaN or Inf. The adapter is broken.")
    yield a.T if pair.module.kind == "embedding" else a
    if pair.fold != 1.0:
        b = (b.astype(np.float64) * pair.fold).astype(np.float32)
    if pair.source.heads is not None:
        b = permute_rows(b, pair.source.heads)
    yield b


def _encode(values: FloatArray, name: str, dtype: LoraDtype) -> NDArray[np.uint8]:
    with np.errstate(over="ignore"):
        encoded = values if dtype == "f32" else values.astype(np.float16)
    if not np.isfinite(encoded).all():
        raise NonFiniteError(
            f"{name} overflows in the format {dtype}. Write it as f32, or check the adapter's "
            "scaling: such large values are rarely meant."
        )
    return np.ascontiguousarray(encoded).view(np.uint8)


def _write(
    out: Path,
    architecture: str,
    items: Sequence[Item],
    adapter: Adapter,
    pairs: Sequence[_Pair],
    dtype: LoraDtype,
) -> str:
    """Write to a draft beside the file, then give it its name; return the SHA256."""
    tensors = _output_tensors(pairs, dtype)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with explain_full_disk(out, sum(tensor.padded for tensor in tensors)):
            sha256 = _write_draft(draft, architecture, items, adapter, pairs, tensors, dtype)
        draft.replace(out)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(out.parent)
    return sha256


def _write_draft(
    draft: Path,
    architecture: str,
    items: Sequence[Item],
    adapter: Adapter,
    pairs: Sequence[_Pair],
    tensors: Sequence[OutputTensor],
    dtype: LoraDtype,
) -> str:
    write_header(draft, architecture, items, tensors)
    output = GgufOutput(draft, draft.read_bytes(), tensors)
    output.open()
    try:
        for pair in pairs:
            for values in _matrices(adapter, pair):
                output.append(_encode(values, tensors[output.done].name, dtype))
                output.finish_tensor()
        return output.finish()
    finally:
        output.close()
