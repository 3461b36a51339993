"""Measure search by meaning, by words and by both on labelled questions.

    python scripts/rag_quality.py PATH [--index INDEX] [--embedder all-MiniLM-L6-v2] [--work FOLDER]

PATH is one of

- the JSON file of PubMedQA's labelled questions (``ori_pqal.json``): two sets are made of it, each
  question against all abstracts (without their conclusions), and against the same abstracts
  joined into long documents of twenty, where only the chunks of its abstract are right;
- the folder of Python's documentation as reStructuredText (``html/_sources`` of Debian's
  python3-doc): questions of its FAQ, which are taken out of the text, against FAQ, tutorial and
  howtos;
- a JSONL file of ``{"question", "doc_id"}``, with ``"start"`` and ``"stop"`` where only a part of
  the document answers, for the documents of --index.

Weights of the hybrid search are chosen on the questions of one half of the documents; all figures
are those of the other half. Prints Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.embedding.finding import find_folder
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.rag.chunking.chunk import split
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.sameness import open_embedder_of
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.records import Document
from loragraft.rag.search.fuse import DEFAULT_WEIGHTS, Weights
from loragraft.rag.search.lexical import LEXICAL, write_lexical
from loragraft.rag.search.quality import (
    Estimate,
    Judged,
    Question,
    columns,
    difference,
    estimate,
    halves,
    judge,
    measure,
)
from loragraft.rag.search.rerank import CrossEncoderReranker
from loragraft.rag.search.retrieve import Mode, Reranker, Retriever

ABSTRACTS_PER_DOCUMENT = 20
SEED = 20251101
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
CHOSEN_BY = "ndcg"
PYTHON_FOLDERS = ("faq", "tutorial", "howto")
HEADING = re.compile(r"(?m)^(?P<title>\S.*\?)\n(?:-{3,}|={3,})\n")
SECTION = re.compile(r"(?m)^(?P<title>\S.*[^?\n])\n={3,}\n")
RANK_CONSTANT, RANK_DEPTH = 60, 100
ANY_HEADING = re.compile(r"(?m)^\S.*\n(?:-{3,}|={3,}|\*{3,})\n")


@dataclass(frozen=True)
class LabelledSet:
    """Documents, and questions on them."""

    name: str
    documents: Sequence[Document]
    questions: Sequence[Question]


class Remembering:
    """An embedder that embeds each question once."""

    def __init__(self, inner: Embedder, questions: Sequence[str]) -> None:
        """Embed all questions in one go."""
        self._inner = inner
        vectors = inner.embed(list(questions), query=True)
        self._known = dict(zip(questions, vectors, strict=True))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Ask the embedder inside."""
        return getattr(self._inner, name)

    def embed(self, texts: Sequence[str], **_options: object) -> NDArray[np.float32]:
        """Return the questions' vectors."""
        return np.stack([self._known[text] for text in texts])


def make_document(doc_id: str, text: str, title: str = "") -> Document:
    """Return a document of plain text."""
    return Document(doc_id, title, text, {}, (), hashlib.sha256(text.encode()).hexdigest())


def pubmedqa(path: Path) -> Iterator[LabelledSet]:
    """Make two sets of PubMedQA's labelled questions."""
    records: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    texts = {key: "\n\n".join(record["CONTEXTS"]) for key, record in records.items()}
    asked = {key: record["QUESTION"] for key, record in records.items()}
    yield LabelledSet(
        "PubMedQA, abstracts",
        [make_document(key, text) for key, text in texts.items()],
        [Question(asked[key], key) for key in texts],
    )
    keys = list(texts)
    random.Random(SEED).shuffle(keys)
    documents, questions = [], []
    for first in range(0, len(keys), ABSTRACTS_PER_DOCUMENT):
        name, text = f"volume{first // ABSTRACTS_PER_DOCUMENT}", ""
        for key in keys[first : first + ABSTRACTS_PER_DOCUMENT]:
            text += "\n\n" if text else ""
            questions.append(Question(asked[key], name, len(text), len(text) + len(texts[key])))
            text += texts[key]
        documents.append(make_document(name, text))
    yield LabelledSet("PubMedQA, long documents", documents, questions)


