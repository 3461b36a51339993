"""Which token has which id: the model's own vocabulary and the tokens added to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loragraft.errors import TokenizerError
from loragraft.export.tokenizer.files import (
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    TokenizerFiles,
    is_token_id,
)

# The names under which tokenizer_config.json appoints a single special token.
NAMED_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# ... and lists of them: the second is transformers 5's name.
TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens")

_SAVE_ANEW = (
    "Load it with transformers' AutoTokenizer, look at the tokens named here, and save it anew "
    "with save_pretrained."
)


@dataclass(frozen=True)
class AddedToken:
    """A token matched in the text before the model sees it, as in tokenizer.json."""

    id: int
    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass(frozen=True)
class Inventory:
    """`vocab`: text to id of the model. `added`: by id; may repeat entries of `vocab`."""

    vocab: Mapping[str, int]
    added: Mapping[int, AddedToken]
    warnings: tuple[str, ...] = ()
    ids: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the one table in which added tokens and the model's are found by text."""
        ids = dict(self.vocab)
        ids.update((token.content, token.id) for token in self.added.values())
        object.__setattr__(self, "ids", ids)

    @property
    def size(self) -> int:
        """Highest id + 1."""
        return max(self.ids.values(), default=-1) + 1


def read_inventory(files: TokenizerFiles) -> Inventory:
    """Return every token of tokenizer.json, with what tokenizer_config.json adds to it.

    Raises:
        TokenizerError: tokenizer.json has no usable vocabulary, or ids or texts collide.
    """
    if files.json is None:
        raise TokenizerError(f"{files.folder} has no {TOKENIZER_JSON}. {_SAVE_ANEW}")
    vocab = _model_vocab(files)
    added = {token.id: token for token in _json_added(files)}
    _check_collisions(files, vocab, added)
    warnings: list[str] = []
    _add_from_decoder(files, vocab, added)
    _add_named(files, vocab, added, warnings)
    return Inventory(vocab, added, tuple(warnings))


def token_content(entry: object) -> str | None:
    """Return the text of a token as settings write it: a string, or an object with `content`."""
    if isinstance(entry, Mapping):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None


def _model_vocab(files: TokenizerFiles) -> dict[str, int]:
    path = files.folder / TOKENIZER_JSON
    model = files.json.get("model") if files.json else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocab, dict) or not vocab:
        kind = model.get("type") if isinstance(model, dict) else model
        raise TokenizerError(
            f"{path} has no BPE vocabulary: its model is of type {kind!r}, whose vocab is "
            f"{type(vocab).__name__}, but an object of texts and ids was expected. Unigram and "
            "WordPiece tokenizers are not taken."
        )
    for text, token_id in vocab.items():
        if not is_token_id(token_id):
            raise TokenizerError(
                f"{path} gives the token {text!r} the id {token_id!r}, but an id is a whole number "
                f"from 0. {_SAVE_ANEW}"
            )
    if len(set(vocab.values())) != len(vocab):
        raise TokenizerError(f"{path}: {_two_with_one_id(vocab.items())}. {_SAVE_ANEW}")
    return vocab


def _two_with_one_id(items: Iterable[tuple[str, int]]) -> str:
    seen: dict[int, str] = {}
    for text, token_id in items:
        if token_id in seen:
            return f"the tokens {seen[token_id]!r} and {text!r} have the same id {token_id}"
        seen[token_id] = text
    return "no two tokens have the same id"


def _json_added(files: TokenizerFiles) -> Iterator[AddedToken]:
    path = files.folder / TOKENIZER_JSON
    entries = (files.json or {}).get("added_tokens") or []
    if not isinstance(entries, list):
        raise TokenizerError(f"{path}: added_tokens is no list. {_SAVE_ANEW}")
    for entry in entries:
        yield parse_added(entry, entry.get("id") if isinstance(entry, dict) else None, str(path))


def parse_added(entry: object, token_id: object, source: str) -> AddedToken:
    """Return the added token that a JSON object describes; `source` names it in errors."""
    content = token_content(entry)
    if not isinstance(entry, Mapping) or content is None or not is_token_id(token_id):
        raise TokenizerError(
            f"{source} has the added token {entry!r} with the id {token_id!r}; an object with a "
            f"text and a whole number from 0 were expected. {_SAVE_ANEW}"
        )
    assert isinstance(token_id, int)
    return AddedToken(
        id=token_id,
        content=content,
        special=bool(entry.get("special", False)),
        normalized=bool(entry.get("normalized", True)),
        lstrip=bool(entry.get("lstrip", False)),
        rstrip=bool(entry.get("rstrip", False)),
        single_word=bool(entry.get("single_word", False)),
    )


