"""What pairs of texts teach a SentenceTransformer: the losses of sentence-transformers, and when.

``cosine`` is a mean over pairs and takes any. ``ranking`` (CoSENT) orders the pairs of a batch: one
of equal labels has no order and teaches nothing. ``negatives`` (in-batch negatives) takes every
other pair of a batch for a wrong one, so pairs that share a text must not stand in one batch: they
are put into groups of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loragraft.training.job import Batch

if TYPE_CHECKING:
    from torch import Tensor

LossName = Literal["cosine", "ranking", "negatives"]
_VECTORS = "vectors"
POSITIVE = 0.5
"""Labels above it count as pairs that belong together, for ``negatives``."""


@dataclass(frozen=True)
class Pair:
    """Two texts and how alike they are, -1 to 1."""

    id: str
    a: str
    b: str
    label: float


@dataclass(frozen=True)
class Prompts:
    """What stands before a question (the first text) and before a document (the second)."""

    a: str = ""
    b: str = ""


def features(model: Any, texts: Sequence[str], prompt: str = "") -> dict[str, Any]:  # noqa: ANN401
    """Return what a SentenceTransformer is given for texts; cut at its longest sequence."""
    preprocess = getattr(model, "preprocess", None)
    if preprocess is not None:
        found: dict[str, Any] = preprocess(list(texts), prompt=prompt or None)
        return found
    found = model.tokenize([prompt + text for text in texts])
    return found


def make_collate(
    model: Any,  # noqa: ANN401 - a SentenceTransformer
    loss: LossName,
    prompts: Prompts,
) -> Callable[[Sequence[Pair]], Batch]:
    """Return the function that makes a batch: its pairs in one or more groups."""

    def collate(pairs: Sequence[Pair]) -> Batch:
        import torch

        groups = apart(pairs) if loss == "negatives" else [list(pairs)]
        return {
            "groups": [
                {
                    "a": features(model, [pair.a for pair in group], prompts.a),
                    "b": features(model, [pair.b for pair in group], prompts.b),
                    "labels": torch.tensor([pair.label for pair in group], dtype=torch.float32),
                }
                for group in groups
            ]
        }

    return collate


def apart(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Return pairs in as few groups as come by taking the first that fits: no text stands twice.

    >>> [len(group) for group in apart([Pair("1", "q", "x", 1), Pair("2", "q", "y", 1)])]
    [1, 1]
    """
    groups: list[tuple[list[Pair], set[str]]] = []
    for pair in pairs:
        texts = {pair.a, pair.b}
        for group, held in groups:
            if not texts & held:
                group.append(pair)
                held |= texts
                break
        else:
            groups.append(([pair], texts))
    return [group for group, _ in groups]


def make_loss(model: Any, loss: LossName) -> Callable[[Any, Batch], Tensor]:  # noqa: ANN401
    """Return the function that sums a batch's loss; see :func:`counted`.

    Args:
        model: The SentenceTransformer around what is trained.
        loss: Which.
    """
    losses = _their_losses()
    kinds = {
        "cosine": losses.CosineSimilarityLoss,
        "ranking": losses.CoSENTLoss,
        "negatives": losses.MultipleNegativesRankingLoss,
    }
    mean: Any = kinds[loss](_given())

    def summed(trained: Any, batch: Batch) -> Tensor:  # noqa: ANN401
        device = next(trained.parameters()).device
        for module in list(model)[1:]:  # the runner moves the encoder only
            module.to(device)
        parts = [_of_group(model, mean, group) * counted(group, loss) for group in batch["groups"]]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    return summed


def _of_group(model: Any, mean: Any, group: Batch) -> Tensor:  # noqa: ANN401
    """Return a group's loss; cosines are compared in float32, whatever the encoder computes in."""
    import torch

    vectors = [model(dict(group[side]))["sentence_embedding"].float() for side in ("a", "b")]
    with torch.autocast(vectors[0].device.type, enabled=False):
        found: Tensor = mean([{_VECTORS: one} for one in vectors], group["labels"])
    return found


def _given() -> Any:  # noqa: ANN401 - a torch module
    """Return what the losses take for a model, and which hands out vectors that are there already.

    Else they would embed texts by themselves, and compare them in what the encoder computes in.
    """
    import torch

    class Given(torch.nn.Module):
        def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"sentence_embedding": features[_VECTORS]}

    return Given()


def _their_losses() -> Any:  # noqa: ANN401 - a module
    """Return sentence-transformers' module of losses, which version 5.4 has moved."""
    from importlib import import_module

    try:
        return import_module("sentence_transformers.sentence_transformer.losses")
    except ModuleNotFoundError:
        return import_module("sentence_transformers.losses")


def make_count(loss: LossName) -> Callable[[Batch], int]:
    """Return the function that counts the pairs of a batch that teach something."""

    def count(batch: Batch) -> int:
        return sum(counted(group, loss) for group in batch["groups"])

    return count


def counted(group: Batch, loss: LossName) -> int:
    """Return of how many pairs a group's loss is the mean; 0 where it has nothing to compare."""
    labels = group["labels"]
    if loss == "negatives" and len(labels) < 2:
        return 0
    if loss == "ranking" and bool((labels == labels[0]).all()):
        return 0
    return len(labels)


def count_tokens(batch: Batch) -> int:
    """Return how many tokens of a batch go through the model."""
    masks = [group[side]["attention_mask"] for group in batch["groups"] for side in ("a", "b")]
    return int(sum(int(mask.sum()) for mask in masks))
