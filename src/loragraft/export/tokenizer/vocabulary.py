"""The vocabulary of a GGUF file, from a checkpoint's and an adapter's tokenizer files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loragraft.checkpoint.template import ChatTemplates, resolve_chat_template
from loragraft.errors import TemplateError, TokenizerError
from loragraft.export.tokenizer import bpe, sentencepiece
from loragraft.export.tokenizer.families import Family, family_of
from loragraft.export.tokenizer.files import (
    TOKENIZER_JSON,
    TOKENIZER_MODEL,
    TokenizerFiles,
    check_text,
    read_files,
)
from loragraft.export.tokenizer.inventory import (
    AddedToken,
    Inventory,
    decoder_entries,
    read_inventory,
)
from loragraft.export.tokenizer.pretokenizer import SENTENCEPIECE, PreTokenizer, recognise
from loragraft.export.tokenizer.protobuf import SentencePieceModel, read_model
from loragraft.export.tokenizer.special import GGUF_FLAGS, GGUF_SUFFIXES, read_special
from loragraft.export.tokenizer.table import ADDED_SCORE, TokenTable, TokenType

_TWO_DIGITS = re.compile(r"\d\d")
# Smaller vocabularies may have no token of two digits by chance.
_TRAINED_VOCABULARY = 10_000


@dataclass(frozen=True)
class Vocabulary:
    """Everything about text that a GGUF file carries.

    `model`: "gpt2" (byte-level BPE) or "llama" (SentencePiece BPE). `pre`: the pre-tokenizer.
    `tokens`, `types` and `scores` have one entry per row of the embedding; `scores` belong to
    "llama", `merges` to "gpt2". `special`: ends of gguf keys ("bos_token_id") to ids. `flags`:
    likewise ("add_bos_token"). `warnings`: what the user should know.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] | None
    merges: tuple[str, ...] | None
    special: Mapping[str, int]
    flags: Mapping[str, bool]
    chat_template: str | None
    chat_templates: Mapping[str, str]
    warnings: tuple[str, ...]
    source: Path


@dataclass(frozen=True)
class _Draft:
    """A token table before special ids.

    `ids`, `added`: tokens by text, all and the added ones. `prepend`: when the original puts a
    space in front of a text (always, first or never).
    """

    pre: PreTokenizer
    table: TokenTable
    merges: tuple[str, ...] | None
    ids: Mapping[str, int]
    added: Mapping[str, int]
    warnings: tuple[str, ...]
    prepend: str


def build_vocabulary(
    base: Path,
    *,
    config: Mapping[str, Any],
    architecture: str,
    vocab_size: int,
    adapter: Path | None = None,
    templates: Sequence[Path] | None = None,
) -> Vocabulary:
    """Return the vocabulary to export.

    Args:
        base: the base checkpoint's folder.
        config: its config.json, text_config already flattened.
        architecture: the gguf name ("llama").
        vocab_size: rows of the embedding as exported; ids no token has are padded as unused.
        adapter: the adapter's folder; its tokenizer and template, where it has them, go first.
        templates: folders to look for a chat template in, where these are not adapter and base.

    Raises:
        TokenizerError: the tokenizer is missing, broken or cannot be carried over exactly.
        TemplateError: a chat template cannot be read.
    """
    files, warnings = choose_files(base, adapter)
    family = family_of(architecture)
    draft = _draft(files, family, vocab_size)
    draft.table.check_unique(str(files.folder))
    special = read_special(files, draft.ids, config, vocab_size, draft.added)
    flags = _flags(files, family, draft, special.adds, vocab_size)
    found = resolve_chat_template(templates or [f for f in (adapter, base) if f is not None])
    _check_templates(found)
    ids = _special_ids(special.ids, family, vocab_size)
    return Vocabulary(
        model=draft.pre.model,
        pre=draft.pre.name.pre,
        tokens=tuple(draft.table.texts),
        types=tuple(map(int, draft.table.types)),
        scores=tuple(draft.table.scores) if draft.merges is None else None,
        merges=draft.merges,
        special=ids,
        flags=flags,
        chat_template=found.default,
        chat_templates=found.others,
        warnings=(
            *warnings,
            *draft.warnings,
            *special.warnings,
            *_end_warnings(ids),
            *_prefix_warnings(draft),
            *found.warnings,
        ),
        source=files.folder,
    )


