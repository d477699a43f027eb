"""A small transformer in Flax NNX that predicts the next word."""

import jax
import jax.numpy as jnp
from flax import nnx

_DROPOUT = 0.1


class Block(nnx.Module):
    """Attention to the words so far, then a hidden layer; each added to its input."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.norm_1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            heads, width, use_bias=False, decode=False, rngs=rngs
        )
        self.norm_2 = nnx.LayerNorm(width, rngs=rngs)
        self.hidden = nnx.Linear(width, 4 * width, rngs=rngs)
        self.out = nnx.Linear(4 * width, width, rngs=rngs)
        self.dropout = nnx.Dropout(_DROPOUT)

    def __call__(self, x: jax.Array, mask: jax.Array, rngs: nnx.Rngs) -> jax.Array:
        x = x + self.dropout(self.attention(self.norm_1(x), mask=mask), rngs=rngs)
        y = self.out(nnx.gelu(self.hidden(self.norm_2(x))))
        return x + self.dropout(y, rngs=rngs)


class Transformer(nnx.Module):
    """Words and places embedded, blocks, and logits of the next word at each place.

    The random numbers of dropout come with each call, so that whoever calls twice with
    the same ones sees the same function.
    """

    def __init__(
        self,
        vocabulary_size: int,
        length: int,
        rngs: nnx.Rngs,
        width: int = 64,
        heads: int = 4,
        blocks: int = 2,
    ):
        self.words = nnx.Embed(vocabulary_size, width, rngs=rngs)
        self.places = nnx.Embed(length, width, rngs=rngs)
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(blocks)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.logits = nnx.Linear(width, vocabulary_size, rngs=rngs)
        self.dropout = nnx.Dropout(_DROPOUT)

    def __call__(self, words: jax.Array, rngs: nnx.Rngs) -> jax.Array:
        mask = nnx.make_causal_mask(words)
        x = self.words(words) + self.places(jnp.arange(words.shape[1]))
        x = self.dropout(x, rngs=rngs)
        for block in self.blocks:
            x = block(x, mask, rngs)
        return self.logits(self.norm(x))
