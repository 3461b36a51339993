"""A run from its configuration to the published adapter."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loragraft.adapter.findings import Severity, worst
from loragraft.adapter.verify import VerifyRequest, verify_adapter
from loragraft.artifact.checksums import check_checksums
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.progress import Progress
from loragraft.errors import (
    BundleError,
    CheckFailedError,
    InputError,
    LockedError,
    NonFiniteError,
    OutOfSpaceError,
)
from loragraft.training.config import TrainConfig, load_config
from loragraft.training.encoding import IGNORED, Example
from loragraft.training.job import Job, build_job
from loragraft.training.resume import read_state
from loragraft.training.run import Outcome, train
from tests.support.training import Heard, conversations, small_config, write_rows

WEIGHTS = "adapter_model.safetensors"

pytestmark = pytest.mark.usefixtures("one_thread")


def run(config: TrainConfig, folder: Path, base: Path, **more: Any) -> Outcome:  # noqa: ANN401
    """Train into a folder."""
    return train(config, folder / "out", base=str(base), **more)


def interrupt() -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_run_publishes_a_sound_adapter_with_all_that_was_run(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    done = run(config, tmp_path, base)

    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        "adapter_config.json", WEIGHTS, "training_config.yaml", "weights.json", "curves.png",
        "README.md", "EXPERIMENT_METADATA.json", "checksums.txt",
    }  # fmt: skip
    assert check_checksums(done.folder) == []
    assert not list((tmp_path / "out").glob(".small.[!l]*")), "nothing but the lock is left"

    found = verify_adapter(VerifyRequest(done.folder, base, base_name=config.base)).findings
    assert worst(found) is Severity.PASS
    settings = json.loads((done.folder / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["r"]) == ("example/small", 4)

    losses = [one.loss for one in done.log.evaluations]
    assert [one.step for one in done.log.evaluations] == [0, 3, 6, 9, 12]
    assert losses[-1] < losses[0] - 1
    told = done.metadata
    assert told["evaluation_summary"]["validation_loss_before"] == losses[0]
    assert told["evaluation_summary"]["validation_loss"] == losses[-1]
    assert 0 < told["evaluation_summary"]["relative_change_of_weights"]["min"] < 1
    assert told["hyper_parameters"]["steps"] == 12
    assert told["hyper_parameters"]["effective_batch"] == 6
    assert told["dataset"]["train"]["examples"] == 17
    assert [file["part"] for file in told["dataset"]["files"]] == ["train", "validation"]
    assert set(told["base_sha256"]) == {"model.safetensors", "config.json"}
    assert told["verification"]["verdict"] == "pass"
    assert told["training_runtime"]["threads"] == 1
    assert done.log.evaluations[-1].samples[0].expected.startswith("lazy dogs")


def test_the_published_configuration_repeats_the_run(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data", optimiser={"max_steps": 2})
    done = run(config, tmp_path, base)
    again = load_config(done.folder / "training_config.yaml")
    assert again.model_dump(exclude={"data"}) == config.model_dump(exclude={"data"})
    repeated = run(again, tmp_path / "again", base)
    assert (repeated.folder / WEIGHTS).read_bytes() == (done.folder / WEIGHTS).read_bytes()
    assert str(tmp_path) not in (done.folder / "training_config.yaml").read_text()


def test_batch_and_accumulation_do_not_change_the_loss(base: Path, tmp_path: Path) -> None:
    """One step over the same examples, whose answers are of unlike lengths."""
    weights = []
    for batch, accumulation in ((17, 1), (5, 4), (1, 17)):
        sizes = {"batch": batch, "accumulation": accumulation, "epochs": 1, "warmup_steps": 0,
                 "max_gradient_norm": 0, "schedule": "constant"}  # fmt: skip
        config = small_config(tmp_path / "data", held=False, lora={"dropout": 0}, optimiser=sizes)
        exact = config.model_copy(update={"precision": "float32"})  # what bfloat16 rounds is more
        done = run(exact, tmp_path / str(batch), base)
        assert done.metadata["hyper_parameters"]["steps"] == 1
        weights.append((done.log.steps[0], load_file(done.folder / WEIGHTS)))
    first, *others = weights
    for step, tensors in others:
        assert step.loss == pytest.approx(first[0].loss, rel=1e-6)
        assert step.gradient_norm == pytest.approx(first[0].gradient_norm, rel=1e-4)
        for name, value in tensors.items():
            # Adam's first step is the gradient's sign: where that is all but zero, rounding
            # decides it.
            same = torch.isclose(value, first[1][name], atol=1e-6)
            assert same.float().mean() > 0.995


def test_the_best_weights_by_validation_loss_are_published(base: Path, tmp_path: Path) -> None:
    """Training answers are learnt by heart, others are meant to be given: the loss turns."""
    steady = {"schedule": "constant", "warmup_steps": 0, "learning_rate": 2e-2, "epochs": 20}
    config = small_config(
        tmp_path / "data", lora={"dropout": 0}, optimiser=steady,
        evaluation={"every": 2, "patience": 2, "keep": 1},
    )  # fmt: skip
    done = run(config, tmp_path, base)
    chosen = done.metadata["evaluation_summary"]["chosen_step"]
    assert done.log.status == "stopped-early"
    assert done.log.best is not None
    assert done.log.best.step == chosen < done.log.steps[-1].step

    short = small_config(
        tmp_path / "data",
        held=False,
        lora={"dropout": 0},
        optimiser={**steady, "max_steps": chosen},
    )
    until = run(short, tmp_path / "until", base)
    assert (until.folder / WEIGHTS).read_bytes() == (done.folder / WEIGHTS).read_bytes()


def test_without_validation_data_the_last_weights_are_published(base: Path, tmp_path: Path) -> None:
    heard = Heard()
    config = small_config(tmp_path / "data", held=False, optimiser={"max_steps": 2})
    config = config.model_copy(update={"adapter_dtype": "float16"})
    done = run(config, tmp_path, base, progress=heard)
    assert "no validation data" in heard.text
    assert {value.dtype for value in load_file(done.folder / WEIGHTS).values()} == {torch.float16}
    found = done.metadata["evaluation_summary"]
    assert (found["chosen_step"], found["chosen_by"]) == (2, "last step")
    assert done.log.evaluations == ()


def test_an_interrupted_run_goes_on_to_the_same_adapter(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    whole = run(config, tmp_path / "whole", base)
    heard = Heard(5, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=heard)
    assert "The checkpoint of step 3 is kept: the same command goes on from there." in heard.text

    again = Heard()
    done = run(config, tmp_path, base, progress=again)
    assert "Going on from the checkpoint of step 3 of 12." in again.text
    assert done.resumed_from == 3
    assert (done.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()
    assert [one.loss for one in done.log.steps] == [one.loss for one in whole.log.steps]
    assert done.log.evaluations == whole.log.evaluations


def test_patience_goes_on_where_it_was(base: Path, tmp_path: Path) -> None:
    """The loss turns; the run is broken off twice after that, in the middle of epochs."""
    config = small_config(
        tmp_path / "data",
        optimiser={"schedule": "constant", "warmup_steps": 0, "learning_rate": 2e-2, "epochs": 20},
        evaluation={"every": 2, "patience": 3, "keep": 1, "samples": 0},
    )  # fmt: skip
    whole = run(config, tmp_path / "whole", base)
    last = whole.log.evaluations[-1].step
    assert whole.log.status == "stopped-early"
    for stop in (last - 3, last - 1):
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path, base, progress=Heard(stop, interrupt))
    done = run(config, tmp_path, base)
    assert done.resumed_from == last - 2
    assert done.log.evaluations == whole.log.evaluations
    assert (done.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()


def test_a_checkpoint_with_a_changed_file_is_not_gone_on_from(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    whole = run(config, tmp_path / "whole", base)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=Heard(8, interrupt))
    newest = tmp_path / "out" / ".small.staging" / "checkpoints" / "checkpoint-6" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:100])
    done = run(config, tmp_path, base)
    assert done.resumed_from == 3
    assert (done.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()


def test_a_run_goes_back_to_where_its_best_weights_are(base: Path, tmp_path: Path) -> None:
    """Without them a later checkpoint cannot tell what is to be published."""
    heard = Heard()
    steady = {"schedule": "constant", "warmup_steps": 0, "learning_rate": 5e-2}
    config = small_config(
        tmp_path / "data", lora={"dropout": 0}, optimiser=steady, evaluation={"patience": 0}
    )
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=Heard(11, interrupt))
    checkpoints = tmp_path / "out" / ".small.staging" / "checkpoints"
    found = {p.name: read_state(p).best for p in checkpoints.iterdir()}
    best = found["checkpoint-9"]
    assert best is not None
    shutil.rmtree(checkpoints / f"checkpoint-{best}")
    done = run(config, tmp_path, base, progress=heard)
    usable = [int(name[11:]) for name, of in found.items() if of != best]
    assert done.resumed_from == max(usable, default=0)
    assert [one.step for one in done.log.evaluations] == [0, 3, 6, 9, 12]


def test_other_threads_are_told_and_an_epoch_is_an_interval(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data", evaluation={"every": None, "samples": 0})
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=Heard(7, interrupt))
    heard = Heard()
    done = run(config, tmp_path, base, progress=heard, threads=2)
    assert "It was begun with threads 1: the adapter will be a rounding away" in heard.text
    assert done.resumed_from == 6
    assert [one.step for one in done.log.evaluations] == [0, 3, 6, 9, 12]


@pytest.mark.parametrize("changed", ["configuration", "data", "base"])
def test_what_has_changed_begins_anew_and_says_so(
    base: Path, talking: Callable[[str], Path], tmp_path: Path, changed: str
) -> None:
    config = small_config(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=Heard(4, interrupt))
    short = {"optimiser": {"max_steps": 1}} if changed == "configuration" else {}
    config = small_config(tmp_path / "data", **short)
    if changed == "data":
        write_rows(config.data.train[0], conversations(3))
    if changed == "base":
        base = talking("mistral")
    heard = Heard(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=heard)
    assert "The unfinished run of this name had" in heard.text
    assert f"another {changed}" in heard.text
    assert "begins anew" in heard.text
    assert "Going on" not in heard.text


def test_restart_throws_checkpoints_away(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=Heard(4, interrupt))
    heard = Heard(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, base, progress=heard, restart=True)
    assert "Going on" not in heard.text
    assert "begins anew: no checkpoint was written yet" in heard.text


def test_a_name_that_is_taken_is_kept_unless_it_may_be_replaced(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data", held=False, optimiser={"max_steps": 1})
    config = config.model_copy(
        update={"optimiser": config.optimiser.model_copy(update={"warmup_steps": 0})}
    )
    first = run(config, tmp_path, base)
    before = (first.folder / WEIGHTS).read_bytes()
    with pytest.raises(BundleError, match="is there already"):
        run(config, tmp_path, base)
    other = config.model_copy(update={"seed": 1})
    done = run(other, tmp_path, base, replace=True)
    assert (done.folder / WEIGHTS).read_bytes() != before


def test_one_process_trains_under_a_name(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with hold_lock(tmp_path / "out" / ".small.lock"), pytest.raises(LockedError, match="is held"):
        run(small_config(tmp_path / "data"), tmp_path, base)


def test_a_loss_that_is_no_number_ends_the_run_with_cause_and_step(
    base: Path, tmp_path: Path
) -> None:
    config = small_config(
        tmp_path / "data", held=False, lora={"alpha": 1e38},
        optimiser={"warmup_steps": 0, "learning_rate": 1.0},
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match=r"in step \d.*Lower optimiser\.learning_rate"):
        run(config, tmp_path, base)
    assert not (tmp_path / "out" / "small").exists()


def test_an_adapter_that_changes_nothing_is_not_published(base: Path, tmp_path: Path) -> None:
    """A warm-up longer than the run, and a type that has no numbers for what was learnt."""
    heard = Heard()
    tiny = {"max_steps": 2, "warmup_steps": 100, "learning_rate": 1e-9}
    config = small_config(tmp_path / "data", held=False, optimiser=tiny)
    config = config.model_copy(update={"adapter_dtype": "float16"})
    with pytest.raises(CheckFailedError, match="not sound and is not published"):
        run(config, tmp_path, base, progress=heard)
    assert "rises for 100 steps and the run has 2" in heard.text
    assert not (tmp_path / "out" / "small").exists()


@pytest.mark.parametrize("limit", [20_000, 60_000])
def test_a_full_disk_is_explained_and_the_run_goes_on_later(
    base: Path, tmp_path: Path, limit: int
) -> None:
    """Where the weights do not fit, and where the optimiser's state does not."""
    config = small_config(tmp_path / "data", held=False, optimiser={"max_steps": 4})
    with _files_up_to(limit), pytest.raises(OutOfSpaceError, match="checkpoint"):
        run(config, tmp_path, base)
    assert run(config, tmp_path, base).folder.is_dir()


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_room_is_asked_for_checkpoints_that_there_will_be(base: Path, tmp_path: Path) -> None:
    config = small_config(
        tmp_path / "data", held=False, optimiser={"max_steps": 2}, evaluation={"keep": 10**9}
    )
    assert run(config, tmp_path, base).folder.is_dir()


def test_validation_that_counts_nothing_is_refused(base: Path, tmp_path: Path) -> None:
    """A loss of 0 would be the best there can be."""

    def build(config: TrainConfig, folder: Path, progress: Progress) -> Job:
        job = build_job(config, folder, progress)
        return replace(job, validation=[Example("v", (1, 2), (1, IGNORED))])

    with pytest.raises(InputError, match="nothing to compare"):
        run(small_config(tmp_path / "data"), tmp_path, base, build=build)


def test_empty_data_are_refused(base: Path, tmp_path: Path) -> None:
    config = small_config(tmp_path / "data")
    write_rows(config.data.train[0], [])
    with pytest.raises(InputError, match="holds no rows"):
        run(config, tmp_path, base)
    assert not (tmp_path / "out" / ".small.staging").exists()