def python_faq(folder: Path) -> Iterator[LabelledSet]:
    """Make a set of the FAQ in Python's documentation."""
    documents, questions = [], []
    for name in PYTHON_FOLDERS:
        for path in sorted((folder / name).glob("*.rst.txt")):
            doc_id = f"{name}/{path.name.removesuffix('.rst.txt')}"
            text = path.read_text(encoding="utf-8")
            if name == "faq":
                text, here = _without_questions(doc_id, text)
                questions.extend(here)
            documents.append(make_document(doc_id, text, path.name.removesuffix(".rst.txt")))
    yield LabelledSet("Python's FAQ", documents, questions)


def _without_questions(doc_id: str, text: str) -> tuple[str, list[Question]]:
    """Take the headings that are questions out of a text; return where their answers stand then."""
    out, questions, rest = "", [], 0
    for match in HEADING.finditer(text):
        out += text[rest : match.start()]
        following = ANY_HEADING.search(text, match.end())
        stop = len(text) if following is None else following.start()
        answer = text[match.end() : stop].strip()
        sections = [found["title"] for found in SECTION.finditer(text, 0, match.start())]
        if answer:
            start = len(out) + text[match.end() :].index(answer)
            group = f"{doc_id} {sections[-1] if sections else ''}"
            questions.append(Question(match["title"], doc_id, start, start + len(answer), group))
        rest = match.end()
    return out + text[rest:], questions


def labelled(path: Path) -> list[LabelledSet]:
    """Return the sets that a path holds."""
    if path.is_dir():
        return list(python_faq(path))
    if path.suffix == ".json":
        return list(pubmedqa(path))
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    questions = [
        Question(one["question"], one["doc_id"], one.get("start"), one.get("stop"))
        for one in records
    ]
    return [LabelledSet(path.stem, (), questions)]


def open_or_build(work: Path, one: LabelledSet, embedder: Embedder) -> Index:
    """Return the index of a set's documents; one from a run before is taken as it is."""
    name = f"{one.name} {embedder.name}".casefold()
    folder = work / re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    if not (folder / "index.json").exists():
        build_index(
            folder, one.documents, embedder,
            lambda document: split(document, embedder, embedder.max_tokens),
            options=BuildOptions(parts={LEXICAL: write_lexical}),
        )  # fmt: skip
    return open_index(folder)