def _check_templates(found: ChatTemplates) -> None:
    for text in (found.default or "", *found.others.values()):
        try:
            check_text(text)
        except ValueError as error:
            raise TemplateError(
                f"the chat template of {found.source} holds text that no file can: {error}. "
                "Correct or remove it."
            ) from None


def vocabulary_items(vocabulary: Vocabulary) -> list[tuple[str, Any, str]]:
    """Return the gguf metadata of a vocabulary as (key, value, kind).

    Kinds: "string", "bool", "u32", "[string]", "[i32]", "[f32]".
    """
    items: list[tuple[str, Any, str]] = [
        ("tokenizer.ggml.model", vocabulary.model, "string"),
        ("tokenizer.ggml.pre", vocabulary.pre, "string"),
        ("tokenizer.ggml.tokens", list(vocabulary.tokens), "[string]"),
    ]
    if vocabulary.scores is not None:
        items.append(("tokenizer.ggml.scores", list(vocabulary.scores), "[f32]"))
    items.append(("tokenizer.ggml.token_type", list(vocabulary.types), "[i32]"))
    if vocabulary.merges is not None:
        items.append(("tokenizer.ggml.merges", list(vocabulary.merges), "[string]"))
    items += [
        (f"tokenizer.ggml.{name}", value, "u32") for name, value in vocabulary.special.items()
    ]
    items += [(f"tokenizer.ggml.{name}", value, "bool") for name, value in vocabulary.flags.items()]
    if vocabulary.chat_templates:
        items.append(("tokenizer.chat_templates", list(vocabulary.chat_templates), "[string]"))
    for name, template in vocabulary.chat_templates.items():
        items.append((f"tokenizer.chat_template.{name}", template, "string"))
    if vocabulary.chat_template is not None:
        items.append(("tokenizer.chat_template", vocabulary.chat_template, "string"))
    return items


def choose_files(base: Path, adapter: Path | None) -> tuple[TokenizerFiles, tuple[str, ...]]:
    """Return the tokenizer to export and what differs between the adapter's and the base's.

    An adapter's folder counts if it holds a vocabulary. Trainers save tokenizer.json alone, so
    the base's tokenizer.model, whose scores tokenizer.json lacks, is kept where both agree.

    Raises:
        TokenizerError: neither folder holds a tokenizer.
    """
    own = read_files(adapter) if adapter is not None else None
    if own is None or not own.has_vocabulary:
        files = read_files(base)
        if not files.has_vocabulary:
            raise TokenizerError(
                f"{base} has neither {TOKENIZER_JSON} nor {TOKENIZER_MODEL}. Copy the base's "
                "tokenizer files "
                "there; from vocab.json and merges.txt, transformers' AutoTokenizer makes "
                f"{TOKENIZER_JSON} by save_pretrained."
            )
        return files, ()
    theirs = read_files(base)
    if own.sentencepiece is None and theirs.sentencepiece is not None and own.json is not None:
        pieces = read_model(theirs.sentencepiece).pieces
        vocab = read_inventory(own).vocab
        if all(vocab.get(piece.text) == token_id for token_id, piece in enumerate(pieces)):
            own = replace(own, sentencepiece=theirs.sentencepiece)
    return own, _differences(own, theirs)


def _differences(own: TokenizerFiles, theirs: TokenizerFiles) -> tuple[str, ...]:
    if own.json is None or theirs.json is None:
        return ()
    mine, base = read_inventory(own), read_inventory(theirs)
    parts: list[str] = []
    new = [text for text in mine.ids if text not in base.ids]
    gone = [text for text in base.ids if text not in mine.ids]
    moved = [
        text for text, token_id in mine.ids.items() if base.ids.get(text, token_id) != token_id
    ]
    for what, texts in (("new", new), ("missing", gone), ("with another id", moved)):
        if texts:
            parts.append(f"{len(texts)} tokens {what} ({', '.join(map(repr, texts[:5]))})")
    for kind in ("bos", "eos", "pad", "unk"):
        pair = (own.config.get(f"{kind}_token"), theirs.config.get(f"{kind}_token"))
        texts_of = [entry.get("content") if isinstance(entry, Mapping) else entry for entry in pair]
        if texts_of[0] != texts_of[1]:
            parts.append(f"{kind} is {texts_of[0]!r}, not {texts_of[1]!r}")
    if not parts:
        return ()
    return (
        f"the adapter's tokenizer is exported, and differs from the base's: {'; '.join(parts)}.",
    )


