"""``task: embedding``: a SentenceTransformer learns which texts belong together, by LoRA.

The adapter sits on the encoder inside, where ``SentenceTransformer.load_adapter``, an index with
``BASE+ADAPTER`` and ``adapter merge-embedder`` look for it. Before it is published it is loaded
again the way it will be used, and must change what is embedded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.adapter.embedder import (
    MODULES_FILE,
    PROBE_SENTENCES,
    embed,
    encoder_folder,
    get_encoder,
    is_embedder,
    load_embedder,
    set_encoder,
)
from loragraft.adapter.peft_loading import quiet
from loragraft.artifact.progress import Progress
from loragraft.dataset.records import Embedding
from loragraft.dataset.split.seed import rank
from loragraft.embedding.sentence_transformer import model_prompts
from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import (
    CheckFailedError,
    InputError,
    MissingExtraError,
    NonFiniteError,
    UnsupportedError,
)
from loragraft.training.causal_lm import count_parameters
from loragraft.training.config import TrainConfig
from loragraft.training.encoder_targets import choose_encoder_targets
from loragraft.training.encoder_tasks import length_facts, refuse_foreign, sample_order, told_twice
from loragraft.training.job import Job
from loragraft.training.load import add_adapter, check_base, require_training
from loragraft.training.log import Sample
from loragraft.training.pair_loss import (
    POSITIVE,
    Pair,
    Prompts,
    count_tokens,
    make_collate,
    make_count,
    make_loss,
)
from loragraft.training.precision import without_autocast
from loragraft.training.records import Read, data_facts, read_parts
from loragraft.training.rows import Part
from loragraft.training.saving import save_adapter
from loragraft.training.scoring import known, spearman
from loragraft.training.targets import linear_modules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TASK_TYPE = "FEATURE_EXTRACTION"
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference of an element of a probe's unit vector between the trained model and the
adapter that was saved in a type. A lost layer moves MiniLM's by 1e-2, a GPU's rounding by 1e-6."""


def build_embedding(config: TrainConfig, base: Path, progress: Progress) -> Job:
    """Load a SentenceTransformer with a fresh adapter, and read pairs.

    Raises:
        MissingExtraError: If a package is missing.
        UnsupportedError: If the base is no SentenceTransformer.
        InputError: If the data holds no pairs that its loss can learn from; if the configuration
            asks for what only language models have.
        CheckpointError: If the base cannot be loaded.
    """
    require_training(config)
    _require_sentence_transformers()
    refuse_foreign(config)
    _require_embedder(base)
    read = read_parts(config, Embedding)
    train = _learnt(config, read["train"].records)
    progress.begin(f"Loading {base.name}", 0)
    model, wrapped, prompts = _load(config, base)
    loss = config.embedding.loss
    validation = _compared(config, read["validation"].records)
    similarities = _Similarities(
        model, prompts, config, read["validation"].records,
        sample_order(config, read["validation"].records),
    )  # fmt: skip
    return Job(
        model=wrapped, train=train, validation=validation,
        collate=make_collate(model, loss, prompts), loss=make_loss(model, loss),
        count=make_count(loss), tokens=count_tokens,
        save=_Saving(model, wrapped, config, base).save, answer=similarities.answer,
        metrics=similarities.metrics, notes=_notes(config, read, train, validation),
        facts={
            **data_facts(read, [*train, *validation, prompts]), **count_parameters(wrapped),
            **{part: _facts(model, prompts, one) for part, one in read.items()},
            "prompts": {"a": prompts.a, "b": prompts.b},
        },
    )  # fmt: skip


def _require_sentence_transformers() -> None:
    import importlib.util

    if importlib.util.find_spec("sentence_transformers") is None:
        raise MissingExtraError("sentence_transformers", "train", "Training an embedder")


def _require_embedder(base: Path) -> None:
    if not is_embedder(base):
        raise UnsupportedError(
            f"{base} is no SentenceTransformer: it has no {MODULES_FILE}. "
            "SentenceTransformer(folder).save_pretrained makes one of a bare encoder."
        )


