"""Language modelling as a `Task`: predict each next word of English text."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from examples.common.text import Corpus
from examples.training import batching, processes
from examples.training.network import Network
from examples.training.task import Case
from examples.training.transformer import Transformer

PERPLEXITY = "held-out perplexity"
FREQUENT = "frequent words (nats)"
RARE = "rare words (nats)"

# Shares that the groups' words have in the training text, <unk> left out: the most
# frequent words that together are half of it, the least frequent that are a tenth.
_FREQUENT_SHARE = 0.5
_RARE_SHARE = 0.1


class LanguageModel:
    """A `Task`: cross-entropy of a transformer's next words, with dropout in training.

    Attributes: those of `Task`.
    """

    name: str = "Python's help texts, transformer"
    scores: tuple[str, ...] = (PERPLEXITY, FREQUENT, RARE)

    def __init__(self, corpus: Corpus, batch_size: int):
        """Checks that there are enough rows of words for a batch.

        Args:
            corpus: rows of words to train on and rows held out.
            batch_size: rows in a training batch; evaluation has its own.
        """
        size, length = len(corpus.vocabulary), corpus.train.shape[1] - 1
        self.fingerprint = corpus.fingerprint()
        self.steps_per_epoch = batching.steps_per_epoch(
            len(corpus.train), batch_size, "Python's help texts"
        )
        self._train, self._test = {"words": corpus.train}, {"words": corpus.test}
        self._batch_size = batch_size
        self._groups = word_groups(corpus)
        self._network = Network(lambda rngs: Transformer(size, length, rngs))
        self._sums = jax.jit(self._sums_of_batch, out_shardings=processes.replicated())

    def init(self, key: jax.Array) -> tuple[nnx.State, nnx.State]:
        """Fresh parameters; the model has no other state."""
        return self._network.init(key)

    def loss_fn(
        self,
        params: nnx.State,
        model_state: nnx.State,
        batch: dict[str, jax.Array],
        key: jax.Array,
    ) -> tuple[jax.Array, nnx.State]:
        """Mean cross-entropy of a batch's words; the key draws what drops out."""
        model = self._network.merge(params, model_state)
        model.train()
        losses = _losses(model, batch["words"], nnx.Rngs(dropout=key))
        return losses.mean(), self._network.split(model)[1]

    def model_state_at(self, params: nnx.State, model_state: nnx.State) -> nnx.State:
        """The same: the model has no state."""
        del params
        return model_state

    def evaluate(self, params: nnx.State, model_state: nnx.State) -> dict[str, float]:
        """Perplexity of the held-out texts, and the loss of two groups of their words.

        `<unk>` is a word like any other in the perplexity, but in neither group.
        """
        everything, frequent, rare = self._means(params, model_state, self._test)
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(everything))
        return {PERPLEXITY: perplexity, FREQUENT: frequent, RARE: rare}

    def train_loss(self, params: nnx.State, model_state: nnx.State) -> float:
        """Mean cross-entropy of the training texts' words, without dropout."""
        return self._means(params, model_state, self._train)[0]

    def batches(self, seed: int, epochs: int) -> grain.DatasetIterator:
        """Batches of a new order every epoch, an incomplete last one left out."""
        return batching.shuffled(self._train, self._batch_size, seed, epochs)

    def case(self, model_state: nnx.State) -> Case:
        """One row of words, nothing dropped out."""

        def loss_fn(params: nnx.State, example: dict[str, jax.Array]) -> jax.Array:
            model = self._network.merge(params, model_state)
            model.eval()
            return _losses(model, example["words"][None], nnx.Rngs(0)).mean()

        return Case(loss_fn, self._train, self._train["words"][:, 1:])

    def _sums_of_batch(self, params, model_state, batch, weight) -> jax.Array:
        """Loss and number of the words of each group, in rows where `weight` is 1."""
        model = self._network.merge(params, model_state)
        model.eval()
        losses = _losses(model, batch["words"], nnx.Rngs(0))
        belongs = self._groups[:, batch["words"][:, 1:]] * weight[:, None]
        return jnp.stack([(belongs * losses).sum((1, 2)), belongs.sum((1, 2))])

    def _means(
        self, params: nnx.State, model_state: nnx.State, part: batching.Arrays
    ) -> list[float]:
        """Mean loss over all words, the frequent ones and the rare ones.

        NaN for a group without words: a small vocabulary may have no rare ones.
        """
        losses, counts = batching.total(
            lambda *batch: self._sums(params, model_state, *batch), part
        )
        with np.errstate(invalid="ignore"):
            return (losses / counts).tolist()


def word_groups(corpus: Corpus) -> jax.Array:
    """1 where a word belongs: rows for all, the frequent and the rare words."""
    size = len(corpus.vocabulary)
    known = np.arange(size) > 0
    counts = known * np.bincount(corpus.train[:, 1:].ravel(), minlength=size)
    share_before = (np.cumsum(counts) - counts) / counts.sum()
    frequent = known & (share_before < _FREQUENT_SHARE)
    rare = known & (share_before >= 1 - _RARE_SHARE)
    return jnp.asarray(np.stack([np.ones(size), frequent, rare]), jnp.float32)


def _losses(model: Transformer, words: jax.Array, rngs: nnx.Rngs) -> jax.Array:
    """Cross-entropy of every word but the first of each row, `(rows, length)`."""
    logits = model(words[:, :-1], rngs)
    return optax.softmax_cross_entropy_with_integer_labels(logits, words[:, 1:])