def _draft(files: TokenizerFiles, family: Family, size: int) -> _Draft:
    if files.json is None:
        return _draft_from_model(files, family, size)
    source = str(files.folder / TOKENIZER_JSON)
    inventory = read_inventory(files)
    pre = recognise(files.json, inventory.ids, source)
    inventory, dropped = _fit(inventory, family, size, source)
    pairs = bpe.read_merges(files.json["model"], source)
    bpe.check_merges(pairs, inventory.vocab, source)
    if pre.model == "gpt2":
        table, merges = bpe.bpe_table(inventory, size), bpe.written_merges(pairs)
        warnings = _digit_warning(pre, inventory)
    else:
        merges = None
        table, warnings = _spm_table(files, family, inventory, pairs, size)
    added = {token.content: token.id for token in inventory.added.values()}
    notes = (*inventory.warnings, *dropped, *warnings)
    scheme = prepend_scheme(files.json)
    return _Draft(pre, table, merges, inventory.ids, added, notes, scheme)


def _fit(
    inventory: Inventory, family: Family, size: int, source: str
) -> tuple[Inventory, tuple[str, ...]]:
    """Drop what the family is known to have no row for; refuse anything else beyond the rows."""
    if inventory.size <= size:
        return inventory, ()
    beyond = {text: token_id for text, token_id in inventory.ids.items() if token_id >= size}
    if not family.without_row.issuperset(beyond):
        last = max(beyond, key=lambda text: beyond[text])
        raise TokenizerError(
            f"{source} has {inventory.size} ids (the last is {last!r}), but the embedding to be "
            "exported has "
            f"{size} rows. Export with the tokenizer that belongs to these weights, or with an "
            "adapter "
            "that saved its resized embedding (modules_to_save)."
        )
    kept = {token_id: token for token_id, token in inventory.added.items() if token_id < size}
    vocab = {text: token_id for text, token_id in inventory.vocab.items() if token_id < size}
    names = ", ".join(map(repr, beyond))
    return replace(inventory, vocab=vocab, added=kept), (
        f"{names} has no row in this model: left out.",
    )


def _spm_table(
    files: TokenizerFiles,
    family: Family,
    inventory: Inventory,
    pairs: Sequence[tuple[str, str]],
    size: int,
) -> tuple[TokenTable, tuple[str, ...]]:
    model = _matching_model(files, inventory)
    if model is not None:
        table, warnings = sentencepiece.table_from_model(model, size), list[str]()
    else:
        unknown = (files.json or {})["model"].get("unk_token")
        table = sentencepiece.table_from_json(inventory, pairs, unknown, size)
        added = [token.content for token in inventory.added.values()]
        warnings = sentencepiece.merge_warnings(pairs, inventory.vocab, added)
    _write_legacy_added(files, table)
    listed = {token.id for token in decoder_entries(files.config, str(files.folder))}
    for token in inventory.added.values():
        keep = model is not None and token.id not in listed and not family.added_are_literal
        sentencepiece.apply_added(table, [token], family, keep_control=keep)
    return table, tuple(warnings)


def _matching_model(files: TokenizerFiles, inventory: Inventory) -> SentencePieceModel | None:
    """Return tokenizer.model if it is there and agrees with tokenizer.json."""
    if files.sentencepiece is None:
        return None
    model = read_model(files.sentencepiece)
    sentencepiece.check_model(model, files.sentencepiece)
    for token_id, piece in enumerate(model.pieces):
        known = inventory.vocab.get(piece.text, inventory.ids.get(piece.text))
        if known != token_id and token_id not in inventory.added:
            raise TokenizerError(
                f"{files.sentencepiece} has {piece.text!r} as id {token_id}, {TOKENIZER_JSON} says "
                f"{known}. The two files belong to different models: remove the wrong one."
            )
    return model


