"""Tasks that were made when `optaxls.auto` was chosen, to see how it does on others.

Half of the benchmark was held out while the rule was chosen, but its brake was changed
later with all of the tasks in view. These were not; nothing was chosen after them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax.scipy.special import gammaln

from examples.benchmark import arrays
from examples.benchmark.networks import MLP, Factors, Normed, TextGRU
from examples.benchmark.tasks import Task, classify, explained, regress


def poisson(log_rates: jax.Array, targets: jax.Array) -> jax.Array:
    """Negative log-likelihood of counts; never negative."""
    loss = jnp.exp(log_rates) - targets * log_rates + gammaln(targets + 1)
    return jnp.mean(loss, -1)


def pinball(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss whose minimizer is the quantile at nine tenths; it has a kink."""
    short = targets - outputs
    return jnp.mean(jnp.maximum(0.9 * short, -0.1 * short), -1)


def huber(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Huber's loss with the kink at 1."""
    return jnp.mean(optax.huber_loss(outputs, targets), -1)


def explained_counts(
    log_rates: jax.Array, targets: jax.Array, train: jax.Array
) -> jax.Array:
    """R^2 of the rates."""
    return explained(jnp.exp(log_rates), targets, train)


NEW_TASKS: dict[str, Callable[[], Task]] = {
    "iris": lambda: classify("iris", MLP((16, 3)), arrays.iris(), batch_size=8),
    "spirals": lambda: classify(
        "spirals",
        MLP((32, 32, 32, 2), nn.tanh),
        arrays.spirals(),
        batch_size=32,
    ),
    "logistic_overlap": lambda: classify(
        "logistic_overlap", MLP((2,)), arrays.overlap(), batch_size=32
    ),
    "poisson": lambda: Task(
        "poisson",
        MLP((32, 1), nn.tanh),
        arrays.counts(),
        poisson,
        explained_counts,
    ),
    "quantile": lambda: regress(
        "quantile", MLP((64, 1)), arrays.diabetes(), pinball, batch_size=32
    ),
    "matrix_factors": lambda: regress(
        "matrix_factors", Factors((80, 60), 4), arrays.ratings()
    ),
    "digits_values": lambda: regress(
        "digits_values", MLP((64, 64, 1)), arrays.digit_values(), huber
    ),
    "digits_sigmoid": lambda: classify(
        "digits_sigmoid", MLP((64, 64, 10), nn.sigmoid), arrays.flat_digits()
    ),
    "digits_normed": lambda: classify(
        "digits_normed", Normed(32, 6, 10), arrays.flat_digits(), batch_size=32
    ),
    "text_gru": lambda: classify(
        "text_gru",
        TextGRU(100),
        arrays.text(100, 12),
        batch_size=16,
        num_steps=400,
        lanes=1,
    ),
}
