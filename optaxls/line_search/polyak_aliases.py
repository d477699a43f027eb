"""The published Polyak optimizers: compositions of parts, no more."""

import math

import optax

from optaxls import _checks
from optaxls._types import InitialStep
from optaxls.line_search._engine import backtracking
from optaxls.line_search.conditions import zhang_hager
from optaxls.line_search.polyak_steps import polyak, smoothed_polyak
from optaxls.line_search.transform import scale_by_initial_step, scale_by_line_search


def polyak_rule(
    polyak_c: float,
    lower_bound: float,
    max_step_size: float,
    growth: float | None,
    steps_per_epoch: float | None,
    initial_step_size: float,
    eps: float,
) -> InitialStep:
    """The Polyak step, capped, or smoothed where a growth is given."""
    _checks.require("c", polyak_c, "(0, inf)")
    if growth is None:
        return polyak(polyak_c, lower_bound, max_step_size=max_step_size, eps=eps)
    if steps_per_epoch is None:
        raise ValueError(
            f"steps_per_epoch is needed with growth = {growth!r}: "
            "pass dataset_size / batch_size, a number in (0, inf)"
        )
    return smoothed_polyak(
        polyak_c,
        lower_bound,
        initial_step_size,
        growth,
        steps_per_epoch,
        max_step_size=max_step_size,
        eps=eps,
    )


def sps(
    *,
    c: float = 0.5,
    lower_bound: float = 0.0,
    max_step_size: float = math.inf,
    growth: float | None = None,
    steps_per_epoch: float | None = None,
    initial_step_size: float = 1.0,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with the stochastic Polyak step size (SPS, SPS_max, smoothed SPS).

    :math:`\eta_k = \min\big((f_k - f_k^*)/(c\|g_k\|^2 + \epsilon), \eta_{\max}\big)`;
    with a ``growth`` also at most :math:`\gamma^{1/N}\eta_{k-1}`.

    Args:
      c: > 0; 0.5 in the convex theory, 0.2 in the smoothed network experiments.
      lower_bound: f*, of the mini-batch loss; ``update(..., lower_bound=...)``
        overrules it per batch.
      max_step_size: > 0; set it where the data are not interpolated.
      growth: gamma >= 1 per epoch, or None for no smoothing.
      steps_per_epoch: N > 0, needed with ``growth``.
      initial_step_size: > 0, the cap before the first smoothed step.
      eps: >= 0.

    Returns:
      An optimizer; ``update`` needs ``params`` and ``value`` only.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No forward pass; no copy of the params.

    Example:
      >>> import jax.numpy as jnp, optax, optaxls
      >>> optimizer = optaxls.sps(c=0.5)
      >>> w = jnp.array([2.0])
      >>> updates, _ = optimizer.update(w, optimizer.init(w), w, value=jnp.array(2.0))
      >>> print(optax.apply_updates(w, updates))    # f = w^2 / 2: 1 / (2 c L) = 1
      [0.]

    Reference:
      Loizou et al., Stochastic Polyak Step-size for SGD, 2021, arXiv:2002.10542,
      equations 2 and 3 and the smoothing of section 4.
    """
    rule = polyak_rule(
        c, lower_bound, max_step_size, growth, steps_per_epoch, initial_step_size, eps
    )
    return optax.chain(optax.scale(-1), scale_by_initial_step(rule, name="sps"))


def ponos_step(
    name: str,
    c: float,
    polyak_c: float,
    decrease_factor: float,
    decay: float,
    min_step_size: float,
    max_step_size: float,
    lower_bound: float,
    memory: bool,
    max_trials: int,
) -> optax.GradientTransformationExtraArgs:
    """The nonmonotone search from the Polyak step, along any direction."""
    search = backtracking(decrease_factor, max_trials=max_trials)
    rule = polyak(
        polyak_c,
        lower_bound,
        min_step_size,
        max_step_size,
        memory=decrease_factor if memory else None,
    )
    return scale_by_line_search(zhang_hager(c, decay), rule, search, name=name)


def ponos(
    *,
    c: float = 0.5,
    polyak_c: float = 0.1,
    decrease_factor: float = 0.5,
    decay: float = 1.0,
    min_step_size: float = 1e-6,
    max_step_size: float = 10.0,
    lower_bound: float = 0.0,
    memory: bool = True,
    max_trials: int = 100,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with a nonmonotone line search that starts at the Polyak step (PoNoS).

    First trial :math:`\operatorname{clip}(\delta^{l_k} f_k/(c_p\|g_k\|^2),
    \eta_{\min}, \eta_{\max})`; accepts when
    :math:`f_k(w_k - \eta g_k) \le \max(C_k, f_k) - c\,\eta\|g_k\|^2` with the mean
    :math:`C_k` of the past losses (``zhang_hager``);
    :math:`l_{k+1} = \max(l_k + e_k - 1, 0)` after :math:`e_k` backtracks.

    Args:
      c: sufficient decrease, in (0, 1).
      polyak_c: c_p > 0: the first trial is 1 / (2 c_p) times the convex Polyak step.
      decrease_factor: delta, in (0, 1), of the search and of the memory.
      decay: xi in [0, 1]: 1 (the mean of all losses) for networks, < 1 for convex
        problems and least squares, where 1 stalls.
      min_step_size: >= 0.
      max_step_size: > 0. Softmax losses near 0 press against 10; 1e3 is then better.
      lower_bound: f*, loss units.
      memory: whether past backtracks shorten the first trial.
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Median one forward pass per step; no copy of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.ponos()
      >>> step = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)
      >>> w = jnp.array([1.0])
      >>> result = step(w, optimizer.init(w))
      >>> print(f"{result.metrics['step_size']:.3f}")     # 5, 2.5, 1.25, 0.625
      0.625

    Reference:
      Galli, Rauhut, Schmidt, Don't be so Monotone, 2023, arXiv:2306.12747,
      Algorithm 1.
    """
    step_rule = ponos_step(
        "ponos", c, polyak_c, decrease_factor, decay,
        min_step_size, max_step_size, lower_bound, memory, max_trials,
    )  # fmt: skip
    return optax.chain(optax.scale(-1), step_rule)
