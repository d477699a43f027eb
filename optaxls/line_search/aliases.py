"""The published optimizers of the line-search family: compositions of parts, no more."""

import math
from typing import Any

import optax

from optaxls import _checks
from optaxls._types import InitialStep
from optaxls.line_search._engine import backtracking
from optaxls.line_search.conditions import armijo, goldstein
from optaxls.line_search.extragradient import scale_by_extragradient
from optaxls.line_search.initial_steps import (
    capped,
    constant,
    grow,
    polyak,
    smoothed_polyak,
)
from optaxls.line_search.conditions import zhang_hager
from optaxls.line_search.transform import scale_by_initial_step, scale_by_line_search

_Optimizer = optax.GradientTransformationExtraArgs


def reset_rule(
    reset: str,
    initial_step_size: float,
    growth: float = 2.0,
    steps_per_epoch: float = 1.0,
    max_step_size: float = math.inf,
) -> InitialStep:
    """The first trial of SLS: the last step kept, grown, or the initial one again."""
    _checks.require_choice("reset", reset, ("keep", "grow", "restart"))
    grown = grow(initial_step_size, growth, steps_per_epoch, max_step_size)
    rules = {
        "keep": grow(initial_step_size, 1.0, 1.0, max_step_size),
        "grow": grown,
        "restart": capped(constant(initial_step_size), max_step_size),
    }
    return rules[reset]


def sls(
    *,
    steps_per_epoch: float,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
    max_trials: int = 100,
) -> _Optimizer:
    r"""SGD with the stochastic Armijo line search (SLS).

    :math:`w_{k+1} = w_k - \eta_k g_k` with the first
    :math:`\eta \in \{\eta_0, \beta\eta_0, \beta^2\eta_0, \dots\}` such that
    :math:`f_k(w_k - \eta g_k) \le f_k(w_k) - c\,\eta\,\|g_k\|^2` on the same
    mini-batch, and :math:`\eta_0 = \gamma^{1/N}\eta_{k-1}`.

    Args:
      steps_per_epoch: N > 0, ``dataset_size / batch_size``.
      c: sufficient decrease, in (0, 1); 0.1 for networks, 0.5 in the convex theory.
      decrease_factor: beta, in (0, 1).
      growth: gamma >= 1, per epoch.
      initial_step_size: > 0.
      reset: "grow", "keep" (no growth) or "restart" (from ``initial_step_size``).
      max_step_size: > 0; the published Armijo search has none.
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Median one forward pass per step; no copy of the params.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sls(steps_per_epoch=1, c=0.5)
      >>> step = optaxls.make_step(lambda w: 2 * jnp.sum(w**2), optimizer)
      >>> result = step(jnp.array([1.0]), optimizer.init(jnp.array([1.0])))
      >>> print(f"{result.metrics['step_size']:.3f}")   # accepts eta <= 1 / L = 0.25
      0.243

    Reference:
      Vaswani et al., Painless Stochastic Gradient, 2019, arXiv:1905.09997,
      Algorithm 1 with reset option 1.
    """
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor, max_trials=max_trials)
    return optax.chain(
        optax.scale(-1.0), scale_by_line_search(armijo(c), rule, search, name="sls")
    )


def sls_goldstein(
    *,
    steps_per_epoch: float,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    increase_factor: float = 2.0,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = 10.0,
) -> _Optimizer:
    r"""SGD with the stochastic Goldstein line search.

    Accepts :math:`\eta` when :math:`f - (1-c)\,\eta\|g\|^2 \le f(w - \eta g) \le
    f - c\,\eta\|g\|^2`; shrinks by ``decrease_factor`` above, grows by
    ``increase_factor`` below, up to ``max_step_size``.

    Args:
      steps_per_epoch: as in ``sls``.
      c: in (0, 1/2).
      decrease_factor: in (0, 1).
      increase_factor: >= 1.
      growth: as in ``sls``.
      initial_step_size: > 0.
      reset: as in ``sls``.
      max_step_size: > 0. A step there is never too short: the authors' code tries the
        same point until its budget ends.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      As ``sls``, some more where the step has to grow.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sls_goldstein(steps_per_epoch=1, initial_step_size=0.01)
      >>> w = jnp.array([1.0])
      >>> result = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)(
      ...     w, optimizer.init(w))
      >>> print(f"{result.metrics['step_size']:.2f}")    # 2 c <= eta <= 2 (1 - c)
      0.32

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 2.
    """
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor, increase_factor, max_step_size=max_step_size)
    return optax.chain(
        optax.scale(-1.0),
        scale_by_line_search(goldstein(c), rule, search, name="sls_goldstein"),
    )


