"""Encoders of two layers with random weights, as checkpoints of a masked language model or bare."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

WORDS = (
    "rule", "body", "no", "ads", "buy", "now", "cheap", "sale", "thanks", "good", "point", "nice",
    "read", "the", "a", "of", "and", "to", "is", "this", "what", "where", "when", "sleep", "cat",
    "dog", "sun", "moon", "star", "planet", "orbits", "bright", "dim", "cold", "warm", "city",
    "train", "bread",
)  # fmt: skip
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 128,
}  # fmt: skip
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2,
       "sep_token_id": 3}  # fmt: skip
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
           "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
           "type_vocab_size": 0}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "deberta": ("DebertaV2", DEBERTA),
    "modernbert": ("ModernBert", IDS),
    "roberta": ("Roberta", {"pad_token_id": 0}),
    "mpnet": ("MPNet", {"pad_token_id": 0}),
}
SEED = 20251101


def write_tokenizer(folder: Path) -> int:
    """Write a tokenizer of whole words and letters; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.:,!?-[]"]
    pieces = [*MARKS, *dict.fromkeys([*WORDS, *letters]), *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=128,
    ).save_pretrained(folder)  # fmt: skip
    return len(pieces)


def build_encoder(
    kind: str,
    folder: Path,
    head: str = "MaskedLM",
    rows: int | None = None,
    **options: Any,  # noqa: ANN401
) -> Path:
    """Build a checkpoint of a name in ``KINDS``.

    Args:
        kind: The name.
        folder: Where.
        head: What the checkpoint was saved with: ``MaskedLM``, ``SequenceClassification`` or
            nothing.
        rows: Of its embedding, where they are not as many as its tokenizer has tokens.
        **options: More for the model's configuration.
    """
    import torch
    import transformers

    family, own = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = getattr(transformers, f"{family}Config")(
            **{**SIZES, "vocab_size": rows or size, **own, **options}
        )
        torch.manual_seed(SEED)
        name = f"{family}For{head}" if head else f"{family}Model"
        getattr(transformers, name)(config).save_pretrained(folder)
    return folder


def build_sentence_transformer(kind: str, folder: Path) -> Path:
    """Build a SentenceTransformer of mean pooling around such an encoder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    encoder = build_encoder(kind, folder.with_name(f"{folder.name}-encoder"), head="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner: Any = Transformer(str(encoder))
        pooling = Pooling(inner.get_embedding_dimension())
        SentenceTransformer(modules=[inner, pooling], device="cpu").save(str(folder))
    return folder
