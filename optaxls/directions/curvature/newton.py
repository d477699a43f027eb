"""Newton's direction: the gradient, multiplied by the inverse of a damped Hessian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arguments
from optaxls._core.loss import hvp_of, scalar_value_fn
from optaxls.parts.searches._loop import while_loop
from optaxls.parts.types import Params


def _real_leaves(tree: Params, dtype: Any) -> list[jax.Array]:
    """The trained leaves in ``dtype``; of complex ones, real and imaginary parts."""
    return [
        (
            jnp.stack([jnp.real(leaf), jnp.imag(leaf)])
            if jnp.iscomplexobj(leaf)
            else jnp.asarray(leaf)
        ).astype(dtype)
        for leaf in trees.inexact_leaves(tree)
    ]


def _filled(tree: Params, reals: list[jax.Array]) -> Params:
    """``tree`` with such leaves in place of its trained ones, in their dtypes."""
    leaves, treedef = jax.tree.flatten(tree)
    values = iter(reals)

    def leaf_of(leaf: Any) -> Any:
        if not trees.is_inexact(leaf):
            return leaf
        real = next(values)
        if jnp.iscomplexobj(leaf):
            real = jax.lax.complex(real[0], real[1])
        return real.astype(jnp.result_type(leaf))

    return treedef.unflatten([leaf_of(leaf) for leaf in leaves])


def _preconditioner(
    name: str, solve: Callable[[Callable, Params, list[jax.Array]], list[jax.Array]]
) -> optax.GradientTransformationExtraArgs:
    """The transformation whose ``solve`` gets loss, params and the gradient's parts."""

    def update(
        updates: Params,
        state: Any,
        params: Any = None,
        *,
        value_fn: Any = None,
        curvature_value_fn: Any = None,
        **extra: Any,
    ) -> tuple[Params, Any]:
        del extra
        require_arguments(name, params=params, value_fn=value_fn)
        loss_fn = value_fn if curvature_value_fn is None else curvature_value_fn
        dtype = trees.scalar_dtype(params)
        reals = _real_leaves(updates, dtype)
        if not reals:
            return updates, state
        solution = solve(scalar_value_fn(loss_fn, dtype), params, reals)
        finite = jnp.isfinite(trees.sqnorm(solution, dtype))
        return _filled(updates, trees.zero_unless(finite, solution)), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def _conjugate_gradients(
    product: Callable, right: list[jax.Array], max_steps: int, tolerance: float
) -> list[jax.Array]:
    """Solves ``product(x) = right`` from 0, until the residual is small enough.

    Not that of ``jax.scipy``: un-jitted, it compiles anew at every optimizer step.
    """
    dtype = right[0].dtype
    smallest = tolerance**2 * trees.sqnorm(right, dtype)

    def plus(left: Any, factor: jax.Array, other: Any) -> Any:
        return [a + factor * b for a, b in zip(left, other, strict=True)]

    def body(carry: Any) -> Any:
        count, solution, residual, along, sqnorm = carry
        image = product(along)
        step = sqnorm / trees.inner(along, image, dtype)
        solution, residual = plus(solution, step, along), plus(residual, -step, image)
        new = trees.sqnorm(residual, dtype)
        return count + 1, solution, residual, plus(residual, new / sqnorm, along), new

    def goes_on(carry: Any) -> jax.Array:
        return (carry[0] < max_steps) & (carry[-1] > smallest)

    count, zeros = jnp.zeros((), jnp.int32), [jnp.zeros_like(leaf) for leaf in right]
    start = (count, zeros, right, right, trees.sqnorm(right, dtype))
    return while_loop(goes_on, body, start)[1]


