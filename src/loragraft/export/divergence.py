"""What quantization and the adapter do to the answers, token by token.

The merged model runs in transformers in float32, the GGUF in llama.cpp, the base in transformers;
over every position of a calibration text the distributions of the next token are compared by the
Kullback-Leibler divergence (nats) and by whether the likeliest token is the same. So the effect
of quantization and that of the adapter stand side by side.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.space import require_disk, require_memory
from loragraft.engine.threads import default_threads
from loragraft.errors import BundleError, TokenizerError
from loragraft.export.gates import GateResult
from loragraft.export.logits_child import LlamaLogits

CHUNK_TOKENS = 128
"""Tokens of one sequence: 128 rows of 152,000 logits are 78 MB."""
BLOCK_ROWS = 16
"""Positions compared at once in float64."""
MIN_CLUSTERS = 4
"""From this many chunks on, the error is that of the chunks' means: neighbours are not
independent."""
BROKEN_NATS = 1.0
"""Mean divergence beyond which the file says something else: Q2_K of a 135M model stays below."""
NOTABLE_NATS = 0.2
"""Mean divergence that readers of answers notice."""

LogitSource = Callable[[Sequence[int]], NDArray[np.float32]]


@dataclass(frozen=True)
class Comparison:
    """One model's next-token distributions against another's.

    Attributes:
        kl: Mean Kullback-Leibler divergence, in nats a token.
        kl_error: Its standard error.
        agreement: Share of positions with the same likeliest token.
        agreement_error: Its standard error.
        tokens: Positions compared.
    """

    kl: float
    kl_error: float
    agreement: float
    agreement_error: float
    tokens: int

    def to_json(self) -> dict[str, float]:
        """Return the figures as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Divergence:
    """Effects side by side; those of the adapter are None where there is none.

    Attributes:
        quantization: The GGUF against the merged model.
        adapter: The base against the merged model.
        total: The GGUF against the base.
    """

    quantization: Comparison
    adapter: Comparison | None
    total: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """Return the comparisons as JSON values."""
        pairs = {"quantization": self.quantization, "adapter": self.adapter, "total": self.total}
        return {name: item.to_json() if item else None for name, item in pairs.items()}


class _Tally:
    """Collects per-token figures chunk by chunk."""

    def __init__(self) -> None:
        self._kl: list[NDArray[np.float64]] = []
        self._same: list[NDArray[np.float64]] = []

    def add(self, reference: NDArray[np.float32], other: NDArray[np.float32]) -> None:
        kl, same = compare_logits(reference, other)
        self._kl.append(kl)
        self._same.append(same.astype(np.float64))

    def result(self) -> Comparison:
        kl, kl_error = _mean_and_error(self._kl)
        same, same_error = _mean_and_error(self._same)
        return Comparison(kl, kl_error, same, same_error, sum(len(part) for part in self._kl))


