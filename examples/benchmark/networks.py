"""The networks of the benchmark, in Flax linen: a function of params and inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
    """Dense layers; `activation` after each but the last."""

    widths: Sequence[int]
    activation: Callable[[jax.Array], jax.Array] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths[:-1]:
            x = self.activation(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


class DeepLinear(nn.Module):
    """A product of matrices without biases: easy to fit, full of saddles."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = nn.Dense(width, use_bias=False)(x)
        return x


class CNN(nn.Module):
    """Two convolutions, each with pooling, and a dense layer."""

    num_classes: int
    width: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in (self.width, 2 * self.width):
            x = nn.relu(nn.Conv(width, (3, 3))(x))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


class Mixer(nn.Module):
    """Rows of an image as tokens, mixed along tokens and along channels."""

    num_classes: int
    width: int = 24
    blocks: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(self.width)(x)
        for _ in range(self.blocks):
            y = nn.LayerNorm()(x).swapaxes(1, 2)
            y = nn.Dense(x.shape[1])(nn.gelu(nn.Dense(2 * x.shape[1])(y)))
            x = x + y.swapaxes(1, 2)
            y = nn.gelu(nn.Dense(2 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(self.num_classes)(nn.LayerNorm()(x).mean(1))


class Attention(nn.Module):
    """Pre-norm transformer blocks over the embedded tokens `x`."""

    width: int = 32
    heads: int = 2
    blocks: int = 1
    causal: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        places = self.param(
            "places", nn.initializers.normal(0.02), (x.shape[1], self.width)
        )
        x = x + places
        mask = nn.make_causal_mask(jnp.ones(x.shape[:2])) if self.causal else None
        for _ in range(self.blocks):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(self.heads)(y, mask=mask)
            y = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(y)
        return nn.LayerNorm()(x)


class ImageAttention(nn.Module):
    """A transformer that reads an image row by row."""

    num_classes: int
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Attention(self.width)(nn.Dense(self.width)(x))
        return nn.Dense(self.num_classes)(x.mean(1))


class TextAttention(nn.Module):
    """A causal transformer: logits of the next word at each place.

    With `tied` the logits are products with the embeddings.
    """

    vocabulary_size: int
    width: int = 32
    blocks: int = 1
    tied: bool = False

    @nn.compact
    def __call__(self, words: jax.Array) -> jax.Array:
        embed = nn.Embed(self.vocabulary_size, self.width)
        x = Attention(self.width, blocks=self.blocks, causal=True)(embed(words))
        return embed.attend(x) if self.tied else nn.Dense(self.vocabulary_size)(x)


class ImageGRU(nn.Module):
    """A recurrent network that reads an image row by row."""

    num_classes: int
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        states: Any = nn.RNN(nn.GRUCell(self.width))(x)
        return nn.Dense(self.num_classes)(states[:, -1])


class Normed(nn.Module):
    """Dense layers, each normalised before its activation."""

    width: int
    depth: int
    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth):
            x = nn.relu(nn.LayerNorm()(nn.Dense(self.width)(x)))
        return nn.Dense(self.num_classes)(x)


class TextGRU(nn.Module):
    """A recurrent network: logits of the next word at each place.

    With `tied` the logits are products with the embeddings.
    """

    vocabulary_size: int
    width: int = 32
    tied: bool = False

    @nn.compact
    def __call__(self, words: jax.Array) -> jax.Array:
        embed = nn.Embed(self.vocabulary_size, self.width)
        states: Any = nn.RNN(nn.GRUCell(self.width))(embed(words))
        if self.tied:
            return embed.attend(states)
        return nn.Dense(self.vocabulary_size)(states)


class Factors(nn.Module):
    """The product of a row's and a column's factors, for pairs of their numbers."""

    sizes: tuple[int, int]
    rank: int

    @nn.compact
    def __call__(self, pairs: jax.Array) -> jax.Array:
        rows, columns = (
            nn.Embed(size, self.rank, name=name)(pairs[:, place])
            for place, (name, size) in enumerate(
                zip(("rows", "columns"), self.sizes, strict=True)
            )
        )
        return jnp.sum(rows * columns, -1, keepdims=True)


class BatchNormed(nn.Module):
    """Dense layers with batch norm and dropout."""

    width: int
    num_classes: int
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        for _ in range(2):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(
                nn.Dense(self.width)(x)
            )
            x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return nn.Dense(self.num_classes)(x)


class Denoiser(nn.Module):
    """The noise in noisy inputs, whose last column is the time from 0 to 1."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        noisy, time = x[:, :-1], x[:, -1:]
        waves = jnp.pi * time * 2.0 ** jnp.arange(4)
        x = jnp.concatenate([noisy, jnp.sin(waves), jnp.cos(waves)], -1)
        return MLP((*self.widths, noisy.shape[-1]), nn.silu)(x)


class Flow(nn.Module):
    """Log-densities of points in the plane: affine couplings in turns."""

    couplings: int = 6
    width: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        density = jnp.zeros(len(x))
        for _ in range(self.couplings):
            kept, moved = x[:, :1], x[:, 1:]
            scale, shift = jnp.split(
                MLP((self.width, self.width, 2), jnp.tanh)(kept), 2, -1
            )
            # A scale within e^2, as in the networks of the authors.
            scale = 2 * jnp.tanh(scale / 2)
            x = jnp.concatenate([moved * jnp.exp(scale) + shift, kept], -1)
            density = density + scale[:, 0]
        normal = -0.5 * jnp.sum(x**2, -1) - jnp.log(2 * jnp.pi)
        return density + normal


class Taste(nn.Module):
    """Logits that a user likes an item, for pairs of their numbers."""

    sizes: tuple[int, int]
    width: int

    @nn.compact
    def __call__(self, pairs: jax.Array) -> jax.Array:
        products, biases = jnp.float32(0), self.param("bias", nn.initializers.zeros, ())
        vectors = []
        for place, size in enumerate(self.sizes):
            start = nn.initializers.normal(0.1)
            vectors.append(
                nn.Embed(size, self.width, embedding_init=start)(pairs[:, place])
            )
            zeros = nn.initializers.zeros
            biases = (
                biases + nn.Embed(size, 1, embedding_init=zeros)(pairs[:, place])[:, 0]
            )
        products = jnp.sum(vectors[0] * vectors[1], -1)
        return products + biases