def sls_momentum(
    *,
    variant: str = "polyak",
    momentum: float = 0.6,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    initial_step_size: float = 1.0,
    reset: str = "keep",
) -> _Optimizer:
    r"""SLS followed by momentum: the search sees the plain gradient step only.

    "polyak": :math:`w_{k+1} = w_k - \eta_k g_k + \mu (w_k - w_{k-1})`. "nesterov":
    with :math:`y_{k+1} = w_k - \eta_k g_k`,
    :math:`w_{k+1} = y_{k+1} + \mu (y_{k+1} - y_k)`.

    Args:
      variant: "polyak" or "nesterov".
      momentum: mu, in [0, 1).
      c: in (0, 1).
      decrease_factor: in (0, 1).
      initial_step_size: > 0.
      reset: "keep" or "restart": without ``steps_per_epoch`` there is no growth rate.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. What
      momentum adds after the search is not tested: the loss may rise.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      As ``sls``; one copy of the params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sls_momentum(momentum=0.5)
      >>> step = optaxls.make_step(lambda w: 0.25 * jnp.sum(w**2), optimizer)
      >>> w = jnp.array([1.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(2):
      ...     w, state, *_ = step(w, state)
      >>> print(w)       # 1 -> 0.5 -> 0.5 - 0.25 + 0.5 (0.5 - 1)
      [0.]

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, appendix on acceleration. The authors'
      Nesterov code loses its first step and advances its sequence every other step;
      ours keeps one weight, as ``optax.trace`` does.
    """
    _checks.require_choice("variant", variant, ("polyak", "nesterov"))
    _checks.require_choice("reset", reset, ("keep", "restart"))
    _checks.require("momentum", momentum, "[0, 1)")
    rule = reset_rule(reset, initial_step_size)
    search = backtracking(decrease_factor)
    return optax.chain(
        optax.scale(-1.0),
        scale_by_line_search(armijo(c), rule, search, name="sls_momentum"),
        optax.trace(momentum, nesterov=variant == "nesterov"),
    )


def sls_extragradient(
    *,
    steps_per_epoch: float,
    c: float = 0.9,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
    max_trials: int = 100,
) -> _Optimizer:
    r"""Stochastic extragradient with a Lipschitz line search (SEG).

    :math:`w' = w - \eta\nabla f(w)`, accepted when
    :math:`\|\nabla f(w') - \nabla f(w)\| \le c\|\nabla f(w)\|`; then
    :math:`w_+ = w - \eta\nabla f(w')`.

    Args:
      steps_per_epoch: as in ``sls``.
      c: in (0, 1).
      decrease_factor: in (0, 1).
      growth: as in ``sls``.
      initial_step_size: > 0.
      reset: as in ``sls``.
      max_step_size: > 0.
      max_trials: >= 1.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad`` and ``grad_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      A gradient per trial and one more: about twice SGD's at best.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.sls_extragradient(steps_per_epoch=1, growth=1.0, c=0.5,
      ...                                       decrease_factor=0.5)
      >>> w = jnp.array([1.0])
      >>> result = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)(
      ...     w, optimizer.init(w))
      >>> print(result.params)      # eta = 1/2: 1 - eta (1 - eta)
      [0.75]

    Reference:
      Vaswani et al. 2019, arXiv:1905.09997, Algorithm 3.
    """
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor, max_trials=max_trials)
    return optax.chain(
        optax.scale(-1.0),
        scale_by_extragradient(rule, search, c=c, name="sls_extragradient"),
    )


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
) -> _Optimizer:
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
    return optax.chain(optax.scale(-1.0), scale_by_initial_step(rule, name="sps"))


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
) -> _Optimizer:
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
    rule = polyak(
        polyak_c,
        lower_bound,
        min_step_size,
        max_step_size,
        memory=decrease_factor if memory else None,
    )
    search = backtracking(decrease_factor, max_trials=max_trials)
    condition = zhang_hager(c, decay)
    return optax.chain(
        optax.scale(-1.0), scale_by_line_search(condition, rule, search, name="ponos")
    )
