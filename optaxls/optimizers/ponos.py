"""PoNoS (Galli, Rauhut, Schmidt 2023): compositions of parts."""

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._sign import descent
from optaxls.parts.conditions.nonmonotone import zhang_hager
from optaxls.parts.initial_steps.polyak import polyak
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import Path
from optaxls.transforms.preconditioned import scale_by_preconditioned_search
from optaxls.transforms.searched import scale_by_line_search


def _ponos_step(
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
    path: Path = along_direction,
) -> optax.GradientTransformationExtraArgs:
    """A nonmonotone line search that begins at the Polyak step, along any direction."""
    search = backtracking(decrease_factor, max_trials=max_trials)
    rule = polyak(
        polyak_c,
        lower_bound,
        min_step_size,
        max_step_size,
        memory=decrease_factor if memory else None,
    )
    condition = zhang_hager(c, decay)
    return scale_by_line_search(condition, rule, search, path=path, name=name)


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
    path: Path = along_direction,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with a nonmonotone line search that starts at the Polyak step (PoNoS).

    The first trial is :math:`\operatorname{clip}(\delta^{l_k} f_k/(c_p\|g_k\|^2),
    \eta_{\min}, \eta_{\max})`. A trial is accepted when
    :math:`f_k(w_k - \eta g_k) \le \max(C_k, f_k) - c\,\eta\|g_k\|^2` with the mean
    :math:`C_k` of the past losses (``zhang_hager``). After :math:`e_k` backtracks
    :math:`l_{k+1} = \max(l_k + e_k - 1, 0)`.

    Args:
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      polyak_c: c_p > 0: the first trial is 1 / (2 c_p) times the convex Polyak step.
      decrease_factor: delta, in (0, 1), of the search and of the memory.
      decay: xi in [0, 1], the weight of past losses in the mean. 1, the mean of all, is
        for networks; take less for convex problems and least squares, where 1 stalls.
        With 1, as published, steps climb for long after the scale of the loss has
        fallen for good; with 0.9 the mean follows within some fifty steps.
      min_step_size: >= 0, the shortest first trial.
      max_step_size: > 0, the longest first trial. Softmax losses near 0 need more than
        10; take 1e3 there.
      lower_bound: f*, loss units. On a batch whose loss lies there or below, no step is
        made and ``accepted`` is False: a loss that may be negative needs its own.
      memory: whether the backtracks of past searches shorten the first trial.
      max_trials: >= 1, evaluations that a search may spend.
      path: where a step leads. ``along_projection(...)`` is the projected method.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      The median step costs one forward pass. No copy of the params is kept.

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
    step_rule = _ponos_step(
        "ponos", c, polyak_c, decrease_factor, decay,
        min_step_size, max_step_size, lower_bound, memory, max_trials, path,
    )  # fmt: skip
    return conjugated(optax.chain(descent(), step_rule))


def adam_ponos(
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    search_b1: float = 0.0,
    c: float = 0.1,
    polyak_c: float = 0.1,
    decrease_factor: float = 0.5,
    decay: float = 1.0,
    min_step_size: float = 1e-6,
    max_step_size: float = 10.0,
    lower_bound: float = 0.0,
    memory: bool = True,
    max_trials: int = 100,
    variant: str = "adam",
) -> optax.GradientTransformationExtraArgs:
    r"""Adam with a nonmonotone line search that starts at the Polyak step (PoNoS_prec).

    It is ``ponos`` along :math:`-P g` with :math:`P = 1/(\sqrt{\hat v} + \epsilon)`,
    and :math:`\sum_j P_j g_j^2` in place of :math:`\|g\|^2`. The first trial is
    :math:`f/(c_p\sum_j P_j g_j^2)`. The accepted trial is the next iterate: with steps
    this long, momentum that was not tested diverges.

    Args:
      b1: weight of the momentum, in [0, 1); used only where ``search_b1`` is not 0.
      b2: weight of the past squares, in [0, 1).
      search_b1: 0 goes along the plain preconditioned gradient, ``b1`` along the
        momentum direction (no step on a batch where that is uphill).
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      polyak_c: c_p > 0; the first trial is divided by it.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      decay: in [0, 1], the weight of past losses in the mean that a trial is compared
        with; 1 is the mean of all losses, 0 the present loss.
      min_step_size: >= 0, the shortest first trial.
      max_step_size: > 0, the longest first trial.
      lower_bound: f*, loss units. On a batch whose loss lies there or below, no step is
        made and ``accepted`` is False: a loss that may be negative needs its own.
      memory: whether the backtracks of past searches shorten the first trial.
      max_trials: >= 1, evaluations that a search may spend.
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      The median step costs one forward pass. One copy of the params is kept per moment
      in use.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.adam_ponos()
      >>> w = jnp.array([2.0])
      >>> result = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)(
      ...     w, optimizer.init(w))
      >>> print(result.metrics["step_size"])    # from 10, halved
      2.5

    Reference:
      Galli, Rauhut, Schmidt 2023, arXiv:2306.12747, section on PoNoS_prec. The
      published class does not run as configured. Here the condition uses the slope of
      the searched direction.
    """
    checks.require("b1", b1, "[0, 1)")
    if isinstance(search_b1, (int, float)):
        checks.require_choice("search_b1", search_b1, (0, b1))
    momentum = b1 * (search_b1 != 0)
    step_rule = _ponos_step(
        "adam_ponos", c, polyak_c, decrease_factor, decay,
        min_step_size, max_step_size, lower_bound, memory, max_trials,
    )  # fmt: skip
    optimizer = scale_by_preconditioned_search(
        step_rule,
        variant=variant,
        b1=momentum,
        b2=b2,
        search_b1=momentum,
        name="adam_ponos",
    )
    return conjugated(optimizer)
