"""Does llama.cpp load the file, and does one forward pass give sane logits?

Run as ``python -m loragraft.export.load_check GGUF [TOKENIZER]`` it prints what it measured as
JSON. The parent calls :func:`load_check`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.artifact.child import child_command, run_child
from loragraft.engine.threads import default_threads
from loragraft.errors import LoragraftError
from loragraft.export.gates import GateResult
from loragraft.export.memory import anonymous_bytes, peak_resident_bytes

TEXT = "The quick brown fox jumps over the lazy dog. In 2024, 3 + 4 = 7;\nreturn x"
"""Prose, digits and code: a forward pass that reaches many rows of the vocabulary."""
CONTEXT = 256
TIMEOUT = 900.0
"""Seconds: a 70B file read cold from a slow disk takes minutes."""
FLAT = 1e-6
"""Logits that vary less than this say nothing."""
SAME = 1e-4
"""Positions whose logits differ by less than this share of their spread are alike."""
MODULE = "loragraft.export.load_check"


@dataclass(frozen=True)
class LoadReport:
    """What the child saw.

    Attributes:
        vocabulary: Number of tokens.
        tokens: Tokens of the test text.
        finite: Share of logits that are finite.
        deviation: Smallest standard deviation of one position's logits.
        distinct: Whether positions differ from each other.
        loss: Mean negative log-likelihood of the text, in nats a token.
        seconds: Loading and forward pass.
        peak_bytes: Most memory resident, mapped file included.
        anonymous_bytes: Memory of its own after the pass.
        log: llama.cpp's warnings.
        parity: The tokenizer comparison's report, if one was asked for.
        llama_version: Version of llama-cpp-python.
    """

    vocabulary: int
    tokens: int
    finite: float
    deviation: float
    distinct: bool
    loss: float | None
    seconds: float
    peak_bytes: int
    anonymous_bytes: int
    log: tuple[str, ...]
    parity: Mapping[str, Any] | None
    llama_version: str

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**vars(self), "log": list(self.log)}


def load_check(
    gguf: Path,
    *,
    tokenizer: Path | None = None,
    timeout: float = TIMEOUT,
    threads: int | None = None,
) -> LoadReport:
    """Load a file in a child process and run one forward pass.

    Args:
        gguf: The file.
        tokenizer: A Hugging Face tokenizer folder to compare token ids with.
        timeout: Seconds after which the child is killed.
        threads: Threads of the pass; as many as this process may use if None.

    Raises:
        CheckFailedError: If the child fails, crashes, is killed or hangs; with its last words.
    """
    arguments = [str(gguf.resolve()), str(threads or default_threads())]
    if tokenizer is not None:
        arguments.append(str(tokenizer.resolve()))
    command = child_command(MODULE, arguments)
    answer = run_child(command, timeout=timeout, purpose=f"Loading {gguf.name} in llama.cpp")
    return LoadReport(**{**answer, "log": tuple(answer["log"])})


def load_gate(report: LoadReport) -> GateResult:
    """Judge the forward pass."""
    expected = "finite logits that depend on the text"
    step = "The file is broken. Check its checksum and export it again."
    if report.finite < 1:
        measured = f"{(1 - report.finite):.1%} of the logits are NaN or infinite"
    elif report.deviation < FLAT:
        measured = f"constant logits (standard deviation {report.deviation:.1e})"
    elif not report.distinct:
        measured = "the same logits after every token"
    else:
        measured = (
            f"loaded in llama.cpp, {report.tokens} tokens, loss {report.loss:.2f} nats, "
            f"{report.seconds:.1f} s, {report.anonymous_bytes / 2**20:.0f} MiB of its own"
        )
        return GateResult("load", "pass", measured, expected, "", report.to_json())
    return GateResult("load", "fail", measured, expected, step, report.to_json())


def measure_load(gguf: Path, threads: int, tokenizer: Path | None) -> dict[str, Any]:
    """Do the work of the child: load, run, compare token ids."""
    import llama_cpp
    import numpy as np

    from loragraft.engine.llama_forward import LlamaForward

    start = time.perf_counter()
    with LlamaForward(gguf, context=CONTEXT, threads=threads) as model:
        tokens = model.tokenize(TEXT)[:CONTEXT]
        logits = model.logits(tokens).astype(np.float64)
        vocabulary, log = model.vocabulary, list(model.log)
        seconds = time.perf_counter() - start
        memory = {"peak_bytes": peak_resident_bytes(), "anonymous_bytes": anonymous_bytes()}
    finite = float(np.isfinite(logits).mean())
    sound = finite == 1
    return {
        "vocabulary": vocabulary,
        "tokens": len(tokens),
        "finite": finite,
        "deviation": float(logits.std(axis=1).min()) if sound else 0.0,
        "distinct": bool(sound and np.abs(logits - logits[0]).max() > SAME * logits.std()),
        "loss": _loss(logits, tokens) if sound else None,
        "seconds": round(seconds, 3),
        **memory,
        "log": log[-20:],
        "parity": _parity(gguf, tokenizer) if tokenizer is not None else None,
        "llama_version": str(llama_cpp.__version__),
    }


def _loss(logits: Any, tokens: Sequence[int]) -> float:  # noqa: ANN401 - an array
    import numpy as np

    before = logits[:-1]
    top = before.max(axis=1, keepdims=True)
    total = np.log(np.exp(before - top).sum(axis=1)) + top[:, 0]
    return float((total - before[np.arange(len(before)), tokens[1:]]).mean())


def _parity(gguf: Path, tokenizer: Path) -> dict[str, Any]:
    from loragraft.export.tokenizer.parity import check_token_parity

    try:
        return check_token_parity(gguf, tokenizer).as_json()
    except LoragraftError as error:  # the file loads all the same: another gate's failure
        return {"passed": False, "error": str(error)}


def main(arguments: Sequence[str]) -> int:
    """Run the child; JSON goes to the real stdout, everything else to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)  # llama.cpp and its back ends may print to stdout
    gguf, threads = Path(arguments[0]), int(arguments[1])
    tokenizer = Path(arguments[2]) if len(arguments) > 2 else None
    try:
        result = measure_load(gguf, threads, tokenizer)
    except LoragraftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
