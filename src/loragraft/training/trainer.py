"""transformers' Trainer, for a :class:`~loragraft.training.job.Job`.

What differs from the Trainer as it is: the loss is a mean over the answers' tokens of the whole
accumulated batch, also in evaluations; the order of the data is a function of seed and epoch;
checkpoints hold what is trained and nothing else, and are sealed when they are whole; numbers that
are none end the run. Import it where transformers may be imported.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from loragraft.artifact.space import explain_full_disk, free_disk
from loragraft.errors import CheckpointError, InputError, OutOfSpaceError
from loragraft.training.config import TrainConfig
from loragraft.training.job import Batch, Job
from loragraft.training.resume import FOLDER, PREFIX, drop_old, read_state, seal
from loragraft.training.steps import count_steps, count_warmup

if TYPE_CHECKING:
    from loragraft.artifact.progress import Progress
    from loragraft.training.precision import Precision
    from loragraft.training.watch import Watch

TRAINED_NAME = "trained.safetensors"
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


class Shuffled(Sampler[list[int]]):
    """Batches of a permutation that seed and epoch decide, whatever was drawn before."""

    def __init__(self, count: int, batch: int, seed: int) -> None:
        """Take the number of examples, how many are a batch, and the seed."""
        self._count, self._batch, self._seed = count, batch, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch; the last may be short."""
        generator = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        order = torch.randperm(self._count, generator=generator).tolist()
        for start in range(0, self._count, self._batch):
            yield order[start : start + self._batch]

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self._count // self._batch)


class ShuffledLoader(DataLoader[Any]):
    """A loader that lets its batches know the epoch, as the Trainer tells it."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0."""
        if isinstance(self.batch_sampler, Shuffled):
            self.batch_sampler.set_epoch(epoch)


class Examples(Dataset[Any]):
    """A sequence as torch's dataset."""

    def __init__(self, items: Sequence[Any]) -> None:
        """Take the examples."""
        self._items = items

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 - the task's
        """Return one."""
        return self._items[index]


