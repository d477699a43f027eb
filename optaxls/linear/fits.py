"""What the solvers of linear models return."""

from typing import NamedTuple

import jax


class Fit(NamedTuple):
    """What a solver returns.

    Attributes:
      coefficients: ``w``, shape ``(d,)``.
      intercept: ``b``, scalar; 0 where none is fitted.
      objective: of all examples there, with the penalties, scalar.
      optimality: the largest entry there of the gradient, of the prox-gradient
        ``w - prox(w - gradient)`` with L1, scalar.
      num_passes: passes over the examples, int32.
      converged: whether ``optimality`` is at most the tolerance.
    """

    coefficients: jax.Array
    intercept: jax.Array
    objective: jax.Array
    optimality: jax.Array
    num_passes: jax.Array
    converged: jax.Array
