"""``task: causal-lm``: a language model learns the answers of conversations."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress
from loragraft.dataset.split.seed import rank
from loragraft.errors import CheckpointError, InputError
from loragraft.training.chat_format import ChatFormat
from loragraft.training.config import TrainConfig
from loragraft.training.conversations import Conversation, Read, read_conversations
from loragraft.training.encoding import IGNORED, Encoded, Example, collate, encode
from loragraft.training.job import Batch, Job
from loragraft.training.rows import Part

if TYPE_CHECKING:
    from torch import Tensor

    from loragraft.training.log import Sample

PARTS: tuple[Part, ...] = ("train", "validation")


@dataclass(frozen=True)
class Side:
    """Train or validation: what was read, and its tokens.

    Attributes:
        conversations: By id.
        read: Where they are from.
        encoded: Their tokens.
    """

    conversations: Mapping[str, Conversation]
    read: Read
    encoded: Encoded

    @property
    def examples(self) -> tuple[Example, ...]:
        """The tokens that are learnt from."""
        return self.encoded.examples

    def conversation(self, example: Example) -> Conversation:
        """Return the conversation that an example is of."""
        found = self.conversations.get(example.id)
        return found or self.conversations[example.id.rpartition("#")[0]]

    def to_json(self) -> dict[str, Any]:
        """Return what metadata say of them."""
        read = {name: value for name, value in self.read.to_json().items() if name != "files"}
        return {**read, **self.encoded.to_json()}


@dataclass(frozen=True)
class CausalData:
    """What a causal language model learns, before the model is there.

    Attributes:
        tokenizer: The base's.
        train: What is learnt.
        validation: What tells whether it is.
        rows: What of ``train`` goes through the model at once: its examples, or rows that several
            of them are packed into.
    """

    tokenizer: Any
    train: Side
    validation: Side
    rows: Sequence[Example]

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the metadata say of the data."""
        sides = {"train": self.train, "validation": self.validation}
        files = [
            {"part": name, **file.to_json()}
            for name, side in sides.items()
            for file in side.read.files
        ]
        more = {"rows": len(self.rows)} if len(self.rows) != len(self.train.examples) else {}
        return {
            "files": files,
            "split_seed": self.train.read.split_seed,
            "examples_sha256": _digest([*self.rows, *self.validation.examples]),
            **{name: side.to_json() for name, side in sides.items()},
            **more,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a person should read of them."""
        notes = [*_notes("train", self.train), *_notes("validation", self.validation)]
        learnt = {example.ids for example in self.train.examples}
        shared = sum(example.ids in learnt for example in self.validation.examples)
        if shared:
            notes.append(
                f"validation: {shared} of {len(self.validation.examples)} examples stand in train, "
                "too: its loss will look better than it is. dataset leaks tells which."
            )
        return tuple(notes)


def _notes(name: str, side: Side) -> list[str]:
    told = {**side.read.left_out, **side.encoded.dropped, **side.read.notes}
    notes = [f"{name}: {count} {reason}." for reason, count in told.items() if count]
    if side.encoded.shortened:
        notes.append(
            f"{name}: {side.encoded.shortened} conversations were too long and lost their oldest "
            "turns."
        )
    return notes


def _digest(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for one in examples:
        digest.update(repr((one.ids, one.labels, one.positions)).encode())
    return digest.hexdigest()


def read_causal_data(config: TrainConfig, base: Path, progress: Progress) -> CausalData:
    """Read and encode what a causal language model learns; the model is not loaded.

    Raises:
        InputError: If the data cannot be read or nothing of them fits.
        CheckpointError: If the base's tokenizer is broken.
        TemplateError: If it has no chat template, or that refuses the data.
    """
    from loragraft.training.load import load_tokenizer

    progress.begin("Reading the data", 0)
    tokenizer = load_tokenizer(base)
    chat = ChatFormat(tokenizer, think=config.prompt.think)
    train, validation = (_side(config, part, chat) for part in PARTS)
    progress.end()
    if not train.examples:
        raise InputError("The training data are empty; there is nothing to learn.")
    rows: Sequence[Example] = train.examples
    if config.optimiser.packing:
        from loragraft.training.packing import pack

        rows = pack(train.examples, config.optimiser.max_length, config.seed)
    return CausalData(tokenizer, train, validation, rows)


def _side(config: TrainConfig, part: Part, chat: ChatFormat) -> Side:
    conversations, read = read_conversations(config, part, chat.tokenizer)
    encoded = encode(chat, conversations, config.optimiser.max_length)
    return Side({one.id: one for one in conversations}, read, encoded)


def build_causal_lm(
    config: TrainConfig,
    base: Path,
    progress: Progress,
    read: Callable[[TrainConfig, Path, Progress], CausalData] = read_causal_data,
) -> Job:
    """Read the data, and load the base with a fresh adapter.

    Args:
        config: The run's.
        base: The base's folder.
        progress: Who wants to know how far it is.
        read: Reads the data; several runs of the same data may share what was read.

    Raises:
        InputError: As :func:`read_causal_data`; if the base lacks a module that is adapted.
        MissingExtraError: If a package is missing.
    """
    from loragraft.training.load import load_causal, require_training
    from loragraft.training.saving import save_adapter

    require_training(config)
    data = read(config, base, progress)
    progress.begin("Loading the base", 0)
    model, tokenizer = load_causal(config, base)
    progress.end()
    pad = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
    refuse_unfit(model, data, pad, config.base)
    validation = sorted(data.validation.examples, key=lambda one: len(one.ids))
    return Job(
        model=model,
        train=data.rows,
        validation=validation,  # like lengths together: an evaluation pads little
        collate=lambda examples: collate(examples, pad),
        loss=answer_loss(model),
        count=count_answers,
        tokens=count_tokens,
        save=lambda folder: save_adapter(model, folder, config),
        answer=Answers(config, model, data, pad),
        facts={**data.facts, **count_parameters(model)},
        notes=data.notes,
    )


def refuse_unfit(model: Any, data: CausalData, pad: int, base: str) -> None:  # noqa: ANN401
    """Refuse tokens that the model has no row for, and more of them than it has positions.

    Raises:
        CheckpointError: If tokenizer and model do not belong together.
        InputError: If an example is longer than what the model can read.
    """
    examples = [*data.train.examples, *data.validation.examples]
    rows = int(model.get_input_embeddings().weight.shape[0])
    highest = max(pad, *(max(example.ids) for example in examples))
    if highest >= rows:
        raise CheckpointError(
            f"The tokenizer of {base} makes the token {highest}, but the model has {rows} rows: "
            "they do not belong together. Download the base again."
        )
    positions = getattr(model.config, "max_position_embeddings", None)
    longest = max(len(example.ids) for example in examples)
    if isinstance(positions, int) and 0 < positions < longest:
        raise InputError(
            f"The longest example has {longest} tokens, and {base} was made for {positions}. Set "
            f"optimiser.max_length: {positions}."
        )


def count_parameters(model: Any) -> dict[str, int]:  # noqa: ANN401
    """Return how many numbers are trained, and how many there are."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {
        "trained_parameters": sum(size for size, trained in sizes if trained),
        "parameters": sum(size for size, _ in sizes),
    }


