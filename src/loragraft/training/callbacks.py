"""The Trainer's callback that keeps the log; reporters stand in ``reporters.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loragraft.training.watch import Watch

if TYPE_CHECKING:
    from transformers import TrainerCallback

TIMINGS = ("runtime", "samples_per_second", "steps_per_second", "epoch",
           "num_input_tokens_seen")  # fmt: skip
"""What the Trainer adds to its metrics and says nothing of the model."""


def make_callback(watch: Watch) -> TrainerCallback:
    """Return the callback that tells a watch what the Trainer does.

    The trainer itself tells it the losses of batches (:meth:`Watch.hear`) and the gradients' norms
    (:meth:`Watch.gradient`), which no callback is told.
    """
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ANN401
            watch.begin_step()

        def on_pre_optimizer_step(
            self,
            args: Any,  # noqa: ANN401
            state: Any,  # noqa: ANN401
            control: Any,  # noqa: ANN401
            **more: Any,  # noqa: ANN401
        ) -> None:
            watch.set_rate(float(more["optimizer"].param_groups[0]["lr"]))

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ANN401
            watch.end_step(int(state.global_step), float(state.epoch or 0.0))

        def on_evaluate(
            self,
            args: Any,  # noqa: ANN401
            state: Any,  # noqa: ANN401
            control: Any,  # noqa: ANN401
            metrics: dict[str, float] | None = None,
            **more: Any,  # noqa: ANN401
        ) -> None:
            loss, others = split_metrics(metrics or {})
            watch.evaluated(int(state.global_step), float(state.epoch or 0.0), loss, others)

    return Watching()


def split_metrics(metrics: dict[str, float]) -> tuple[float, dict[str, float]]:
    """Divide the Trainer's metrics into the loss and what else says something of the model."""
    plain = {name.removeprefix("eval_"): float(value) for name, value in metrics.items()
             if isinstance(value, (int, float))}  # fmt: skip
    loss = plain.pop("loss")
    return loss, {name: value for name, value in plain.items() if name not in TIMINGS}
