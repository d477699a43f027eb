"""How much of the information about the params a model's latent variables keep back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from optaxls._core import checks, trees
from optaxls._core.loss import as_scalar


class MissingInformation(NamedTuple):
    """What part of the information is missing, by direction of the params.

    Attributes:
      rate: in [0, 1), the largest share. Near its limit EM contracts the error of the
        params by this factor a step, and that of the loss by its square.
      shares: all eigenvalues of ``I_complete^-1 I_missing``, the largest first,
        ``(num_params,)``.
      slowest: the direction of the largest one, like the params, of length 1.
    """

    rate: jax.Array
    shares: jax.Array
    slowest: Any


def missing_information(
    expected_loss_fn: Callable[[Any, Any], jax.Array], params: Any
) -> MissingInformation:
    r"""Measures the missing information of a latent-variable model: the rate of EM.

    With data x and latent variables z let :math:`Q(w, v)` (``expected_loss_fn``) be the
    mean of :math:`-\log p(x, z | w)` over :math:`p(z | x, v)`. EM goes from v to the
    minimum over w. At w = v the complete information is :math:`\nabla_w^2 Q`, and what
    is missing of it is :math:`-\nabla_w \nabla_v Q`. At a limit of EM the derivative of
    its step is :math:`I_{complete}^{-1} I_{missing}`.

    Args:
      expected_loss_fn: ``(params, at) -> loss``, Q up to terms without ``params``. Take
        the probabilities of z at ``at``, and let JAX differentiate through them.
      params: where to measure, the limit of EM; floating-point arrays.

    Returns:
      A ``MissingInformation``; its numbers have no unit, and at a limit of EM do not
      depend on how the model is parametrised. They are NaN where the complete
      information is not positive definite.

    Raises:
      TypeError: ``params`` hold no floating-point arrays, or others besides.

    Cost:
      As many products with second derivatives as there are params, twice, and the
      eigenvalues of a matrix of that size: for up to a few thousand params.

    Example:
      >>> import jax.numpy as jnp
      >>> from optaxls.diagnostics import missing_information
      >>> def expected(w, at):  # two numbers of mean w were seen, six were not
      ...     seen = jnp.sum((jnp.array([1.0, 3.0]) - w) ** 2) / 2
      ...     return seen + 6 * (w - at) ** 2 / 2
      >>> print(f"{missing_information(expected, jnp.array(2.0)).rate:.3f}")
      0.750

    Reference:
      Dempster, Laird and Rubin, Maximum likelihood from incomplete data via the EM
      algorithm, 1977; Kunstner, Kumar and Schmidt, 2021, arXiv:2011.01170.
    """
    name = "expected_loss_fn"
    checks.require_function(name, expected_loss_fn, "minimize's value_fn")
    leaves = jax.tree.leaves(params)
    kinds = [jnp.result_type(leaf) for leaf in leaves]
    if not leaves or not all(jnp.issubdtype(kind, jnp.floating) for kind in kinds):
        raise TypeError(
            f"params must be floating-point arrays, got {list(map(str, kinds))}"
        )
    dtype = trees.scalar_dtype(params)
    point, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, dtype), params))

    def loss(w: jax.Array, at: jax.Array) -> jax.Array:
        found = expected_loss_fn(unravel(w), unravel(at))
        return as_scalar(found, dtype, "what expected_loss_fn returns")

    complete, missing = jax.jacfwd(jax.grad(loss), (0, 1))(point, point)
    factor = jnp.linalg.cholesky((complete + complete.T) / 2)
    half = solve_triangular(factor, -(missing + missing.T) / 2, lower=True)
    ratio = solve_triangular(factor, half.T, lower=True)
    shares, vectors = jnp.linalg.eigh((ratio + ratio.T) / 2)
    slowest = solve_triangular(factor.T, vectors[:, -1], lower=False)
    slowest = slowest / jnp.linalg.norm(slowest)
    return MissingInformation(shares[-1], shares[::-1], unravel(slowest))