def run(
    index: Index, embedder: Remembering, judged: Sequence[Judged], k: int,
    mode: Mode, weights: Weights = DEFAULT_WEIGHTS, reranker: Reranker | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Ask all questions and return their measures."""
    retriever = Retriever(index, embedder, mode=mode, weights=weights, reranker=reranker)
    measured = []
    for one in judged:
        found = retriever.retrieve(one.question.text, k)
        measured.append(measure([p.chunk.chunk_id for p in found], one.chunks, k))
    return columns(measured)


def rank_fusion(
    index: Index, embedder: Remembering, judged: Sequence[Judged], k: int
) -> dict[str, list[float]]:
    """Return the measures of reciprocal rank fusion with equal weights, for comparison."""
    modes: tuple[Mode, ...] = ("dense", "lexical")
    retrievers = [Retriever(index, embedder, mode=mode) for mode in modes]
    measured = []
    for one in judged:
        scores: defaultdict[str, float] = defaultdict(float)
        for retriever in retrievers:
            for passage in retriever.retrieve(one.question.text, RANK_DEPTH):
                scores[passage.chunk.chunk_id] += 1 / (RANK_CONSTANT + passage.rank)
        measured.append(measure(sorted(scores, key=lambda name: -scores[name])[:k], one.chunks, k))
    return columns(measured)


def word_vectors(folder: Path, target: Path) -> Path:
    """Save an embedder's word vectors, without the model above them, as one of its own."""
    from model2vec import StaticModel
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tensors = load_file(folder / "model.safetensors")
    vectors = next(values for name, values in tensors.items() if "word_embeddings" in name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config = {"normalize": True, "model_type": "model2vec"}
    StaticModel(vectors.astype(np.float32), tokenizer, config).save_pretrained(str(target))
    return target


def choose(index: Index, embedder: Remembering, judged: Sequence[Judged], k: int) -> list[float]:
    """Return the mean measure of every share of the dense weight."""
    return [
        float(np.mean(run(index, embedder, judged, k, "hybrid", Weights(s, 1 - s))[CHOSEN_BY]))
        for s in SHARES
    ]


def shown(found: Estimate, sign: str = "") -> str:
    """Return a mean with its interval."""
    return f"{found.mean:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def report(
    one: LabelledSet, index: Index, embedder: Embedder, k: int, reranker: Reranker | None
) -> None:
    """Print a set's figures."""
    judged = judge(index, one.questions)
    remembering = Remembering(embedder, [question.question.text for question in judged])
    first, second = halves(judged)
    documents = len({question.question.doc_id for question in judged})
    clusters = [question.question.cluster for question in second]
    print(f"\n### {one.name}\n")
    print(
        f"{len(judged)} questions on {documents} documents, {len(index)} chunks in the index; "
        f"embedder {embedder.name}; figures of the second half ({len(second)} questions in "
        f"{len(set(clusters))} clusters).\n"
    )
    by_share = choose(index, remembering, first, k)
    best = SHARES[int(np.argmax(by_share))]
    rows: dict[str, dict[str, list[float]]] = {
        "dense": run(index, remembering, second, k, "dense"),
        "lexical": run(index, remembering, second, k, "lexical"),
        "rank fusion, equal weights": rank_fusion(index, remembering, second, k),
        f"hybrid, dense {DEFAULT_WEIGHTS.share:.1f} (default)":
            run(index, remembering, second, k, "hybrid"),
        f"hybrid, dense {best} (best on the first half)":
            run(index, remembering, second, k, "hybrid", Weights(best, 1 - best)),
    }  # fmt: skip
    if reranker is not None:
        rows[f"default, reranked by {reranker.name}"] = run(
            index, remembering, second, k, "hybrid", reranker=reranker
        )
    print_rows(rows, clusters, k)
    shares = ", ".join(f"{s}: {v:.3f}" for s, v in zip(SHARES, by_share, strict=True))
    print(f"\nnDCG@{k} on the first half by the dense share: {shares}.")


def print_rows(
    rows: Mapping[str, Mapping[str, Sequence[float]]], clusters: Sequence[str], k: int
) -> None:
    """Print a table of measures, and of nDCG's differences from the default."""
    print(f"| search | recall@{k} | nDCG@{k} | MRR@{k} | default's nDCG minus this |")
    print("|---|---|---|---|---|")
    default = next(values for name, values in rows.items() if name.endswith("(default)"))
    for name, values in rows.items():
        cells = [shown(estimate(values[m], clusters)) for m in ("recall", "ndcg", "mrr")]
        same = values is default
        versus = "" if same else shown(difference(default["ndcg"], values["ndcg"], clusters), "+")
        print(f"| {name} | {' | '.join(cells)} | {versus} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("path", type=Path, help="labelled questions")
    parser.add_argument("--index", type=Path, help="index of the documents of a JSONL file")
    parser.add_argument("--embedder", default=EmbedderSpec().name)
    parser.add_argument(
        "--word-vectors", action="store_true",
        help="take the embedder's word vectors alone: one that is much worse than BM25",
    )  # fmt: skip
    parser.add_argument("--rerank", type=Path, help="folder of a cross-encoder")
    parser.add_argument("--work", type=Path, help="where indexes are kept for the next run")
    parser.add_argument("-k", type=int, default=10)
    options = parser.parse_args()
    reranker = None if options.rerank is None else CrossEncoderReranker(options.rerank)
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for one in labelled(options.path):
            if options.index is not None:
                with open_index(options.index) as index:
                    report(one, index, open_embedder_of(index), options.k, reranker)
                continue
            if not one.documents:
                parser.error("a JSONL file of questions needs --index")
            name = options.embedder
            if options.word_vectors:
                name = str(word_vectors(find_folder(name), work / "word-vectors"))
            embedder = open_embedder(EmbedderSpec(name=name))
            with open_or_build(work, one, embedder) as index:
                report(one, index, embedder, options.k, reranker)


if __name__ == "__main__":
    main()