def _mean_and_error(parts: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Mean over all values, and its standard error with chunks as clusters where they suffice."""
    values = np.concatenate(parts)
    mean = float(values.mean())
    if len(parts) < MIN_CLUSTERS:
        spread = float(values.std(ddof=1)) if len(values) > 1 else math.inf
        return mean, spread / math.sqrt(len(values))
    sums = np.array([float((part - mean).sum()) for part in parts])
    clusters = len(parts)
    variance = clusters / (clusters - 1) * float((sums**2).sum()) / len(values) ** 2
    return mean, math.sqrt(variance)


def compare_logits(
    reference: NDArray[np.float32], other: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Compare logits position by position.

    Args:
        reference: Logits, shape [positions, tokens].
        other: Logits of the other model; a padded vocabulary may be longer.

    Returns:
        Divergence KL(reference ‖ other) in nats and whether the likeliest token is the same.

    Raises:
        BundleError: If one of them is not finite.
    """
    width = min(reference.shape[1], other.shape[1])
    kl, same = np.empty(len(reference)), np.empty(len(reference), dtype=np.bool_)
    for start in range(0, len(reference), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        p = _log_softmax(reference[rows, :width])
        q = _log_softmax(other[rows, :width])
        kl[rows] = np.maximum((np.exp(p) * (p - q)).sum(axis=1), 0.0)
        same[rows] = p.argmax(axis=1) == q.argmax(axis=1)
    if not np.isfinite(kl).all():
        raise BundleError("A model gave NaN or infinite logits. Check the export's other gates.")
    return kl, same


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return values


def calibration_text() -> str:
    """Return the packaged calibration text: prose, code, figures and several languages."""
    return files("loragraft.export").joinpath("calibration.txt").read_text(encoding="utf-8")


def token_chunks(tokenizer_folder: Path, text: str, size: int = CHUNK_TOKENS) -> list[list[int]]:
    """Cut a text into token sequences, each with the BOS that the tokenizer puts before a text.

    Raises:
        MissingExtraError: If transformers is not installed.
        TokenizerError: If it cannot load the tokenizer.
    """
    from loragraft.export.peft_engine import require_peft

    require_peft()
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(tokenizer_folder))
    except Exception as error:  # whatever a broken or unknown file leads to there
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TokenizerError(
            f"transformers cannot load the tokenizer of {tokenizer_folder}: {reason} "
            "Install what it names, or put the tokenizer.json there that save_pretrained makes."
        ) from error
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    first = list(tokenizer("a")["input_ids"])[:1]
    prefix = first if first and first[0] == tokenizer.bos_token_id else []
    step = size - len(prefix)
    return [prefix + ids[start : start + step] for start in range(0, len(ids), step)]


def compare_models(
    chunks: Sequence[Sequence[int]],
    merged: LogitSource,
    quantized: LogitSource,
    base: Callable[[], Iterator[NDArray[np.float32]]] | None = None,
) -> Divergence:
    """Run the models over the same chunks, one chunk in memory at a time.

    Args:
        chunks: Token ids.
        merged: The merged model.
        quantized: The GGUF.
        base: Starts an iterator of the base's logits, chunk by chunk.
    """
    quantization, adapter, total = _Tally(), _Tally(), _Tally()
    stored = base() if base is not None else None
    for chunk in chunks:
        reference, found = merged(chunk), quantized(chunk)
        quantization.add(reference, found)
        if stored is not None:
            plain = next(stored)
            adapter.add(reference, plain)
            total.add(plain, found)
    if stored is None:
        return Divergence(quantization.result(), None, None)
    return Divergence(quantization.result(), adapter.result(), total.result())


def require_room(base: Path) -> None:
    """Raise unless the merged model fits into memory in float32.

    Raises:
        OutOfMemoryError: Naming the way that needs less.
    """
    from loragraft.export.peft_engine import memory_needed

    require_memory(
        memory_needed(base, "float32"),
        "--verify full (the merged model in float32)",
        "Use --verify quick, whose gates need no whole model.",
    )


def measure_divergence(
    gguf: Path,
    base: Path,
    adapters: Sequence[tuple[Path, float]] = (),
    *,
    tokenizer: Path | None = None,
    scratch: Path | None = None,
    text: str | None = None,
    threads: int | None = None,
) -> Divergence:
    """Compare a GGUF with the merged model in float32, and both with the base.

    Args:
        gguf: The finished file.
        base: The base checkpoint's folder.
        adapters: Adapters with their scales; none compares with the base alone.
        tokenizer: Folder of the tokenizer, the base's where None.
        scratch: Where the base's logits may be kept meanwhile (4 bytes a token and entry).
        text: Instead of the packaged calibration text.
        threads: Threads of either library; as many as this process may use if None.

    Raises:
        MissingExtraError: If torch, transformers or peft is not installed.
        OutOfMemoryError: If the machine cannot hold the model in float32.
        CheckFailedError: If llama.cpp fails.
    """
    from loragraft.export.peft_engine import load_model, merge_adapters

    threads = threads or default_threads()
    chunks = token_chunks(tokenizer or base, text if text is not None else calibration_text())
    require_room(base)
    with ExitStack() as stack:
        llama = stack.enter_context(LlamaLogits(gguf, context=CHUNK_TOKENS, threads=threads))
        model = load_model(base, "float32")
        spool = None
        if adapters:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
            spool = _spool(_torch_logits(model, threads), chunks, folder / "base-logits.f32")
            model, _ = merge_adapters(model, adapters)
        return compare_models(chunks, _torch_logits(model, threads), llama.logits, spool)


def _torch_logits(model: Any, threads: int) -> LogitSource:  # noqa: ANN401 - a torch module
    import torch

    model.eval()
    torch.set_num_threads(threads)

    def logits(tokens: Sequence[int]) -> NDArray[np.float32]:
        with torch.inference_mode():
            output = model(input_ids=torch.tensor([list(tokens)]), use_cache=False)
        result: NDArray[np.float32] = output.logits[0].float().numpy()
        return result

    return logits


def _spool(
    source: LogitSource, chunks: Sequence[Sequence[int]], path: Path
) -> Callable[[], Iterator[NDArray[np.float32]]]:
    """Write logits to a file; return what reads them back chunk by chunk."""
    width = 0
    with path.open("wb") as file:
        for chunk in chunks:
            values = source(chunk)
            if not width:
                width = values.shape[1]
                total = sum(len(item) for item in chunks) * width * 4
                require_disk(path, total, "--verify full (the base's logits)")
            file.write(values.data.cast("B"))

    def read() -> Iterator[NDArray[np.float32]]:
        with path.open("rb") as file:
            for chunk in chunks:
                data = file.read(len(chunk) * width * 4)
                yield np.frombuffer(data, dtype=np.float32).reshape(len(chunk), width)

    return read


def divergence_gate(divergence: Divergence) -> GateResult:
    """Judge the quantization's effect, next to the adapter's."""
    quantization, adapter = divergence.quantization, divergence.adapter
    expected = f"mean divergence at most {BROKEN_NATS} nats a token"
    measured = (
        f"quantization: KL {quantization.kl:.4f} ± {quantization.kl_error:.4f} nats, top-1 "
        f"{quantization.agreement:.1%}"
    )
    if adapter is not None:
        measured += f"; adapter: KL {adapter.kl:.4f} ± {adapter.kl_error:.4f} nats, top-1 "
        measured += f"{adapter.agreement:.1%}"
    details = divergence.to_json()
    if quantization.kl > BROKEN_NATS:
        step = "The file is broken, or its quantization too coarse: try Q8_0 to tell them apart."
        return GateResult("divergence", "fail", measured, expected, step, details)
    if adapter is not None and quantization.kl > adapter.kl:
        step = "Quantization moves the model more than the adapter does: use a finer one."
        return GateResult("divergence", "warn", measured, expected, step, details)
    if quantization.kl > NOTABLE_NATS:
        step = "Quantization changes the answers noticeably: a finer one keeps more."
        return GateResult("divergence", "warn", measured, expected, step, details)
    return GateResult("divergence", "pass", measured, expected, "", details)