def _load(config: TrainConfig, base: Path) -> tuple[Any, Any, Prompts]:
    """Return the SentenceTransformer, the ``PeftModel`` inside it, and its prompts."""
    check_base(encoder_folder(base))
    with quiet():
        model = load_embedder(base)
    encoder = get_encoder(model)
    encoder.config.use_cache = False
    inside = [name for name in linear_modules(encoder) if "pooler" not in name]
    targets = choose_encoder_targets(config.lora, inside, config.base)
    wrapped = add_adapter(config, encoder, task=TASK_TYPE, targets=targets)
    set_encoder(model, wrapped)
    model.max_seq_length = min(model.max_seq_length or config.optimiser.max_length,
                               config.optimiser.max_length)  # fmt: skip
    found = model_prompts(base, EmbedderSpec())
    return model, wrapped, Prompts(found["query"], found["document"])


def _taken(config: TrainConfig, records: Sequence[Embedding]) -> list[Pair]:
    """Return the pairs that the loss can use: for ``negatives``, those that belong together."""
    pairs = [Pair(record.id, record.a, record.b, record.label) for record in records]
    if config.embedding.loss != "negatives":
        return pairs
    return [pair for pair in pairs if pair.label > POSITIVE]


def _learnt(config: TrainConfig, records: Sequence[Embedding]) -> list[Pair]:
    """Return what is learnt.

    Raises:
        InputError: If the loss can learn nothing of it.
    """
    pairs = _taken(config, records)
    labels = {pair.label for pair in pairs}
    loss = config.embedding.loss
    if loss == "negatives" and len(pairs) < 2:
        raise InputError(
            f"Of {len(records)} pairs {len(pairs)} have a label above {POSITIVE:g}, which loss: "
            "negatives learns from. Give pairs that belong together, or take embedding.loss: "
            "ranking."
        )
    if loss == "ranking" and len(labels) < 2:
        raise InputError(
            f"All {len(pairs)} pairs have the label {labels.pop():g}, so that loss: ranking has "
            "nothing to order. Take embedding.loss: negatives, or pairs of different labels."
        )
    if loss != "cosine" and config.optimiser.batch < 2:
        raise InputError(
            f"loss: {loss} compares the pairs of a batch, and optimiser.batch is 1. Raise it; 16 "
            "or more is usual."
        )
    return pairs


def _compared(config: TrainConfig, records: Sequence[Embedding]) -> list[Pair]:
    """Return the pairs whose loss tells whether training helps; none if it can tell of none.

    They come in an order of the seed: data sorted by label would have nothing to compare in a
    batch.
    """
    pairs = _taken(config, records)
    if config.embedding.loss == "negatives" and len(pairs) < 2:
        return []
    if config.embedding.loss == "ranking" and len({pair.label for pair in pairs}) < 2:
        return []
    return sorted(pairs, key=lambda pair: rank(config.seed, "validation", pair.id))


def _facts(model: Any, prompts: Prompts, read: Read[Embedding]) -> dict[str, Any]:  # noqa: ANN401
    tokenizer, most = model.tokenizer, model.max_seq_length
    texts = [prompts.a + record.a for record in read.records]
    texts += [prompts.b + record.b for record in read.records]
    lengths: list[int] = []
    if texts:
        with quiet():
            lengths = [len(ids) for ids in tokenizer(texts, truncation=False)["input_ids"]]
    cut = [length - most for length in lengths if length > most]
    return {
        **read.facts, "examples": len(read.records),
        **length_facts([min(length, most) for length in lengths]),
        "cut": {"texts": len(cut), "tokens": sum(cut)},
    }  # fmt: skip


def _notes(
    config: TrainConfig,
    read: Mapping[Part, Read[Embedding]],
    train: Sequence[Pair],
    validation: Sequence[Pair],
) -> tuple[str, ...]:
    notes = []
    unused = len(read["train"].records) - len(train)
    if unused:
        notes.append(
            f"{unused} of {len(read['train'].records)} pairs have a label of {POSITIVE:g} or less; "
            f"loss: {config.embedding.loss} does not learn from them."
        )
    if read["validation"].records and not validation:
        notes.append(
            f"The {len(read['validation'].records)} validation pairs give loss: "
            f"{config.embedding.loss} nothing to compare; they are left out."
        )
    texts = {part: [f"{r.a}\n{r.b}" for r in one.records] for part, one in read.items()}
    return (*notes, *told_twice(texts["train"], texts["validation"]))


