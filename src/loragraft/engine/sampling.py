"""Choose the next token from its logits, the same way for every engine in this process.

The order is llama.cpp's own: repetition, top-k, top-p, min-p, temperature, then chance. Here
rather than in llama.cpp, so that a seed means the same in every release and engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loragraft.engine.protocol import Sampling
from loragraft.errors import BundleError, InputError

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

REPEAT_WINDOW = 64
"""Last tokens that the repetition penalty looks at: llama.cpp's and Ollama's default."""
FIRST_CANDIDATES = 256
"""Candidates that are sorted at first for top-p: few distributions need more."""


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings that mean nothing.

    Raises:
        InputError: Naming the setting, its value and what it may be.
    """
    limits = (
        ("temperature", sampling.temperature, 0 <= sampling.temperature < float("inf"),
         "0 (the likeliest token) or more"),
        ("top_k", sampling.top_k, sampling.top_k >= 0, "0 (all) or more"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "above 0, and at most 1 (all)"),
        ("min_p", sampling.min_p, 0 <= sampling.min_p <= 1, "between 0 (none) and 1"),
        ("repeat_penalty", sampling.repeat_penalty, 0 < sampling.repeat_penalty < float("inf"),
         "above 0 (1 for none)"),
        ("max_tokens", sampling.max_tokens, sampling.max_tokens >= 1, "1 or more"),
    )  # fmt: skip
    for name, value, allowed, expected in limits:
        if not allowed:
            raise InputError(f"{name} is {value}; it must be {expected}.")


class Sampler:
    """Chooses token after token of one answer."""

    def __init__(self, sampling: Sampling) -> None:
        """Seed the random numbers; a settings' seed gives the same choices every time.

        Raises:
            InputError: If a setting means nothing.
        """
        import numpy as np

        check_sampling(sampling)
        self._sampling = sampling
        seed = sampling.seed
        self._random = np.random.default_rng(None if seed is None else seed % 2**64)

    def choose(self, logits: NDArray[np.float32], said: Sequence[int]) -> int:
        """Return the next token.

        Args:
            logits: Of every token, shape [vocabulary].
            said: Tokens so far, prompt included, for the repetition penalty.

        Raises:
            BundleError: If the logits are not finite: the weights are broken.
        """
        import numpy as np

        if not np.isfinite(logits.max()):  # the largest is NaN as soon as one is
            raise BundleError(
                "The model's next-token distribution holds NaN or infinite values, so there is no "
                "next token. Its weights are broken: check the file's checksum, or export it again."
            )
        logits = self._discourage(logits, said)
        if self._sampling.temperature == 0:
            return int(logits.argmax())
        candidates, values = self._candidates(logits)
        weights = _softmax(values / self._sampling.temperature)
        return int(candidates[_draw(weights, self._random.random())])

    def _discourage(self, logits: NDArray[np.float32], said: Sequence[int]) -> NDArray[np.float32]:
        penalty, recent = self._sampling.repeat_penalty, sorted(set(said[-REPEAT_WINDOW:]))
        if penalty == 1 or not recent:
            return logits
        logits = logits.copy()
        seen = logits[recent]
        seen[seen > 0] /= penalty
        seen[seen < 0] *= penalty
        logits[recent] = seen
        return logits

    def _candidates(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """Return the tokens that may be chosen and their logits, in float64."""
        import numpy as np

        sampling, size = self._sampling, len(logits)
        if 0 < sampling.top_k < size:
            kept = np.sort(np.argpartition(logits, -sampling.top_k)[-sampling.top_k :])
            values = logits[kept].astype(np.float64)
        else:
            kept, values = np.arange(size), logits.astype(np.float64)
        if sampling.top_p < 1:
            nucleus = _nucleus(_softmax(values), sampling.top_p)
            kept, values = kept[nucleus], values[nucleus]
        if sampling.min_p > 0:
            likely = values >= values.max() + np.log(sampling.min_p)
            kept, values = kept[likely], values[likely]
        return kept, values


def _softmax(values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    weights: NDArray[Any] = np.exp(values - values.max())
    weights /= weights.sum()
    return weights


def _nucleus(probabilities: NDArray[Any], mass: float) -> NDArray[np.intp]:
    """Return the fewest likeliest indices that hold a mass together, at least one."""
    import numpy as np

    count, size = min(FIRST_CANDIDATES, len(probabilities)), len(probabilities)
    while True:
        top = np.argpartition(probabilities, -count)[-count:]
        top = top[np.argsort(-probabilities[top], kind="stable")]
        total = probabilities[top].cumsum()
        if total[-1] >= mass or count == size:
            return top[: int(np.searchsorted(total, mass)) + 1]
        count = min(count * 8, size)


def _draw(weights: NDArray[Any], chance: float) -> int:
    """Return the index at which the running sum passes a number between 0 and 1."""
    import numpy as np

    sums = weights.cumsum()
    return min(int(np.searchsorted(sums, chance * sums[-1], side="right")), len(weights) - 1)