def scale_by_newton(*, damping: float = 1e-3) -> optax.GradientTransformationExtraArgs:
    r"""Multiplies the gradient by the inverse of the damped Hessian, as a dense matrix.

    :math:`g \mapsto (H + \tau I)^{-1} g`, with the Hessian H of the loss of a batch at
    the params. All trained leaves together are one vector; integer leaves stay.

    Args:
      damping: tau, in [0, inf); units of the loss over params squared.

    Returns:
      A transformation of gradients; ``optax.scale(-1.0)`` belongs behind it. ``update``
      needs ``params`` and ``value_fn``. With ``curvature_value_fn``, a loss on an
      independent batch, the Hessian is that of this loss. A solution that is not finite
      gives zeros. Where the damped Hessian is not positive definite, the direction may
      climb.

    Raises:
      ValueError: ``damping`` lies outside its range.
      TypeError: ``params`` or ``value_fn`` is missing from ``update``.

    Cost:
      A matrix of the number of params squared, as many products with the Hessian as
      there are params, and a solve. For thousands of params at most.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_newton(damping=1.0)
      >>> w = jnp.array([1.0, 2.0])
      >>> loss = lambda w: 0.5 * w[0]**2 + 1.5 * w[1]**2       # curvatures 1 and 3
      >>> grad = jnp.array([1.0, 6.0])
      >>> print(tx.update(grad, tx.init(w), w, value_fn=loss)[0])  # 1 / 2 and 6 / 4
      [0.5 1.5]

    Reference:
      Meng, Vaswani, Laradji, Schmidt, Lacoste-Julien 2020, arXiv:1910.04920
      (R-SSN).
    """
    checks.require("damping", damping, "[0, inf)")

    def solve(
        loss_fn: Callable, params: Params, grad: list[jax.Array]
    ) -> list[jax.Array]:
        start, unravel = ravel_pytree(_real_leaves(params, grad[0].dtype))
        hessian = jax.hessian(lambda at: loss_fn(_filled(params, unravel(at))))(start)
        damped = hessian + damping * jnp.eye(len(start), dtype=start.dtype)
        solution = jnp.linalg.solve(damped, ravel_pytree(grad)[0])
        return unravel(solution.astype(start.dtype))

    return _preconditioner("scale_by_newton", solve)


def scale_by_hessian_free(
    *, damping: float = 1e-3, max_cg_steps: int = 10
) -> optax.GradientTransformationExtraArgs:
    r"""Multiplies the gradient by the inverse of the damped Hessian, without a matrix.

    As ``scale_by_newton``, with :math:`(H + \tau I) d = g` solved by conjugate
    gradients from 0, which need products with the Hessian only.

    Args:
      damping: tau, in [0, inf); units of the loss over params squared.
      max_cg_steps: >= 1. As many as there are params solve the system, but for
        rounding.

    Returns:
      A transformation of gradients; ``optax.scale(-1.0)`` belongs behind it. ``update``
      needs ``params`` and ``value_fn``, and takes ``curvature_value_fn``. A solution
      that is not finite gives zeros. Where the damped Hessian is not positive definite,
      the direction may climb.

    Raises:
      ValueError: an argument lies outside its range.
      TypeError: ``params`` or ``value_fn`` is missing from ``update``.

    Cost:
      At most ``max_cg_steps + 1`` products with the Hessian, each about two gradients;
      four copies of the params during the step.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> tx = optaxls.scale_by_hessian_free(damping=1.0)
      >>> w = jnp.array([1.0, 2.0])
      >>> loss = lambda w: 0.5 * w[0]**2 + 1.5 * w[1]**2       # curvatures 1 and 3
      >>> updates, _ = tx.update(jnp.array([1.0, 6.0]), tx.init(w), w, value_fn=loss)
      >>> bool(jnp.allclose(updates, jnp.array([0.5, 1.5])))
      True

    Reference:
      Martens 2010, Deep learning via Hessian-free optimization, section 4; Meng et al.
      2020, arXiv:1910.04920.
    """
    checks.require("damping", damping, "[0, inf)")
    checks.require_integer("max_cg_steps", max_cg_steps, 1)

    def solve(
        loss_fn: Callable, params: Params, grad: list[jax.Array]
    ) -> list[jax.Array]:
        product, dtype = hvp_of(loss_fn), grad[0].dtype

        def damped(vector: list[jax.Array]) -> list[jax.Array]:
            along = _real_leaves(product(params, _filled(params, vector)), dtype)
            pairs = zip(along, vector, strict=True)
            return [h + (damping * v).astype(dtype) for h, v in pairs]

        tolerance = float(jnp.finfo(dtype).eps)
        return _conjugate_gradients(damped, grad, max_cg_steps, tolerance)

    return _preconditioner("scale_by_hessian_free", solve)