def count_answers(batch: Batch) -> int:
    """Return how many tokens of a batch are learnt."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


def count_tokens(batch: Batch) -> int:
    """Return how many tokens of a batch go through the model, padding left out if it is known."""
    mask = batch.get("attention_mask")
    return int(batch["input_ids"].numel() if mask is None else mask.sum())


def answer_loss(model: Any) -> Callable[[Any, Batch], Tensor]:  # noqa: ANN401
    """Return the function that sums the loss of a batch's answers, in nats.

    Logits are computed where one of the batch's rows has an answer, and nowhere else: for a large
    vocabulary they take more memory than all layers together. A model that cannot leave them out
    computes them all; the loss is the same.

    Args:
        model: Whose class is asked whether it can.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    selects = "logits_to_keep" in inspect.signature(inner.forward).parameters

    def loss(model: Any, batch: Batch) -> Tensor:  # noqa: ANN401
        import torch

        inputs = {name: value for name, value in batch.items() if name != "labels"}
        targets = batch["labels"][:, 1:]
        places = (targets != IGNORED).any(0).nonzero().squeeze(1)
        kept = {"logits_to_keep": places} if selects else {}
        logits = model(**inputs, use_cache=False, **kept).logits
        if not selects:
            logits = logits[:, places]
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets[:, places].flatten(),
            ignore_index=IGNORED, reduction="sum",
        )  # fmt: skip

    return loss


class Answers:
    """Lets a model answer validation prompts greedily, in an order that the seed decides."""

    def __init__(self, config: TrainConfig, model: Any, data: CausalData, pad: int) -> None:  # noqa: ANN401
        """Take what is asked, and who."""
        self._model, self._data, self._pad = model, data, pad
        self._most = config.evaluation.sample_tokens
        examples = data.validation.examples
        self._asked = sorted(examples, key=lambda one: rank(config.seed, "sample", one.id))
        self._ends = _ends(model, data)

    def __call__(self, index: int) -> Sample | None:
        """Answer the prompt of an index; None where there is none."""
        from loragraft.training.log import make_sample

        if index >= len(self._asked):
            return None
        example = self._asked[index]
        start, stop = last_answer(example)
        expected = self._text(example.ids[start:stop])
        said = self._continue(example.ids[:start])
        ended = bool(said) and said[-1] in self._ends
        kept = said[:-1] if ended else said
        asked = self._data.validation.conversation(example).asked
        return make_sample(example.id, asked, expected, self._text(kept), kept, ended=ended)

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._data.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _continue(self, ids: Sequence[int]) -> list[int]:
        import torch
        from transformers import GenerationConfig

        from loragraft.adapter.peft_loading import quiet

        prompt = torch.tensor([list(ids)], device=self._model.device)
        positions = getattr(self._model.config, "max_position_embeddings", None)
        room = positions - len(ids) if isinstance(positions, int) else self._most
        settings = GenerationConfig(
            max_new_tokens=max(1, min(self._most, room)), do_sample=False,
            eos_token_id=sorted(self._ends), pad_token_id=self._pad, use_cache=True,
        )  # fmt: skip
        with quiet():
            found = self._model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), generation_config=settings
            )
        return [int(token) for token in found[0, len(ids) :]]


def last_answer(example: Example) -> tuple[int, int]:
    """Return where an example's last answer begins, and where its learnt tokens end."""
    stop = next(at for at in range(len(example.labels), 0, -1) if example.labels[at - 1] != IGNORED)
    start = stop
    while start and example.labels[start - 1] != IGNORED:
        start -= 1
    return start, stop


def _ends(model: Any, data: CausalData) -> frozenset[int]:  # noqa: ANN401
    """Return the tokens that end an answer: those that are named, and those that are learnt."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    learnt = {one.ids[last_answer(one)[1] - 1] for one in data.validation.examples}
    tokens = [*listed, data.tokenizer.eos_token_id, *learnt]
    return frozenset(int(token) for token in tokens if token is not None)
