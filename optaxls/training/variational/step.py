"""The training step of an optimizer that trains a posterior."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks
from optaxls._core.arguments import require_arrays
from optaxls._core.loss import value_and_grad
from optaxls._core.splitting import checked_split, split_flags
from optaxls.parts.types import Params
from optaxls.training._update import updated
from optaxls.training.metrics import metrics
from optaxls.training.step import StepResult
from optaxls.training.variational.posterior import posterior_sample


def _mean(tree: Any) -> Any:
    """The mean over the leading axis; integer leaves, with gradients of 0, stay."""

    def leaf(stacked: jax.Array) -> jax.Array:
        inexact = jnp.issubdtype(stacked.dtype, jnp.inexact)
        return jnp.mean(stacked, 0) if inexact else stacked[0]

    return jax.tree.map(leaf, tree)


def _example_grads(loss_fn: Callable, split: Any, args: tuple) -> Callable:
    """``params -> `` gradients of all examples, each as a batch of one."""

    def grads(params: Params) -> Params:
        leaves, treedef = jax.tree.flatten(args)
        flags = split_flags("make_vi_step", split, args, "loss_fn, optimizer")
        axes = [0 if flag else None for flag in flags]

        def grad(*example: Any) -> Params:
            pairs = zip(flags, example, strict=True)
            one = [jnp.asarray(leaf)[None] if flag else leaf for flag, leaf in pairs]
            of_one = lambda at: loss_fn(at, *treedef.unflatten(one))  # noqa: E731
            return value_and_grad(of_one, params, False)[1]

        return jax.vmap(grad, in_axes=axes)(*leaves)

    return grads


def make_vi_step(
    loss_fn: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    num_samples: int = 1,
    split: Any = None,
) -> Callable[..., StepResult]:
    """Builds the training step of ``ivon``, ``vogn``, ``von`` or ``iblr``.

    It draws samples of the posterior, takes the loss's gradient at each of them, and
    passes both to the optimizer. Batch, dropout key and other arguments are the same
    for all samples.

    Args:
      loss_fn: ``(params, *args) -> loss``, the mean over the examples of the batch.
      optimizer: one that trains a posterior, also inside a chain.
      num_samples: >= 1. Several are evaluated at once, by ``vmap``.
      split: which arguments have one entry per example: a bool, or a tuple with a bool
        for each of ``args``, or a tree of them. By default every array has. ``vogn``
        needs it for the gradients of single examples. A loss that mixes examples, as
        batch norm does, has none.

    Returns:
      ``step(params, opt_state, *args) -> StepResult``: the new mean and state, the mean
      loss over the samples, and ``metrics``. It is pure and can be used under ``jit``,
      ``scan`` and ``vmap``. Losses with statistics of batch norm need a step of your
      own: only one sample's can be kept.

    Raises:
      TypeError: ``loss_fn`` or ``optimizer`` is not what it should be; from the step,
      the state has no posterior. ValueError: ``num_samples`` lies outside its range.

    Cost:
      One loss and gradient per sample, and those of single examples for ``vogn``.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> x = jax.random.normal(jax.random.key(0), (64, 3))
      >>> y = x @ jnp.array([1.0, -1.0, 0.5])
      >>> loss = lambda w, x, y: jnp.mean((x @ w - y) ** 2) / 2
      >>> optimizer = optaxls.ivon(ess=64)
      >>> step = jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=4))
      >>> w = jnp.zeros(3)
      >>> state = optimizer.init(w)
      >>> for _ in range(100):
      ...     w, state, value, _, report = step(w, state, x, y)
      >>> bool(jnp.max(jnp.abs(w - jnp.array([1.0, -1.0, 0.5]))) < 0.3)
      True

    Reference:
      Shen et al. 2024, arXiv:2402.17641, Algorithm 1.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn must be callable, got {loss_fn!r}")
    if not hasattr(optimizer, "update"):
        raise TypeError(f"optimizer must be an optax optimizer, got {optimizer!r}")
    checks.require_integer("num_samples", num_samples, 1)
    split = checked_split(split)
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params: Params, opt_state: Any, *args: Any) -> StepResult:
        require_arrays("make_vi_step", params)

        def value_fn(at: Params) -> Any:
            return loss_fn(at, *args)

        def evaluate(at: Params) -> Any:
            return value_and_grad(value_fn, at, False)

        def grad_fn(at: Params, *_: Any) -> Params:
            return evaluate(at)[1]

        further = {"example_grad_fn": _example_grads(loss_fn, split, args)}
        samples = posterior_sample(opt_state, params, num_samples)
        if num_samples == 1:
            value, grads = evaluate(samples)
        else:
            value, every = jax.vmap(evaluate)(samples)
            value, grads = jnp.mean(value), _mean(every)
            further["sample_grads"] = every
        params, opt_state = updated(
            optimizer, params, opt_state, value=value, grads=grads,
            value_fn=value_fn, grad_fn=grad_fn, further=further,
        )  # fmt: skip
        return StepResult(params, opt_state, value, (), metrics(opt_state))

    return step
