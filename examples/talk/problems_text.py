"""The next word given the present one, in Python's help texts: a softmax of words.

A bigram model has a row of logits for every word. Its loss over all pairs follows from
how often each pair occurs, and its least value, the conditional entropy of these
counts, is known: losses can be told to the last digit. The counts are heavy-tailed: a
few words make up most of a text.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from examples.common import text

VOCABULARY = 600
_ROW = 64  # words in a row of the corpus; rows overlap, so that no pair is lost


class Bigrams(NamedTuple):
    """Pairs of words that follow each other, none of them unknown.

    Attributes:
        previous: number of the first word of every pair, `(pairs,)`, int32.
        following: number of the second.
        counts: how often word j follows word i, `(words, words)`, float32.
    """

    previous: np.ndarray
    following: np.ndarray
    counts: np.ndarray

    @property
    def start(self) -> jax.Array:
        """Logits 0: all words equally likely."""
        return jnp.zeros(self.counts.shape, jnp.float32)

    def batches(self, steps: int, size: int, seed: int) -> np.ndarray:
        """Rows of pairs, drawn with replacement, `(steps, size)`, int32."""
        rng = np.random.default_rng(seed)
        rows = rng.integers(len(self.previous), size=(steps, size))
        return rows.astype(np.int32)

    def batch_loss(self, logits: jax.Array, rows: jax.Array) -> jax.Array:
        """Mean cross-entropy of the pairs with these numbers."""
        of_previous = logits[jnp.asarray(self.previous)[rows]]
        following = jnp.asarray(self.following)[rows]
        told = jnp.take_along_axis(of_previous, following[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(of_previous, axis=1) - told)

    def full_loss(self, logits: jax.Array, *_: jax.Array) -> jax.Array:
        """Mean cross-entropy of all pairs, from their counts; a batch is ignored."""
        shares = jnp.asarray(self.counts / self.counts.sum())
        rows = jnp.sum(shares * logits, axis=1)
        return jnp.sum(shares.sum(1) * jax.nn.logsumexp(logits, axis=1) - rows)

    def log_likelihood(self) -> np.ndarray:
        """Logarithms of the best model's probabilities; 0 where a pair never occurs."""
        counts = self.counts.astype(np.float64)
        probable = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return np.log(probable, out=np.zeros_like(probable), where=counts > 0)

    def floor(self) -> float:
        """The least loss that a bigram model can have: the conditional entropy."""
        return float(-np.sum(self.counts * self.log_likelihood()) / self.counts.sum())

    def loss_of_words(self, logits: jax.Array | np.ndarray) -> np.ndarray:
        """Mean cross-entropy of the pairs that end in each word, in float64.

        NaN for a word that never follows another.
        """
        exact = np.asarray(logits, np.float64)
        exact = exact - exact.max(1, keepdims=True)
        normaliser = np.log(np.exp(exact).sum(1, keepdims=True))
        return self._mean_of_words(normaliser - exact)

    def floor_of_words(self) -> np.ndarray:
        """What each word contributes to the floor: its loss under the best model."""
        return self._mean_of_words(-self.log_likelihood())

    def _mean_of_words(self, losses: np.ndarray) -> np.ndarray:
        ending = self.counts.sum(0, dtype=np.float64)
        total = np.sum(self.counts * losses, axis=0)
        return np.divide(
            total, ending, out=np.full_like(total, np.nan), where=ending > 0
        )

    def excess(self, logits: jax.Array | np.ndarray) -> float:
        """Loss of all pairs above the floor, in float64: float32 sees 1e-6 at best."""
        ending = self.counts.sum(0, dtype=np.float64)
        losses = np.nan_to_num(self.loss_of_words(logits), nan=0.0, posinf=np.inf)
        total = float(np.sum(ending * losses) / ending.sum())
        return total - self.floor() if np.isfinite(logits).all() else np.inf


def bigrams(vocabulary: int = VOCABULARY) -> Bigrams:
    """Pairs from the training texts; those with an unknown word are dropped."""
    rows = text.load(vocabulary, _ROW).train
    previous, following = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    known = (previous > 0) & (following > 0)
    previous, following = previous[known], following[known]
    counts = np.zeros((vocabulary, vocabulary), np.float32)
    np.add.at(counts, (previous, following), 1)
    return Bigrams(previous, following, counts)
