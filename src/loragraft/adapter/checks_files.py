"""Checks of an adapter's files: their size, what lies beside them, and its tokenizer.

Same rules as in :mod:`loragraft.adapter.checks`: one function a failure mode, one line in
:data:`FILE_CHECKS`; None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from loragraft.adapter.context import FolderCheck, FolderContext
from loragraft.adapter.findings import Finding, failed, passed, quote, warned
from loragraft.adapter.leftovers import by_kind
from loragraft.adapter.sizes import expected_bytes
from loragraft.adapter.tokens import TokenIds, read_token_ids
from loragraft.checkpoint.model import Checkpoint
from loragraft.checkpoint.template import resolve_chat_template
from loragraft.errors import TemplateError

_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")
_HARMLESS = ("trainer state", "log", "checkpoint", "script", "model", "adapter")


def check_size(context: FolderContext) -> Finding | None:
    """The file has the size that its shapes and dtypes give."""
    adapter = context.adapter
    if adapter is None:
        return None
    expected, found = expected_bytes(adapter), adapter.path.stat().st_size
    words = f"{expected:,} bytes, by its shapes and dtypes"
    if found == expected:
        return passed("file.size", f"{found:,} bytes", words)
    return failed(
        "file.size", f"{found:,} bytes", words,
        "The file was changed since it was opened, or is still being written. Verify it again.",
    )  # fmt: skip


def _check_leftover(
    kind: str, code: str, expected: str, next_step: str, context: FolderContext
) -> Finding | None:
    names = by_kind(context.leftovers).get(kind, ())
    if not names:
        return None
    return warned(code, f"{len(names)} beside the adapter: {quote(names)}", expected, next_step)


check_data: FolderCheck = partial(
    _check_leftover, "data", "leftovers.data", "no data beside an adapter",
    "Do not evaluate on what it was trained on: compare your test set with these files.",
)  # fmt: skip
check_folds: FolderCheck = partial(
    _check_leftover, "fold", "leftovers.folds", "one adapter, trained once",
    "It is one of several folds: each has seen the other folds' test data. Take the one you mean, "
    "and evaluate it on its own held-out part.",
)  # fmt: skip
check_optimizer: FolderCheck = partial(
    _check_leftover, "optimizer state", "leftovers.optimizer", "the adapter alone",
    "They are pickles, needed only to resume the training. Leave them out where you publish it.",
)  # fmt: skip
check_pickles: FolderCheck = partial(
    _check_leftover, "pickle", "leftovers.pickle", "no pickles",
    "Reading one can run code. Nothing here reads them; do not open them either.",
)  # fmt: skip


def check_training_files(context: FolderContext) -> Finding | None:
    """Say what else the training left; none of it does harm."""
    kinds = by_kind(context.leftovers)
    found = [f"{kind}: {quote(kinds[kind])}" for kind in _HARMLESS if kind in kinds]
    return passed("leftovers.training", "; ".join(found), "anything") if found else None


def check_tokenizer_size(context: FolderContext) -> Finding | None:
    """The tokenizer shipped with the adapter has no id beyond the rows of the embedding."""
    tokens = read_token_ids(context.folder)
    if tokens is None or context.base is None:
        return None
    if tokens.problem is not None:
        return failed(
            "tokenizer.file", tokens.problem, "a tokenizer that can be read",
            "Fetch the file again, or remove it to use the base's.",
        )  # fmt: skip
    rows, where = _vocabulary_rows(context, context.base)
    if rows is None:
        return None
    expected = f"at most {rows} rows, as {where} has"
    if tokens.size <= rows:
        return passed("tokenizer.size", f"{tokens.size} tokens", expected)
    return failed(
        "tokenizer.size", f"{tokens.size} tokens in the adapter's own tokenizer "
        f"({quote(tokens.beyond(rows))} without a row)", expected,
        "The resized embedding is missing from the adapter: fetch it again with "
        "modules_to_save, or take the base it was trained on.",
    )  # fmt: skip


def _vocabulary_rows(context: FolderContext, base: Checkpoint) -> tuple[int | None, str]:
    """Return how many tokens base and adapter together have rows for, and which of them says so."""
    adapter = context.adapter
    if adapter is not None:
        kept = {**adapter.saved, **adapter.frozen}
        shapes = {name: adapter.tensors[key].shape for name, key in kept.items()}
        rows = _embedding_rows(shapes)
        if rows is not None:
            return rows, "the adapter's own embedding"
    return _base_rows(base), "the base's embedding"


def _base_rows(base: Checkpoint) -> int | None:
    rows = _embedding_rows({name: info.shape for name, info in base.tensors.items()})
    declared = base.config.get("vocab_size")
    return declared if rows is None and type(declared) is int else rows


def _embedding_rows(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    found = (shape[0] for name, shape in shapes.items()
             if name.endswith(_EMBEDDINGS) and len(shape) == 2)  # fmt: skip
    return next(found, None)


def check_vocabulary_shipped(context: FolderContext) -> Finding | None:
    """An adapter that resized the vocabulary brings the tokenizer that goes with it."""
    adapter, base = context.adapter, context.base
    if adapter is None or base is None:
        return None
    rows, where = _vocabulary_rows(context, base)
    own = _base_rows(base)
    if rows is None or own is None or rows <= own or read_token_ids(context.folder) is not None:
        return None
    return warned(
        "tokenizer.missing", f"{where} has {rows} rows and no tokenizer beside it",
        f"{own} rows, as in the base, or the tokenizer with the added tokens",
        "Copy the tokenizer from where the adapter was trained: nobody knows which tokens the new "
        "rows stand for.",
    )  # fmt: skip


def check_tokenizer_ids(context: FolderContext) -> Finding | None:
    """The tokenizer shipped gives the base's tokens the base's ids."""
    own = read_token_ids(context.folder)
    if own is None or own.problem or context.base is None:
        return None
    base = read_token_ids(context.base.folder)
    if base is None or base.problem:
        return None
    moved = [token for token, number in own.ids.items() if base.ids.get(token, number) != number]
    if moved:
        return failed(
            "tokenizer.ids", f"{len(moved)} tokens with other ids than the base's: {quote(moved)}",
            "the base's ids", "It is another model's tokenizer. Give the base it was trained on.",
        )  # fmt: skip
    return _compare_sets(own, base)


def _compare_sets(own: TokenIds, base: TokenIds) -> Finding:
    added = [token for token in own.ids if token not in base.ids]
    lost = [token for token in base.ids if token not in own.ids]
    if not added and not lost:
        return passed("tokenizer.ids", f"{len(own.ids)} tokens", "the base's tokens")
    parts = [f"{len(names)} tokens {word}: {quote(names)}"
             for names, word in ((added, "more"), (lost, "less")) if names]  # fmt: skip
    return warned(
        "tokenizer.ids", "; ".join(parts), "the base's tokens",
        "Use the adapter's own tokenizer with it, in training's way.",
    )  # fmt: skip


def check_template(context: FolderContext) -> Finding | None:
    """The chat template shipped is the base's."""
    try:
        own = resolve_chat_template([context.folder])
        base = None if context.base is None else resolve_chat_template([context.base.folder])
    except (TemplateError, OSError) as error:
        return failed("template.file", f"{error}", "a chat template that can be read",
                      "Fetch the file again, or remove it to use the base's.")  # fmt: skip
    if own.default is None or base is None:
        return None
    if own.default == base.default:
        return passed("template", "the base's chat template", "the base's chat template")
    found = "another chat template than the base's"
    if base.default is None:
        found = "a chat template, and the base has none"
    return warned(
        "template", found, "the base's chat template",
        "It was trained on prompts of its own form: render them with the adapter's template.",
    )  # fmt: skip


FILE_CHECKS: tuple[FolderCheck, ...] = (
    check_size,
    check_tokenizer_size,
    check_vocabulary_shipped,
    check_tokenizer_ids,
    check_template,
    check_data,
    check_folds,
    check_optimizer,
    check_pickles,
    check_training_files,
)
"""Every check of the files, in the order a person should read them."""
