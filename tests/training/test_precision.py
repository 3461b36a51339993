"""What a run computes in, by machine."""

import pytest

from loragraft.training.config import DataConfig, TrainConfig
from loragraft.training.machine import P100, T4, Machine, this_machine
from loragraft.training.precision import choose_precision

OLD = Machine("this processor", "cpu", False, 1 << 34)
NEW = Machine("this processor", "cpu", True, 1 << 34)
A100 = Machine("A100", "cuda", True, 1 << 36)


def config(precision: str = "auto") -> TrainConfig:
    data = DataConfig(tag="any")
    return TrainConfig(experiment_id="x", base="b", data=data, precision=precision)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "name"),
    [(OLD, "float32"), (NEW, "bfloat16"), (A100, "bfloat16"), (T4, "float16"), (P100, "float16")],
)
def test_auto_computes_in_what_the_machine_has_instructions_for(
    machine: Machine, name: str
) -> None:
    chosen = choose_precision(config(), machine)
    assert (chosen.name, chosen.device) == (name, machine.device)
    assert chosen.why.endswith(".")
    assert chosen.why[0].isupper()


def test_what_the_configuration_asks_for_is_obeyed_and_emulation_told() -> None:
    assert choose_precision(config("float32"), A100).name == "float32"
    slow = choose_precision(config("bfloat16"), OLD)
    assert slow.name == "bfloat16"
    assert "emulates" in slow.why
    assert "emulates" not in choose_precision(config("bfloat16"), NEW).why


def test_this_machine_is_described_and_its_type_is_one_of_torch() -> None:
    import torch

    machine = this_machine()
    assert machine.memory > 0
    assert choose_precision(config(), machine).dtype in (
        torch.float32,
        torch.bfloat16,
        torch.float16,
    )
