"""The same question in other words, as vectors tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.dataset.leaks import meaning
from loragraft.dataset.leaks.find import find_leaks
from loragraft.dataset.leaks.report import NEAR
from loragraft.embedding.static import StaticEmbedder
from tests.dataset.leaks.records import planted, qa, reply, write_splits

ALIKE = (
    ("river", "stream"), ("boat", "ship"), ("quick", "fast"), ("repairs", "mends"),
    ("house", "home"), ("begins", "starts"), ("stone", "rock"), ("mayor", "burgomaster"),
)  # fmt: skip
"""Words that the small model gives the same vector."""
ALONE = ("who", "the", "of", "when", "autumn", "feast", "bridge", "colour", "wall", "miller")


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory: pytest.TempPathFactory) -> StaticEmbedder:
    """A model of model2vec that knows some synonyms, and nothing else."""
    import numpy as np
    from model2vec import StaticModel
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    groups = [("[UNK]",), ("[PAD]",), *ALIKE, *((word,) for word in ALONE)]
    vectors = np.random.default_rng(5).standard_normal((len(groups), 32)).astype(np.float32)
    words = {w: i for i, w in enumerate(word for group in groups for word in group)}
    rows = np.concatenate([[vectors[i]] * len(group) for i, group in enumerate(groups)])
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    folder = tmp_path_factory.mktemp("synonyms")
    config = {"normalize": True, "model_type": "model2vec"}
    StaticModel(rows, tokenizer, config=config).save_pretrained(str(folder))
    return StaticEmbedder(folder, "synonyms")


TRAINED = "When begins the autumn feast of the river?"
ASKED = "when starts the feast of the stream autumn?"


def test_a_paraphrase_is_found_by_meaning_only(tmp_path: Path, synonyms: StaticEmbedder) -> None:
    train = [
        qa("t8", "Who repairs the wall of the home?", "the miller"),
        qa("t9", TRAINED, "in the ninth week"),
    ]
    test = [qa("x8", "Who of the house, the miller?", "no"), qa("x9", ASKED, "ninth week")]
    splits = write_splits(tmp_path, {"train": train, "test": test})
    assert find_leaks(splits).clean
    report = find_leaks(splits, embedder=synonyms)
    leaks = [leak for leak in report.leaks if leak.severity == "leak"]
    assert [(leak.kind, leak.first.id, leak.second.id) for leak in leaks] == [(NEAR, "x9", "t9")]
    assert leaks[0].why == "alike by meaning, with the same answer"
    assert leaks[0].score >= 0.9
    assert report.embedder == "synonyms"
    assert not any("Paraphrases" in text for text in report.unchecked)


def test_what_is_found_by_words_is_not_found_again(
    tmp_path: Path, synonyms: StaticEmbedder
) -> None:
    splits = write_splits(
        tmp_path,
        {
            "train": [reply("a", "The mayor mends the wall of the mill bridge", "Good.")],
            "test": [
                reply("b", "The mayor mends the wall of the mill bridge", "Why?"),
                reply("c", "The burgomaster repairs the wall of the mill bridge", "Why?"),
            ],
        },
    )
    report = find_leaks(splits, embedder=synonyms)
    assert [(leak.kind, leak.first.id) for leak in report.leaks] == [("exact", "b"), (NEAR, "c")]


def test_blocks_change_nothing(
    tmp_path: Path, synonyms: StaticEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for group in ALIKE for word in group]
    rows = [
        reply(
            f"r{n}", f"the {words[n % 16]} of the {words[(n * 7) % 16]} {words[(n * 3) % 16]}", "x"
        )
        for n in range(60)
    ]
    splits = write_splits(tmp_path, {"train": rows[:40], "val": rows[40:50], "test": rows[50:]})
    whole = find_leaks(splits, embedder=synonyms).to_json()
    monkeypatch.setattr(meaning, "_AT_ONCE", 3)
    assert find_leaks(splits, embedder=synonyms).to_json() == whole
    assert whole["leaks"]


def test_a_series_of_other_questions_does_not_hide_the_same_one(
    tmp_path: Path, synonyms: StaticEmbedder
) -> None:
    rows = [qa(f"t{n}", f"When begins the autumn feast of rock {n}?", f"{n} June 1802")
            for n in range(7)]  # fmt: skip
    rows.append(qa("t9", "When starts the autumn feast of stone 9000?", "27 October"))
    test = [qa("x1", "when the feast of rock 9000 begins autumn", "27 october")]
    report = find_leaks(write_splits(tmp_path, {"train": rows, "test": test}), embedder=synonyms)
    assert [(leak.severity, leak.second.id) for leak in report.leaks] == [("leak", "t9")]


@pytest.mark.slow
def test_a_paraphrase_by_a_real_model(tmp_path: Path, minilm_folder: Path) -> None:
    from loragraft.embedding.opening import open_embedder
    from loragraft.embedding.spec import EmbedderSpec

    splits = write_splits(
        tmp_path,
        planted(
            train=qa("t9", "How many years did it take to build the lighthouse of Brannock?", "11"),
            test=qa("x9", "Brannock lighthouse: how many years did its construction take?", "11"),
        ),
    )
    assert find_leaks(splits).clean
    embedder = open_embedder(EmbedderSpec(name=str(minilm_folder)))
    report = find_leaks(splits, embedder=embedder)
    embedder.close()
    leaks = [leak for leak in report.leaks if leak.severity == "leak"]
    assert [(leak.kind, leak.first.id, leak.second.id) for leak in leaks] == [(NEAR, "x9", "t9")]
