"""Texts that ship with Python, as numbers of words or of characters."""

import hashlib
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np

from examples.common.errors import UsageError

UNKNOWN = "<unk>"

# A word, a number, or a run of one other mark: a line of ***** is one word.
_WORD = re.compile(r"[a-z]+|[0-9]+|([^\sa-z0-9])\1*")
_HELD_OUT_EVERY = 5


class Corpus(NamedTuple):
    """Texts as numbers of words; rows of `length + 1`, each to be read from its start.

    Word 0 is `<unk>`, the others follow by their count in the training texts.

    Attributes:
        train: rows of the training texts, `(rows, length + 1)`, int32.
        test: rows of the held-out texts.
        vocabulary: the words by their numbers.
    """

    train: np.ndarray
    test: np.ndarray
    vocabulary: tuple[str, ...]

    def fingerprint(self) -> str:
        """A digest of texts and vocabulary; other versions of Python have others."""
        digest = hashlib.sha256("\n".join(self.vocabulary).encode())
        for rows in (self.train, self.test):
            digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()


def load(vocabulary_size: int, length: int) -> Corpus:
    """Python's help texts, every fifth of them held out.

    Args:
        vocabulary_size: the most frequent training words and `<unk>`.
        length: words to predict in a row.

    Raises:
        UsageError: the texts have too few words for a row.
    """
    return _corpus(_without_repeats(topics), _words, vocabulary_size, length)


def characters(vocabulary_size: int, length: int) -> Corpus:
    """The same texts as characters; capitals are kept."""
    return _corpus(_without_repeats(topics), "\n".join, vocabulary_size, length)


def source(
    names: Sequence[str], vocabulary_size: int, length: int, words: bool = False
) -> Corpus:
    """Python modules of these names, every fifth one held out.

    Args:
        names: to import them by.
        vocabulary_size: the most frequent words or characters, and `<unk>`.
        length: of a row.
        words: cut into words, else into characters.
    """
    texts = {name: inspect.getsource(importlib.import_module(name)) for name in names}
    cut = _words if words else "\n".join
    return _corpus(texts, cut, vocabulary_size, length)


def _corpus(
    texts: Mapping[str, str],
    cut: Callable[[Iterable[str]], Iterable[str]],
    vocabulary_size: int,
    length: int,
) -> Corpus:
    """Every fifth text held out; `cut` makes words of texts."""
    names = sorted(texts)
    held_out = names[::_HELD_OUT_EVERY]
    train = list(cut(texts[name] for name in names if name not in held_out))
    test = list(cut(texts[name] for name in held_out))
    frequent = Counter(train).most_common(vocabulary_size - 1)
    vocabulary = (UNKNOWN, *(word for word, _ in frequent))
    numbers = {word: number for number, word in enumerate(vocabulary)}
    if min(len(train), len(test)) <= length:
        raise UsageError(f"--length {length}: no text is long enough")
    train_rows, test_rows = (_rows(words, numbers, length) for words in (train, test))
    return Corpus(train_rows, test_rows, vocabulary)


def _without_repeats(texts: Mapping[str, str]) -> dict[str, str]:
    """The texts without the paragraphs that an earlier one has.

    The longer help texts contain shorter ones. Left in, much of the held-out text
    would have been read in training.
    """
    seen = set()
    unique = {}
    for name in sorted(texts):
        paragraphs = []
        for paragraph in texts[name].split("\n\n"):
            words = " ".join(paragraph.split())
            if words not in seen:
                seen.add(words)
                paragraphs.append(words)
        unique[name] = "\n".join(paragraphs)
    return unique


def _words(texts: Iterable[str]) -> list[str]:
    joined = "\n".join(texts).lower()
    return [match.group() for match in _WORD.finditer(joined)]


def _rows(words: Sequence[str], numbers: dict[str, int], length: int) -> np.ndarray:
    """Rows that overlap by one word, so that each but the first is predicted once."""
    stream = np.array([numbers.get(word, 0) for word in words], np.int32)
    starts = np.arange(0, len(stream) - length, length)
    return stream[starts[:, None] + np.arange(length + 1)]