def _draft_from_model(files: TokenizerFiles, family: Family, size: int) -> _Draft:
    """Make the table of a checkpoint that has tokenizer.model and no tokenizer.json."""
    assert files.sentencepiece is not None
    model = read_model(files.sentencepiece)
    sentencepiece.check_model(model, files.sentencepiece)
    listed = list(decoder_entries(files.config, str(files.folder)))
    ids = {piece.text: token_id for token_id, piece in enumerate(model.pieces)}
    added = {**files.added_tokens, **{token.content: token.id for token in listed}}
    tokens = {token_id: AddedToken(token_id, text) for text, token_id in added.items()}
    inventory, dropped = _fit(Inventory(ids, tokens), family, size, str(files.sentencepiece))
    table = sentencepiece.table_from_model(model, size)
    _write_legacy_added(files, table)
    kept = [token for token in listed if token.id < size]
    sentencepiece.apply_added(table, kept, family, keep_control=False)
    scheme = "always" if model.add_dummy_prefix else "never"
    return _Draft(SENTENCEPIECE, table, None, inventory.ids, inventory.ids, dropped, scheme)


def _write_legacy_added(files: TokenizerFiles, table: TokenTable) -> None:
    """Write added_tokens.json, which transformers kept beside tokenizer.model."""
    for text, token_id in files.added_tokens.items():
        if token_id < len(table.texts):
            table.set(token_id, text, TokenType.USER_DEFINED, ADDED_SCORE)


def _flags(
    files: TokenizerFiles,
    family: Family,
    draft: _Draft,
    adds: Mapping[str, bool],
    size: int,
) -> dict[str, bool]:
    flags = {f"add_{kind}_token": adds[kind] for kind in GGUF_FLAGS if kind in adds}
    if draft.pre.model == "gpt2" and draft.pre.name.adds_bos:
        # llama.cpp would add BOS by itself; the original has no post-processor that does
        flags.setdefault("add_bos_token", False)
    flags.update(family.flags_by_size.get(size, {}))
    says = files.config.get("add_prefix_space") if family.space_prefix_from_config else None
    if draft.pre.model == "llama":
        # llama.cpp's default is to put a space in front
        does = draft.prepend != "never"
        if not does or says is not None:
            flags["add_space_prefix"] = does
    elif isinstance(says, bool):
        flags["add_space_prefix"] = says
    return flags


def prepend_scheme(tokenizer: Mapping[str, Any]) -> str:
    """Return when a SentencePiece-like tokenizer.json puts ▁ in front: always, first or never."""
    normalizers = _steps(tokenizer.get("normalizer"), "normalizers")
    if any(step.get("type") == "Prepend" for step in normalizers):
        return "always"
    for step in _steps(tokenizer.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            return str(
                step.get("prepend_scheme")
                or ("always" if step.get("add_prefix_space", True) else "never")
            )
    return "never"


def _steps(part: object, key: str) -> list[Mapping[str, Any]]:
    """Return the steps of a sequence, or the part itself where it is none."""
    inner = part.get(key) if isinstance(part, Mapping) else None
    steps = inner if isinstance(inner, list) and inner else [part]
    return [step for step in steps if isinstance(step, Mapping)]


def _special_ids(ids: Mapping[str, int], family: Family, size: int) -> dict[str, int]:
    known = {**family.special, **family.special_by_size.get(size, {}), **ids}
    return {
        GGUF_SUFFIXES[kind]: value
        for kind, value in known.items()
        if kind in GGUF_SUFFIXES and value < size
    }


def _digit_warning(pre: PreTokenizer, inventory: Inventory) -> tuple[str, ...]:
    """Warn of a lost step: no token has two digits in a row, though nothing splits them."""
    if pre.name.pre not in ("gpt-2", "phi-2", "olmo"):
        return ()
    if len(inventory.vocab) < _TRAINED_VOCABULARY or any(map(_TWO_DIGITS.search, inventory.vocab)):
        return ()
    return (
        f"{TOKENIZER_JSON} does not split digits, but no token has two of them in a row: a Digits "
        "step was probably lost in a conversion. Compare with the original's tokenizer.json.",
    )


def _end_warnings(special: Mapping[str, int]) -> tuple[str, ...]:
    if "eos_token_id" in special:
        return ()
    return (
        "neither tokenizer_config.json nor config.json names an end-of-text token: answers may not "
        "end.",
    )


def _prefix_warnings(draft: _Draft) -> tuple[str, ...]:
    if draft.pre.model != "llama" or draft.prepend != "first":
        return ()
    return (
        "the original puts a space only in front of the whole text, llama.cpp also after every "
        "special token: ids differ there.",
    )
