"""The text that ships with Python, cut into numbers of words."""

import numpy as np
import pytest

from examples.common import text
from examples.common.text import Corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return text.load(vocabulary_size=100, length=8)


def sentences(corpus: Corpus, rows: np.ndarray, words: int) -> set[tuple[int, ...]]:
    """Every run of so many words."""
    stream = np.concatenate([rows[0, :1], rows[:, 1:].ravel()])
    return set(map(tuple, np.lib.stride_tricks.sliding_window_view(stream, words)))


def test_every_word_is_predicted_once_in_the_order_of_the_text(corpus):
    for rows in (corpus.train, corpus.test):
        np.testing.assert_array_equal(rows[1:, 0], rows[:-1, -1])
    words = [corpus.vocabulary[number] for number in corpus.train[:3].ravel()]
    assert {"the", "<unk>"} & set(words)
    assert len(corpus.train) * 8 > 50_000 and len(corpus.test) * 8 > 10_000


def test_vocabulary_is_that_of_the_training_text_by_frequency(corpus):
    counts = np.bincount(corpus.train[:, 1:].ravel(), minlength=100)
    assert len(corpus.vocabulary) == len(set(corpus.vocabulary)) == 100
    assert corpus.vocabulary[0] == "<unk>"
    assert (np.diff(counts[1:]) <= 1).all() and counts.min() > 20


def test_held_out_sentences_have_not_been_read_in_training():
    """Whole paragraphs recur in Python's help; two of a hundred sentences still do."""
    corpus = text.load(vocabulary_size=3000, length=8)
    train, test = (sentences(corpus, part, 20) for part in corpus[:2])
    assert len(test & train) / len(test) < 0.02
    repeated = text._words(text.topics[name] for name in text.topics)
    kept = text._words(text._without_repeats(text.topics).values())
    assert len(kept) < 0.9 * len(repeated)