def make_arguments(
    config: TrainConfig, folder: Path, job: Job, precision: Precision
) -> TrainingArguments:
    """Return the Trainer's arguments; its files go into a folder below ``folder``."""
    settings, watched = config.optimiser, config.evaluation
    steps = count_steps(config, len(job.train))
    strategy = "epoch" if watched.every is None else "steps"
    arguments = TrainingArguments(
        output_dir=str(folder / FOLDER),
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=count_warmup(config, steps),
        weight_decay=settings.weight_decay,
        max_steps=steps,
        max_grad_norm=settings.max_gradient_norm,
        optim="adamw_torch",
        logging_steps=watched.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy=strategy if job.validation else "no",
        eval_steps=watched.every,
        eval_on_start=bool(job.validation),
        save_strategy=strategy,
        save_steps=watched.every or steps,
        load_best_model_at_end=bool(job.validation),
        metric_for_best_model="loss" if job.validation else None,
        greater_is_better=False,
        seed=config.seed,
        data_seed=config.seed,
        use_cpu=precision.device == "cpu",
        bf16=precision.name == "bfloat16",
        fp16=precision.name == "float16",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        label_names=[],
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # torch's DataParallel would change the batch
    return arguments


class Stepping(TrainerCallback):
    """Tells a progress of each step."""

    def __init__(self, progress: Progress) -> None:
        """Take who is told."""
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ANN401
        """Say that one more step is done."""
        self._progress.advance(1)


class JobTrainer(Trainer):
    """The Trainer of a job.

    Attributes:
        job: What is trained.
    """

    def __init__(
        self,
        job: Job,
        arguments: TrainingArguments,
        config: TrainConfig,
        watch: Watch,
        callbacks: Sequence[TrainerCallback] = (),
        on_saved: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Take a job.

        Args:
            job: What is trained.
            arguments: Of :func:`make_arguments`.
            config: Of the run.
            watch: Told of losses, gradients and what is no number.
            callbacks: More that are told of what happens.
            on_saved: Told of the step of each whole checkpoint.
        """
        self.job, self._config, self._watch, self._on_saved = job, config, watch, on_saved
        self._checkpoints = Path(str(arguments.output_dir))
        patience = config.evaluation.patience
        self._stopping = EarlyStoppingCallback(patience) if patience and job.validation else None
        more = [] if self._stopping is None else [self._stopping]
        with _warnings_off():
            super().__init__(
                model=job.model, args=arguments, train_dataset=Examples(job.train),
                eval_dataset=Examples(job.validation), data_collator=job.collate,
                callbacks=[*callbacks, *more],
            )  # fmt: skip
        self.remove_callback(PrinterCallback)
        self.loss_is_scaled_for_ga = True

    # What is learnt, and in which order.

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch, in its own order."""
        config = self._config
        batches = Shuffled(len(self.job.train), config.optimiser.batch, config.seed)
        return ShuffledLoader(
            Examples(self.job.train), batch_sampler=batches, collate_fn=self.job.collate,
            generator=torch.Generator(),
        )  # fmt: skip

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """Take the batches of a step, and count what their loss is a mean over."""
        taken = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        return taken, sum(self.job.count(batch) for batch in taken)

    def compute_loss(
        self,
        model: Any,  # noqa: ANN401
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401 - the Trainer's
    ) -> Any:  # noqa: ANN401 - the Trainer's
        """Return a batch's share in the mean loss of its step.

        Raises:
            NonFiniteError: If it is no number.
        """
        loss = self.job.loss(model, inputs)
        self._watch.hear(loss, self.job.count(inputs))
        self._refuse(loss, "loss")
        return loss / max(int(num_items_in_batch), 1)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:  # noqa: ANN401
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        self._watch.gradient(norm)
        if not self.args.fp16:  # there such a step is left out, and the scale of the loss lowered
            self._refuse(norm, "gradient")
        return norm

    def _refuse(self, value: Any, what: str) -> None:  # noqa: ANN401
        number = float(value.detach() if isinstance(value, torch.Tensor) else value)
        if not math.isfinite(number):
            raise self._watch.not_finite(self.state.global_step + 1, what, number)

    def floating_point_ops(self, inputs: Batch) -> int:
        """Count nothing: the Trainer's figure is wrong for adapters, and costs time."""
        return 0

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401 - the Trainer's
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return the mean loss of the validation examples and the task's own figures.

        Raises:
            NonFiniteError: If the loss is no number.
            InputError: If they hold nothing that the loss counts.
        """
        self.job.model.eval()
        with torch.no_grad():
            loss = self._mean_loss()
            self._refuse(loss, "validation loss")
            figures = {"loss": loss, **self.job.metrics()}
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
        return metrics

    def _mean_loss(self) -> float:
        size = self._config.optimiser.batch
        total, count = 0.0, 0
        for start in range(0, len(self.job.validation), size):
            batch = self._prepare_inputs(
                self.job.collate(self.job.validation[start : start + size])
            )
            number = self.job.count(batch)
            if number:
                total += float(self.job.loss(self.job.model, batch))
                count += number
        if not count:
            raise InputError(
                "The validation examples give the loss nothing to compare, so it would be 0 "
                "whatever is learnt. Give others, or leave them out."
            )
        return total / count

    # Checkpoints.

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what is trained, bit for bit, into a checkpoint."""
        folder = Path(output_dir or self._checkpoints)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRAINED_NAME).write_bytes(save(dict(trained_tensors(self.job.model))))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ANN401
        step = int(self.state.global_step)
        with explain_full_disk(self._checkpoints), _explain_torch(self._checkpoints):
            super()._save_checkpoint(model, trial)
            seal(self._checkpoints / f"{PREFIX}{step}")
        self._on_saved(step)
        drop_old(self._checkpoints, self._config.evaluation.keep, self.state.best_global_step)

    def _load_best_model(self) -> None:
        """Load nothing: whoever trains takes the checkpoint that he wants."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401
        load_trained(self.job.model, Path(resume_from_checkpoint))
        if self._stopping is not None:  # the Trainer counts from 0 again
            waited = read_state(Path(resume_from_checkpoint)).waited
            self._stopping.early_stopping_patience_counter = waited


def trained_tensors(model: Any) -> Mapping[str, torch.Tensor]:  # noqa: ANN401
    """Return what is trained, by name, on the CPU."""
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_trained(model: Any, checkpoint: Path) -> None:  # noqa: ANN401
    """Put a checkpoint's weights back into a model.

    Raises:
        CheckpointError: If they are another model's.
    """
    saved = load_file(str(checkpoint / TRAINED_NAME))
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if {n: tuple(p.shape) for n, p in wanted.items()} != {
        n: tuple(t.shape) for n, t in saved.items()
    }:
        raise CheckpointError(
            f"{checkpoint} holds other weights than this run trains. Run the command again with "
            "--restart."
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])


@contextmanager
def _explain_torch(folder: Path) -> Iterator[None]:
    """Say that the disk is full where torch only says that it could not write.

    Raises:
        OutOfSpaceError: In its place.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_writers(error):
            raise
        free = 0
        with suppress(OSError):
            free = free_disk(folder)
        raise OutOfSpaceError(
            f"A checkpoint could not be written into {folder}, which has {free:,} bytes free. "
            "Free some room and run the same command again: it goes on from the last checkpoint."
        ) from error


def _is_writers(error: RuntimeError) -> bool:
    """Whether an error is from where torch writes files; their words are of many kinds."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).name == "serialization.py" for frame in frames)


@contextmanager
def _warnings_off() -> Iterator[None]:
    """Keep the Trainer from naming arguments that only its own way would use."""
    logger = logging.getLogger("transformers.trainer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
