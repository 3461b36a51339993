"""Train on a hosted machine: a notebook, the data it needs, and what comes back.

The functions below are what the notebook itself calls, on that machine.
"""

from loragraft.training.notebook.result import pack_result
from loragraft.training.notebook.session import run_command
from loragraft.training.notebook.show import show_log
from loragraft.training.notebook.state import (
    choose_size,
    forget_unfinished,
    keeping,
    restore_unfinished,
)
from loragraft.training.notebook.unpack import unpack_data

__all__ = [
    "choose_size",
    "forget_unfinished",
    "keeping",
    "pack_result",
    "restore_unfinished",
    "run_command",
    "show_log",
    "unpack_data",
]
