"""A Modelfile into its bundle, and into a workspace."""

from __future__ import annotations

from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.checkpoint.bundle import LocalModel
from loragraft.errors import InputError
from loragraft.ollama.bundle_files import update_files
from loragraft.ollama.compose import placed
from loragraft.ollama.modelfile import Modelfile
from loragraft.ollama.naming import check_tag, spell_folder, suggest_tag

FILE_NAME = "Modelfile"
FOLDER = "ollama"


def write_modelfiles(
    model: LocalModel,
    modelfile: Modelfile,
    *,
    into_bundle: bool,
    workspace: Path | None,
    name: str | None,
) -> list[Path]:
    """Write a Modelfile where it is wanted.

    Args:
        model: What it is for.
        modelfile: As ``compose`` gives it, FROM beside the GGUF.
        into_bundle: Into the bundle, checksum list included.
        workspace: Into ``ollama/NAME/`` of this folder.
        name: NAME, the bundle's by default; dots in it are spelled out.

    Returns:
        What was written.

    Raises:
        InputError: If there is no bundle, a folder cannot be written to, or a value cannot stand
            in a Modelfile; nothing is written then.
    """
    text = modelfile.render()
    written: list[Path] = []
    if into_bundle:
        if model.folder is None:
            raise InputError(
                f"{model.gguf} is a bare file: there is no bundle to write into. Leave --write "
                "out, or give --workspace."
            )
        folder = model.folder
        update_files(folder, lambda: {FILE_NAME: text.encode()})
        written.append(folder / FILE_NAME)
    if workspace is not None:
        written.append(_into_workspace(model, modelfile, workspace, name))
    return written


def _into_workspace(
    model: LocalModel, modelfile: Modelfile, workspace: Path, name: str | None
) -> Path:
    tag = check_tag(name) if name is not None else suggest_tag(model.name)
    # A workspace's folder is one plain name: owner and version of a tag are left out.
    folder = workspace / FOLDER / spell_folder(tag.rpartition(":")[0].rpartition("/")[2])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAME
        write_atomically(path, placed(modelfile, model.gguf, folder).render().encode())
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written to: {error.strerror}. Choose another --workspace."
        ) from None
    return path
