"""A training step for losses whose gradient is costly: many steps for each."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls._core.arguments import require_arrays
from optaxls._core.loss import as_scalar, value_and_grad
from optaxls.parts.types import Params, ValueFn
from optaxls.training.deterministic.minimize import minimize
from optaxls.training.metrics import metrics
from optaxls.training.step import StepResult


def _require_examples(predictions: Any) -> None:
    """Raises unless every array of the predictions has an axis of examples."""
    leaves = trees.inexact_leaves(predictions)
    if not leaves:
        raise TypeError(
            "predict_fn must return floating-point arrays, got "
            f"{jax.tree.map(jnp.result_type, predictions)}"
        )
    if any(jnp.ndim(leaf) == 0 for leaf in leaves):
        raise ValueError(
            "predict_fn must return arrays with a leading axis of examples, got a "
            "scalar. Return the predictions, and the loss from prediction_loss_fn."
        )


def _target_distance(step_size: Any, before: Any, grads: Any, dtype: Any) -> Callable:
    """The surrogate as a function of the predictions, 0 where they meet their targets.

    It is the sum of <g, d> and |d|^2 / (2 c) with the square completed, so that it is
    never negative. Here d is the change of the predictions.
    """

    def leaf_distance(now: jax.Array, before: jax.Array, grad: jax.Array) -> jax.Array:
        wide = jnp.promote_types(dtype, jnp.result_type(before))
        scale = (step_size * before.shape[0]) * jnp.ones((), dtype)
        # Not now - target: with large predictions that would round the gradient away.
        change = jnp.asarray(now, wide) - jnp.asarray(before, wide)
        rest = change + scale * jnp.conj(jnp.asarray(grad, wide))
        return jnp.sum(jnp.real(rest * jnp.conj(rest)), dtype=dtype) / (2 * scale)

    def distance(now: Any) -> jax.Array:
        found = map(trees.inexact_leaves, (now, before, grads))
        sums = [leaf_distance(*leaves) for leaves in zip(*found, strict=True)]
        return functools.reduce(operator.add, sums)

    return distance


def _oracle(prediction_loss_fn: Callable, predictions: Any, args: tuple) -> Any:
    """The loss at the predictions and its gradient there, from one evaluation."""
    dtype = trees.scalar_dtype(predictions)

    def loss(at: Any) -> jax.Array:
        found = prediction_loss_fn(at, *args)
        return as_scalar(found, dtype, "what prediction_loss_fn returns")

    return value_and_grad(loss, predictions, False)


def make_surrogate_step(
    predict_fn: Callable[..., Any],
    prediction_loss_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    inner_steps: int,
    step_size: float,
    tolerance: float = 1e-6,
) -> Callable[..., StepResult]:
    r"""Builds a training step that makes many small steps for each costly gradient.

    The loss is :math:`\ell(z(w))`, with the predictions z (``predict_fn``) of n
    examples and a costly :math:`\ell` (``prediction_loss_fn``), the mean over them. One
    gradient :math:`g = \nabla \ell(z_0)` at the present predictions :math:`z_0` gives a
    target for every example, one gradient step of its own loss. Then the optimizer
    makes up to m steps (``inner_steps``) towards the targets, without the loss, on

    .. math:: \langle g, z(w) - z_0 \rangle
        + \frac{|z(w) - z_0|^2}{2 n \eta} + \frac{n \eta}{2} |g|^2 .

    Its gradient at the start is that of the loss. So one inner step of gradient descent
    is a step of SGD, whatever eta (``step_size``) is. The last term makes the least
    value 0 or more, so that Polyak steps may be used.

    Args:
      predict_fn: ``(params, *args) -> z``, an array or a tree of arrays, each with a
        leading axis of examples. It is evaluated at every inner step and trial. For an
        NNX model see ``optaxls.flax.predict_fn``.
      prediction_loss_fn: ``(z, *args) -> loss``, the mean over the examples.
      optimizer: any optax optimizer that can find its way on a loss that stays the
        same for m steps, such as ``sls(steps_per_epoch=1)``. Its state is kept from one
        step to the next, and with it the step size found. So searches that compare with
        past losses, such as ``ponos()``, compare those of different surrogates.
      inner_steps: m >= 1, the most steps between two evaluations of the loss.
      step_size: eta > 0, by which each prediction follows the gradient of its own
        loss; 1/curvature of that loss, such as 1 for ``(z - y)**2 / 2``.
      tolerance: >= 0, in units of the gradient. The inner steps end where no entry of
        the gradient of the surrogate is above it.

    Returns:
      ``step(params, opt_state, *args) -> StepResult``: new params and state, and the
      loss at the old params. The metrics are those of the last inner step, but
      ``num_trials`` counts the trials of all of them. Besides there are
      ``num_inner_steps``, ``num_evaluations`` of the surrogate with those trials, and
      ``inner_optimality``, its largest gradient entry at the end. The step is pure: it
      can be jitted, scanned and vmapped.

    Raises:
      ValueError: a number lies outside its range; from the step, a prediction has no
      axis of examples.
      TypeError: an argument is of another kind.

    Cost:
      One evaluation of the loss with its gradient in z, which no trial repeats. For the
      model, a forward pass, m + 1 gradients, and a forward pass for each trial.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> x, y = jnp.array([[1.0, 0.0], [1.0, 0.1]]), jnp.array([1.0, 2.0])
      >>> def predict(w, x, y):
      ...     return x @ w
      >>> def costly(z, x, y):  # evaluated once a step
      ...     return jnp.mean((z - y) ** 2) / 2
      >>> optimizer = optaxls.lbfgs()
      >>> step = jax.jit(optaxls.make_surrogate_step(
      ...     predict, costly, optimizer, inner_steps=20, step_size=1.0))
      >>> w = jnp.zeros(2)
      >>> w, _, loss, _, report = step(w, optimizer.init(w), x, y)
      >>> bool(jnp.allclose(x @ w, y, atol=1e-3)), int(report["num_inner_steps"]) < 20
      (True, True)

    Reference:
      Lavington, Vaswani, Babanezhad, Schmidt and Le Roux, Target-based surrogates for
      stochastic optimization, 2023, arXiv:2302.02607. There eta divides
      the sum over the examples; here it is the step of one.
    """
    checks.require_function("predict_fn", predict_fn, "make_step's loss_fn")
    name = "prediction_loss_fn"
    checks.require_function(name, prediction_loss_fn, "make_step's loss_fn")
    if not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be an optax optimizer, got {optimizer!r}")
    checks.require_integer("inner_steps", inner_steps, 1)
    checks.require("step_size", step_size, "(0, inf)")
    checks.require("tolerance", tolerance, "[0, inf)")

    def surrogate(predictions: Any, grads: Any, params: Params, args: tuple) -> ValueFn:
        dtype = trees.scalar_dtype(params)
        distance = _target_distance(step_size, predictions, grads, dtype)
        return lambda at: distance(predict_fn(at, *args))

    def step(params: Params, opt_state: Any, *args: Any) -> StepResult:
        require_arrays("make_surrogate_step", params)
        predictions = predict_fn(params, *args)
        _require_examples(predictions)
        value, grads = _oracle(prediction_loss_fn, predictions, args)
        found = minimize(
            surrogate(predictions, grads, params, args),
            params,
            optimizer,
            max_steps=inner_steps,
            tolerance=tolerance,
            opt_state=opt_state,
        )
        report = metrics(found.opt_state) | {
            "num_trials": found.num_trials,
            "num_inner_steps": found.num_steps,
            "num_evaluations": found.num_evaluations,
            "inner_optimality": found.optimality,
        }
        return StepResult(found.params, found.opt_state, value, (), report)

    return step
