"""A folder appears under its name whole, or not at all.

Everything is written into a hidden staging folder beside the target, so on the same file
system, and gets its name by one rename:

```
OUTPUTS/NAME              the published folder
OUTPUTS/.NAME.staging     what is being written
OUTPUTS/.NAME.journal     what of it is finished, for a run that goes on after a crash
OUTPUTS/.NAME.old         the folder that was replaced, until it is deleted
OUTPUTS/.NAME.lock        held while any of this goes on
```

A replacement exchanges the two folders in one step where the system can; elsewhere the old one
is moved away first, and a crash between the two renames is undone by the next run. A staging
folder without a journal is rubbish: the journal is deleted before the rename, so what an
exchange leaves behind is never taken for unfinished work.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from loragraft.artifact.checksums import CHECKSUMS_NAME
from loragraft.artifact.exchange import exchange
from loragraft.artifact.files import sync_folder, sync_tree
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.metadata import METADATA_NAME
from loragraft.artifact.names import check_name
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import BundleError, InputError, UnavailableError

# What Windows says of a folder in which some process has a file open.
_IN_USE = {errno.EACCES, errno.EPERM, errno.EBUSY}
_CANNOT_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


@contextmanager
def _explain_outputs(outputs: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise InputError(
            f"Nothing can be written into {outputs}: {error.strerror}. "
            "Choose another output folder."
        ) from None


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _restore(target: Path, old: Path) -> None:
    """Bring the names back in order after a crash; the lock is held."""
    if not old.exists():
        return
    if target.exists():
        _remove(old)
    else:
        old.rename(target)
        sync_folder(target.parent)


class Staging:
    """The way of one folder from nothing to its name; a context manager that holds the lock.

    Leaving the block without :meth:`publish` publishes nothing. Unfinished work stays hidden
    for the next run if there is a journal, and is deleted if there is none.

    Attributes:
        target: The folder's final path.
        folder: The staging folder to write into.
        journal_path: Where a journal of this work belongs (see ``journal.py``).
        published: Whether :meth:`publish` is done.
    """

    def __init__(
        self, outputs: Path, name: str, *, replace: bool = False, atomic_exchange: bool = True
    ) -> None:
        """Name the folder; nothing is touched before the block is entered.

        Args:
            outputs: The parent folder, made if missing.
            name: One path segment, see :func:`~loragraft.artifact.names.check_name`.
            replace: Whether an existing folder of that name gives way.
            atomic_exchange: False replaces by two renames even where one would do.

        Raises:
            InputError: If the name is unfit.
        """
        check_name(name)
        self.outputs = outputs
        self.target = outputs / name
        self.folder = outputs / f".{name}.staging"
        self.journal_path = outputs / f".{name}.journal"
        self.published = False
        self._old = outputs / f".{name}.old"
        self._replace = replace
        self._atomic = atomic_exchange
        self._stack = ExitStack()

    def __enter__(self) -> Staging:
        """Take the lock, tidy up after a crash, and make the staging folder.

        Raises:
            LockedError: If another process works on the same name.
            BundleError: If the name is taken and may not be replaced.
            InputError: If the output folder cannot be written to.
        """
        with ExitStack() as stack, _explain_outputs(self.outputs):
            self.outputs.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(self.target.with_name(f".{self.target.name}.lock")))
            _restore(self.target, self._old)
            self._check_target()
            if not self.journal_path.exists():
                _remove(self.folder)
            elif not self.folder.is_dir():
                self.journal_path.unlink()
            self.folder.mkdir(exist_ok=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock; delete what no journal vouches for."""
        try:
            if not self.published and not self.journal_path.exists():
                with suppress(OSError):
                    _remove(self.folder)
        finally:
            self._stack.close()

    def discard(self) -> None:
        """Start over: empty the staging folder and forget the journal."""
        self.journal_path.unlink(missing_ok=True)
        _remove(self.folder)
        self.folder.mkdir()

    def _check_target(self) -> None:
        if not os.path.lexists(self.target):
            return
        if self.target.is_symlink() or not self.target.is_dir():
            raise BundleError(
                f"{self.target} is there and is not a folder. Move it away or choose another "
                "--name."
            )
        if not self._replace:
            raise BundleError(
                f"{self.target} is there already. Choose another --name, or give --replace to "
                "swap it for the new one."
            )
        known = (METADATA_NAME, CHECKSUMS_NAME)
        if any(self.target.iterdir()) and not any((self.target / n).exists() for n in known):
            raise BundleError(
                f"{self.target} holds neither {known[0]} nor {known[1]}: it was not written by "
                "loragraft and is not replaced. Move it away or choose another --name."
            )

    def publish(self) -> Path:
        """Flush everything to the disk and give the folder its name.

        Returns:
            The published folder.

        Raises:
            BundleError: If the name was taken meanwhile.
            OutOfSpaceError: If the disk turns out to be full while flushing.
            UnavailableError: If the old folder is in use (Windows).
        """
        self._check_target()
        with explain_full_disk(self.folder):
            sync_tree(self.folder)
        self.journal_path.unlink(missing_ok=True)
        sync_folder(self.outputs)
        try:
            self._rename()
        except OSError as error:
            if error.errno not in _IN_USE:
                raise
            raise UnavailableError(
                f"{self.target} cannot be replaced: {error.strerror}. Close the programs that "
                "use it and run the command again."
            ) from None
        self.published = True
        with suppress(OSError):  # what stays is deleted by the next run
            _remove(self._old)
        return self.target

    def _rename(self) -> None:
        if not self.target.exists():
            self.folder.rename(self.target)
        elif self._atomic and exchange(self.folder, self.target):
            sync_folder(self.outputs)
            self.folder.rename(self._old)
        else:
            self._swap_by_two_renames()
        sync_folder(self.outputs)

    def _swap_by_two_renames(self) -> None:
        self.target.rename(self._old)
        try:
            self.folder.rename(self.target)
        except BaseException:
            self._old.rename(self.target)
            raise
