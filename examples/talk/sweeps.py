"""The same run at every step size of a grid, in one compiled program."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from examples.talk.training import scanned

# The range of Adam's steps in the recipes, here rounded up to half a decade. On data
# that can be fitted exactly there is no best step: every longer one ends lower.
USUAL_ADAM = 10**-0.5


class Sweep(NamedTuple):
    """Runs at several step sizes.

    Attributes:
        rates: the step sizes, `(rates,)`.
        params: at the end of each run, a leading axis of rates.
        loss: `full_loss` before the first step and after every `every` steps,
            `(rates, steps // every + 1)`; not finite where a run diverged.
    """

    rates: np.ndarray
    params: Any
    loss: np.ndarray

    @property
    def final(self) -> np.ndarray:
        """The last loss of each run, infinite where it diverged."""
        return np.where(np.isfinite(self.loss[:, -1]), self.loss[:, -1], np.inf)

    @property
    def best(self) -> int:
        """The index of the step size with the least final loss."""
        return int(np.argmin(self.final))

    @property
    def best_params(self) -> Any:
        """What the best run left behind."""
        return jax.tree.map(lambda leaf: leaf[self.best], self.params)

    def up_to(self, rate: float) -> "Sweep":
        """The runs with steps of at most this size."""
        kept = self.rates <= rate * (1 + 1e-6)
        params = jax.tree.map(lambda leaf: leaf[kept], self.params)
        return Sweep(self.rates[kept], params, self.loss[kept])

    @property
    def best_at_the_edge(self) -> bool:
        """Whether the best step size is the first or last one: a grid too narrow."""
        return self.best in (0, len(self.rates) - 1)


def sweep(
    make_optimizer: Callable[[Any], optax.GradientTransformation],
    rates: Sequence[float] | np.ndarray,
    loss_fn: Callable[..., jax.Array],
    params: Any,
    batches: Any,
    *,
    full_loss: Callable[[Any], jax.Array],
    every: int = 1,
) -> Sweep:
    """Trains once at each step size, from the same point and on the same batches.

    Args:
        make_optimizer: a step size to an optimizer.
        rates: the step sizes.
        loss_fn: `(params, batch) -> loss`.
        params: to start from.
        batches: a pytree of arrays with a leading axis of steps.
        full_loss: `params -> loss`, recorded on the way.
        every: steps between two records of it; must divide the number of steps.
    """

    @jax.jit
    def run(rates, params, batches):
        def at(rate):
            made = make_optimizer(rate)
            return scanned(made, loss_fn, params, batches, full_loss, every)[:2]

        # One after the other: a matrix of parameters and its moments fit the cache.
        return jax.lax.map(at, rates)

    end, loss = run(jnp.asarray(rates, jnp.float32), params, batches)
    return Sweep(np.asarray(rates), end, np.asarray(loss))
