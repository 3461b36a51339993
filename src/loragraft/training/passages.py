"""Questions as a chat asks them: by themselves, or with passages of which one answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from loragraft.dataset.records import Qa
from loragraft.dataset.split.seed import rank
from loragraft.engine.protocol import Message
from loragraft.errors import InputError
from loragraft.rag.answering.citations import cited, fabricated, parse_citations
from loragraft.rag.answering.numbering import Numbers, Shown
from loragraft.rag.answering.prompt import arrange, compose, material
from loragraft.rag.records import Passage
from loragraft.training.chat_format import ChatFormat
from loragraft.training.config import TrainConfig
from loragraft.training.conversations import Conversation, Tally, exchange
from loragraft.training.distractors import choose
from loragraft.training.library import Gold, Library, open_library
from loragraft.training.sentences import answer_first, bare, with_citation

ROOM = 8
"""Tokens kept free for a turn's end and what a template writes around it."""

COMPARISON = "comparison"
"""Task type of questions for the most or the least of several things."""
BARE = "answered in bare words: no sentence of the evidence says it"
NO_ROOM = "distractors left out: no room in optimiser.max_length"
FEW = "asked with fewer passages than drawn: the corpus has no more that do not answer"
MISREAD = "questions left out: the answer reads as if it cited another passage"
NOT_READ = "documents of the corpus left out: they cannot be read"


def ask_questions(
    config: TrainConfig, records: Sequence[Qa], chat: ChatFormat, tally: Tally
) -> Iterator[Conversation]:
    """Yield the conversations of questions, in their order.

    The share that is asked without passages is exact; which ones these are follows from seed and
    id. Those that cannot be asked with passages come first.

    Args:
        config: The run's.
        records: Questions.
        chat: Of the base: it measures passages and prompts.
        tally: Where is counted what was left out.

    Raises:
        InputError: If passages are wanted and there is no corpus, or it cannot be read.
    """
    prompt, corpus = config.prompt, config.data.corpus
    if corpus is None and prompt.closed_book < 1:
        raise InputError(
            f"prompt.closed_book is {prompt.closed_book:g}, so other questions come with passages, "
            "and there is no corpus to take them from. Name it (data.corpus), or set closed_book "
            "to 1."
        )
    needs = prompt.closed_book < 1 or prompt.sentence
    with (
        open_library(corpus, chat.tokenizer, prompt.passage_tokens)
        if corpus is not None and needs
        else nullcontext()
    ) as library:
        if library is not None:
            tally.corpus = library.about
            tally.notes.update({NOT_READ: len(library.skipped)} if library.skipped else {})
        asker = _Asker(config, chat, library, tally)
        yield from asker.ask(records)


@dataclass(frozen=True)
class _Asker:
    config: TrainConfig
    chat: ChatFormat
    library: Library | None
    tally: Tally

    def ask(self, records: Sequence[Qa]) -> Iterator[Conversation]:
        """Yield the conversations of questions."""
        golds = {record.id: self._gold(record) for record in records}
        alone = self._alone(records, golds)
        for record in records:
            gold = golds[record.id]
            if record.id in alone:
                if gold.problem is not None and self.config.prompt.closed_book < 1:
                    self.tally.notes[f"questions asked closed-book: {gold.problem}"] += 1
                yield exchange(record.id, record.question, self._words(record, gold), "closed-book")
            elif gold.problem is not None:
                self.tally.left_out[f"questions left out: {gold.problem}"] += 1
            else:
                found = self._with_passages(record, gold)
                if found is not None:
                    yield found

    def _gold(self, record: Qa) -> Gold:
        return Gold() if self.library is None else self.library.gold(record)

    def _alone(self, records: Sequence[Qa], golds: dict[str, Gold]) -> set[str]:
        """Choose those that are asked without passages."""
        seed = self.config.seed
        count = math.floor(self.config.prompt.closed_book * len(records) + 0.5)
        ordered = sorted(
            records, key=lambda r: (golds[r.id].problem is None, rank(seed, "closed-book", r.id))
        )
        return {record.id for record in ordered[:count]}

    def _words(self, record: Qa, gold: Gold) -> str:
        if self.config.prompt.sentence and gold.sentence is not None:
            compares = record.task_type == COMPARISON
            return answer_first(record.question, record.answers, gold.sentence, compares=compares)
        if self.config.prompt.sentence:
            self.tally.notes[BARE] += 1
        return bare(record.answers[0])

    def _with_passages(self, record: Qa, gold: Gold) -> Conversation | None:
        assert self.library is not None
        answer = self._words(record, gold)
        chosen = choose(self.library, record, gold, self.config.prompt, self.config.seed)
        if chosen.lacking:
            self.tally.notes[FEW] += 1
        shown, content = self._fitted(record.question, chosen.passages, gold, answer)
        if self.config.prompt.citation:
            golds = {self.library.chunks[number].chunk_id for number in gold.chunks}
            numbers = [one.number for one in shown if one.passage.chunk.chunk_id in golds]
            answer = with_citation(answer, numbers)
            if not _cites(answer, shown, numbers, record.question):
                self.tally.left_out[MISREAD] += 1
                return None
        return exchange(record.id, content, answer, "passages", record.question)

    def _fitted(
        self, question: str, chosen: list[int], gold: Gold, answer: str
    ) -> tuple[list[Shown], str]:
        """Compose a prompt, without its last distractors where it would be too long."""
        most = self.config.optimiser.max_length - ROOM - len(self.chat.tokenize(answer))
        while True:
            shown = self._shown(chosen)
            content = compose(question, shown, self.chat.literals)
            spare = [number for number in chosen if number not in gold.chunks]
            if not spare or self._tokens(content) <= most:
                return shown, content
            chosen = [number for number in chosen if number != spare[-1]]
            self.tally.notes[NO_ROOM] += 1

    def _shown(self, chosen: Sequence[int]) -> list[Shown]:
        """Number and arrange passages, given best first, as a chat does."""
        assert self.library is not None
        passages = [
            Passage(self.library.chunks[number], score=1 / place, rank=place)
            for place, number in enumerate(chosen, start=1)
        ]
        return Numbers().preview(arrange(passages))

    def _tokens(self, content: str) -> int:
        system = self.config.prompt.system
        turns: list[Message] = [{"role": "system", "content": system}] if system else []
        return self.chat.prompt_tokens([*turns, {"role": "user", "content": content}])


def _cites(answer: str, shown: Sequence[Shown], numbers: Sequence[int], question: str) -> bool:
    """Tell whether an answer is read as citing these passages and no others."""
    known = [one.number for one in shown]
    found = parse_citations(answer, known, [*map(material, shown), question])
    return not fabricated(found) and set(cited(found)) == set(numbers)
