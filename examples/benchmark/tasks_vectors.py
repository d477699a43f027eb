"""Small networks and linear models on tables of scikit-learn and on seeds."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.special import gammaln

from examples.benchmark import arrays
from examples.benchmark.networks import MLP, DeepLinear
from examples.benchmark.task import Pointwise, Task, Variables, classify, regress


def poisson(log_rates: jax.Array, targets: jax.Array) -> jax.Array:
    """Negative log-likelihood of counts; never negative."""
    loss = jnp.exp(log_rates) - targets * log_rates + gammaln(targets + 1)
    return jnp.mean(loss, -1)


def pinball(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The loss whose minimizer is the quantile at nine tenths; it has a kink."""
    short = targets - outputs
    return jnp.mean(jnp.maximum(0.9 * short, -0.1 * short), -1)


def hinge(margins: jax.Array, labels: jax.Array) -> jax.Array:
    """The hinge loss of two classes; it has a kink."""
    return jnp.maximum(0.0, 1.0 - (2.0 * labels - 1.0) * margins[:, 0])


class Penalised(Pointwise):
    """Trained with an L2 penalty on the params, validated without."""

    penalty = 1e-2

    def mean_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean over the examples, and the penalty."""
        squares = sum(jnp.sum(w**2) for w in jax.tree.leaves(variables["params"]))
        return self.valid_loss(variables, x, y) + 0.5 * self.penalty * squares

    def valid_loss(self, variables: Variables, x: jax.Array, y: jax.Array) -> jax.Array:
        """The mean over the examples."""
        return super().mean_loss(variables, x, y)


def _tables() -> dict[str, Callable[[], Task]]:
    return {
        "cancer_mlp": lambda: classify(
            "cancer_mlp", "tables", MLP((32, 32, 2)), arrays.cancer(), batch_size=16
        ),
        "wine_small_batch": lambda: classify(
            "wine_small_batch", "tables", MLP((32, 3)), arrays.wine(), batch_size=4,
            held_out=True,
        ),
        "cancer_kernel": lambda: classify(
            "cancer_kernel", "tables", MLP((2,)), arrays.kernel(arrays.cancer()),
            held_out=True,
        ),
        "diabetes": lambda: regress(
            "diabetes", "tables", MLP((64, 64, 1)), arrays.diabetes(), batch_size=32
        ),
        "iris": lambda: classify(
            "iris", "tables", MLP((16, 3)), arrays.iris(), batch_size=8
        ),
        "quantile": lambda: regress(
            "quantile", "tables", MLP((64, 1)), arrays.diabetes(), pinball,
            batch_size=32,
        ),
    }  # fmt: skip


def _synthetic() -> dict[str, Callable[[], Task]]:
    linear, tanh = MLP((1,)), MLP((64, 64, 1), jnp.tanh)
    return {
        "deep_linear": lambda: regress(
            "deep_linear", "synthetic", DeepLinear((10, 10, 10)), arrays.linear_map()
        ),
        "teacher": lambda: regress(
            "teacher", "synthetic", tanh, arrays.teacher(0.0), held_out=True
        ),
        "teacher_noise": lambda: regress(
            "teacher_noise", "synthetic", tanh, arrays.teacher(0.3)
        ),
        "least_squares": lambda: regress(
            "least_squares", "synthetic", linear, arrays.least_squares(0.0)
        ),
        "least_squares_noise": lambda: regress(
            "least_squares_noise", "synthetic", linear, arrays.least_squares(0.5),
            held_out=True,
        ),
        "zipf_softmax": lambda: classify(
            "zipf_softmax", "synthetic", MLP((50,)), arrays.zipf_classes(),
            held_out=True,
        ),
        "spirals": lambda: classify(
            "spirals", "synthetic", MLP((32, 32, 32, 2), nn.tanh), arrays.spirals(),
            batch_size=32, held_out=True,
        ),
        "logistic_overlap": lambda: classify(
            "logistic_overlap", "synthetic", MLP((2,)), arrays.overlap(), batch_size=32
        ),
        "poisson": lambda: regress(
            "poisson", "synthetic", MLP((32, 1), nn.tanh), arrays.counts(), poisson,
            held_out=True,
        ),
        "hinge_svm": lambda: Task(
            "hinge_svm", Penalised(MLP((1,)), hinge), arrays.scaled(), "synthetic",
            batch_size=16, held_out=True,
        ),
    }  # fmt: skip


TASKS = {**_tables(), **_synthetic()}