def decoder_entries(config: Mapping[str, Any], source: str) -> Iterator[AddedToken]:
    """Yield tokenizer_config.json's `added_tokens_decoder` (keys are ids, written as strings)."""
    entries = config.get("added_tokens_decoder") or {}
    if not isinstance(entries, dict):
        raise TokenizerError(f"{source}: added_tokens_decoder is no object. {_SAVE_ANEW}")
    for key, entry in entries.items():
        yield parse_added(entry, int(key) if key.isdecimal() else key, source)


def _check_collisions(
    files: TokenizerFiles, vocab: Mapping[str, int], added: Mapping[int, AddedToken]
) -> None:
    path = files.folder / TOKENIZER_JSON
    pairs = [(token.content, token.id) for token in _json_added(files)]
    if len(added) != len(pairs):
        raise TokenizerError(f"{path}: {_two_with_one_id(pairs)}. {_SAVE_ANEW}")
    own = {token_id: text for text, token_id in vocab.items()} if added else {}
    texts: dict[str, int] = {}
    for content, token_id in pairs:
        other = vocab.get(content, texts.get(content, token_id))
        if other != token_id:
            raise TokenizerError(
                f"{path} gives the token {content!r} the two ids {other} and {token_id}. "
                f"{_SAVE_ANEW}"
            )
        if own.get(token_id, content) != content:
            raise TokenizerError(
                f"{path}: the tokens {own[token_id]!r} and {content!r} have the same id "
                f"{token_id}. "
                f"{_SAVE_ANEW}"
            )
        texts[content] = token_id
    _check_loaded_ids(str(path), vocab, pairs)


def _check_loaded_ids(
    source: str, vocab: Mapping[str, int], pairs: Iterable[tuple[str, int]]
) -> None:
    """Raise TokenizerError where loading the file gives an added token another id than it says.

    The tokenizers library does not read the ids of added tokens: it numbers those the model lacks
    from the model's size on. A model trained with the loaded tokenizer has the loaded ids.
    """
    following = len(vocab)
    for content, token_id in pairs:
        loaded = vocab.get(content, following)
        if loaded != token_id:
            raise TokenizerError(
                f"{source} says that the token {content!r} has the id {token_id}, but loading the "
                f"file gives it {loaded}. {_SAVE_ANEW}"
            )
        following += content not in vocab


def _add_from_decoder(
    files: TokenizerFiles, vocab: Mapping[str, int], added: dict[int, AddedToken]
) -> None:
    """Take over tokenizer_config.json's added tokens: like transformers, its flags go first."""
    path = files.folder / TOKENIZER_CONFIG
    texts = {token.content: token.id for token in added.values()}
    listed = sorted(decoder_entries(files.config, str(path)), key=lambda token: token.id)
    for token in listed:
        known = texts.get(token.content, vocab.get(token.content))
        expected = max(len(vocab), max(added, default=-1) + 1) if known is None else known
        if token.id != expected:
            raise TokenizerError(
                f"{path} gives the token {token.content!r} the id {token.id}; beside this "
                f"{TOKENIZER_JSON} it is loaded as {expected}. {_SAVE_ANEW}"
            )
        added[token.id] = token


def _add_named(
    files: TokenizerFiles,
    vocab: Mapping[str, int],
    added: dict[int, AddedToken],
    warnings: list[str],
) -> None:
    """Make the tokens special that tokenizer_config.json appoints, as transformers does."""
    texts = {token.content for token in added.values()}
    for content in _named_contents(files.config, str(files.folder / TOKENIZER_CONFIG)):
        if content in texts:
            continue
        if content in vocab:
            added[vocab[content]] = AddedToken(vocab[content], content, special=True)
            texts.add(content)
            continue
        warnings.append(
            f"{files.folder / TOKENIZER_CONFIG} names the special token {content!r}, which has no "
            f"id in {TOKENIZER_JSON}: it is left out."
        )
        texts.add(content)


def _named_contents(config: Mapping[str, Any], source: str) -> Iterator[str]:
    entries: list[object] = [config.get(f"{name}_token") for name in NAMED_TOKENS]
    for key in TOKEN_LISTS:
        listed = config.get(key) or []
        if not isinstance(listed, list | dict):
            raise TokenizerError(
                f"{source} has {key} = {listed!r}, but a list of tokens was expected. {_SAVE_ANEW}"
            )
        entries.extend(listed.values() if isinstance(listed, dict) else listed)
    yield from filter(None, map(token_content, entries))