@dataclass(frozen=True)
class _Similarities:
    """What the model says of the validation pairs."""

    model: Any
    prompts: Prompts
    config: TrainConfig
    records: Sequence[Embedding]
    order: Sequence[int]

    def _cosines(self, records: Sequence[Embedding]) -> list[float]:
        first = self._vectors([record.a for record in records], self.prompts.a)
        second = self._vectors([record.b for record in records], self.prompts.b)
        cosines: list[float] = (first * second).sum(axis=1).tolist()
        return cosines

    def _vectors(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        """Return unit vectors, ``[texts, width]``."""
        mode = self.model.training
        vectors: NDArray[np.float32] = self.model.encode(
            list(texts), batch_size=self.config.optimiser.batch, prompt=prompt or None,
            convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False,
        )  # fmt: skip
        self.model.train(mode)
        return vectors

    def metrics(self) -> dict[str, float]:
        """Return Spearman's correlation of labels and cosines, where labels differ.

        ``own_first`` is the share of pairs that belong together whose first text is nearer to its
        second than to every other's; pairs of the same second text do not compete.
        """
        if not self.records:
            return {}
        labels = [record.label for record in self.records]
        figures: dict[str, float | None] = {
            "spearman": spearman(labels, self._cosines(self.records))
        }
        if self.config.embedding.loss == "negatives":
            figures["own_first"] = self._own_first()
        return known(figures)

    def _own_first(self) -> float | None:
        together = [record for record in self.records if record.label > POSITIVE]
        documents = list(dict.fromkeys(record.b for record in together))
        if len(documents) < 2:
            return None
        questions = self._vectors([record.a for record in together], self.prompts.a)
        found = (questions @ self._vectors(documents, self.prompts.b).T).argmax(axis=1)
        own = [documents[int(at)] == one.b for at, one in zip(found, together, strict=True)]
        return float(sum(own) / len(own))

    def answer(self, index: int) -> Sample | None:
        """Return two texts, their label and their cosine."""
        if index >= len(self.order):
            return None
        record = self.records[self.order[index]]
        (cosine,) = self._cosines([record])
        return Sample(
            record.id, f"{record.a}\n{record.b}", f"{record.label:g}", f"{cosine:.3f}",
            tokens=0, ended=True,
        )  # fmt: skip


@dataclass(frozen=True)
class _Saving:
    """Saves the adapter, and proves that it is loaded as it was trained and has an effect."""

    model: Any
    wrapped: Any
    config: TrainConfig
    base: Path

    def save(self, folder: Path) -> None:
        """Write the adapter.

        Raises:
            CheckFailedError: If it changes nothing, or loads as another one than was trained.
            NonFiniteError: If it embeds as NaN.
        """
        save_adapter(self.wrapped, folder, self.config)
        with quiet():
            loaded = load_embedder(self.base)
            loaded.max_seq_length = self.model.max_seq_length
            plain = embed(loaded, PROBE_SENTENCES)
            found = loaded.load_adapter(str(folder))
            saved = embed(loaded.eval(), PROBE_SENTENCES)
            self.model.eval()
            with without_autocast(self.wrapped):
                trained = embed(self.model, PROBE_SENTENCES)
        _check(plain, saved, trained, TOLERANCES[self.config.adapter_dtype])
        lost = [*getattr(found, "missing_keys", ()), *getattr(found, "unexpected_keys", ())]
        if lost:
            raise CheckFailedError(
                f"SentenceTransformer.load_adapter leaves {len(lost)} keys of the saved adapter "
                f"out, {lost[0]} first. Another version of sentence-transformers may take it."
            )


def _check(
    plain: NDArray[np.float32],
    saved: NDArray[np.float32],
    trained: NDArray[np.float32],
    tolerance: float,
) -> None:
    """Compare vectors of the probes: by the base, by the saved adapter, and by the trained one."""
    import numpy as np

    if not np.isfinite(saved).all():
        raise NonFiniteError(
            "With the trained adapter probe sentences embed as NaN. Lower optimiser.learning_rate."
        )
    if np.array_equal(plain, saved):
        raise CheckFailedError(
            "The trained adapter changes nothing: probe sentences embed exactly as by the base. "
            "Train for more steps, or raise optimiser.learning_rate."
        )
    difference = float(np.abs(saved - trained).max())
    if difference > tolerance:
        raise CheckFailedError(
            f"The saved adapter embeds up to {difference:.3g} away from the trained one, expected "
            f"at most {tolerance:g}. Set adapter_dtype: float32."
        )
