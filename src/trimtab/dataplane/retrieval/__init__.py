"""Retrieval: from a corpus of documents to the passages that answer a question, each with its source."""

from trimtab.dataplane.retrieval.corpus import Corpus, Hit
from trimtab.dataplane.retrieval.passages import MOST_CHARS, Passage, language_of, passages_of
from trimtab.dataplane.retrieval.prompt import question_of, with_passages
from trimtab.dataplane.retrieval.retrieve import MOST_PASSAGES, Retrieved, retrieve
from trimtab.dataplane.retrieval.store import CorpusError, Stored, build, corpus_id, load, read_corpus, save

__all__ = [
    "MOST_CHARS",
    "MOST_PASSAGES",
    "Corpus",
    "CorpusError",
    "Hit",
    "Passage",
    "Retrieved",
    "Stored",
    "build",
    "corpus_id",
    "language_of",
    "load",
    "passages_of",
    "question_of",
    "read_corpus",
    "retrieve",
    "save",
    "with_passages",
]
