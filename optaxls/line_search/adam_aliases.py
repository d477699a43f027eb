"""The published optimizers under Adam's preconditioner: compositions of parts."""

import math

import optax

from optaxls import _checks, _momentum
from optaxls.line_search._engine import backtracking
from optaxls.line_search.adam import as_searched, scale_by_preconditioned_search
from optaxls.line_search.conditions import armijo, smoothed_armijo
from optaxls.line_search.gates import always, when_unsteady
from optaxls.line_search.initial_steps import grow
from optaxls.line_search.polyak_aliases import polyak_rule, ponos_step
from optaxls.line_search.sls_aliases import reset_rule
from optaxls.line_search.transform import scale_by_initial_step, scale_by_line_search

_MOMENTA = ("standard", "heavy_ball", "nesterov")


def _with_momentum(
    step_rule: optax.GradientTransformationExtraArgs,
    momentum: str,
    b1: float,
    b2: float,
    variant: str,
    name: str,
) -> optax.GradientTransformationExtraArgs:
    """Momentum inside the preconditioner, or heavy ball / Nesterov after the step."""
    _checks.require_choice("momentum", momentum, _MOMENTA)
    inside = b1 if momentum == "standard" else 0.0
    searched = scale_by_preconditioned_search(
        step_rule, variant=variant, b1=inside, b2=b2, name=name
    )
    if momentum == "standard":
        return searched
    return optax.chain(searched, _momentum.trace(b1, nesterov=momentum == "nesterov"))


def adam_sls(
    *,
    steps_per_epoch: float,
    variant: str = "adam",
    b1: float = 0.0,
    b2: float = 0.99,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    growth: float = 2.0,
    initial_step_size: float = 1.0,
    reset: str = "grow",
    max_step_size: float = math.inf,
    momentum: str = "standard",
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, AMSGrad, AdaGrad or RMSProp with the Armijo line search.

    :math:`f(w - \eta P g) \le f(w) - c\,\eta\sum_j P_j g_j^2` with
    :math:`P = 1/(\sqrt{\hat v} + \epsilon)`, searched without momentum; then
    :math:`w_+ = w - \eta P \hat m`.

    Args:
      steps_per_epoch: as in ``sls``.
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      c: in (0, 1).
      decrease_factor: in (0, 1).
      growth: as in ``sls``.
      initial_step_size: > 0; the authors use 100 with AdaGrad and reset "keep".
      reset: as in ``sls``.
      max_step_size: > 0.
      momentum: "standard" (Adam's), "heavy_ball" (:math:`b_1 (w_k - w_{k-1})` after
        the step) or "nesterov" (what the authors' code calls heavy ball).

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Median one forward pass; one copy of the params per moment in use.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.adam_sls(steps_per_epoch=1, growth=1.0)
      >>> w = jnp.array([1.0, 1.0])
      >>> scales = jnp.array([1.0, 100.0])
      >>> result = optaxls.make_step(
      ...     lambda w: 0.5 * jnp.sum(scales * w**2), optimizer)(w, optimizer.init(w))
      >>> bool(jnp.max(jnp.abs(result.params)) < 1e-5)
      True

    Reference:
      Vaswani et al. 2020, arXiv:2006.06835, Algorithm 1.
    """
    rule = reset_rule(reset, initial_step_size, growth, steps_per_epoch, max_step_size)
    search = backtracking(decrease_factor)
    step_rule = scale_by_line_search(armijo(c), rule, search, name="adam_sls")
    return _with_momentum(step_rule, momentum, b1, b2, variant, "adam_sls")


def adam_sps(
    *,
    variant: str = "adam",
    b1: float = 0.0,
    b2: float = 0.99,
    c: float = 0.5,
    lower_bound: float = 0.0,
    max_step_size: float = math.inf,
    growth: float | None = None,
    steps_per_epoch: float | None = None,
    initial_step_size: float = math.inf,
    momentum: str = "standard",
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, AMSGrad, AdaGrad or RMSProp with the Polyak step size.

    :math:`\eta = (f - f^*)/(c\sum_j P_j g_j^2 + \epsilon)` with
    :math:`P = 1/(\sqrt{\hat v} + \epsilon)`, capped as in ``sps``.

    Args:
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      c: > 0.
      lower_bound: as in ``sps``.
      max_step_size: > 0.
      growth: as in ``sps``.
      steps_per_epoch: as in ``sps``.
      initial_step_size: > 0; inf leaves the first smoothed step uncapped, as published.
      momentum: as in ``adam_sls``.
      eps: >= 0, of the Polyak ratio.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value`` and ``grad``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      No forward pass; one copy of the params per moment in use.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.adam_sps(c=1.0)
      >>> w = jnp.array([2.0])
      >>> result = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)(
      ...     w, optimizer.init(w))
      >>> print(result.params)     # P = 1/2: eta = f / (P g^2) = 1
      [1.]

    Reference:
      Vaswani et al. 2020, arXiv:2006.06835, section 5 (Armijo and SPS step sizes).
    """
    rule = polyak_rule(
        c, lower_bound, max_step_size, growth, steps_per_epoch, initial_step_size, eps
    )
    step_rule = scale_by_initial_step(rule, name="adam_sps")
    return _with_momentum(step_rule, momentum, b1, b2, variant, "adam_sps")


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
    r"""PoNoS under Adam's preconditioner (PoNoS_prec).

    ``ponos`` along :math:`-P g` with :math:`P = 1/(\sqrt{\hat v} + \epsilon)`: first
    trial :math:`f/(c_p\sum_j P_j g_j^2)`, nonmonotone Armijo with
    :math:`\sum_j P_j g_j^2` in place of :math:`\|g\|^2`. The accepted trial is the
    next iterate: with steps this long, momentum that was not tested diverges.

    Args:
      b1: weight of the momentum, in [0, 1); used only where ``search_b1`` is not 0.
      b2: weight of the past squares, in [0, 1).
      search_b1: 0 goes along the plain preconditioned gradient, ``b1`` along the
        momentum direction (no step on a batch where that is uphill).
      c: in (0, 1).
      polyak_c: > 0.
      decrease_factor: in (0, 1).
      decay: in [0, 1]; see ``zhang_hager``.
      min_step_size: >= 0.
      max_step_size: > 0.
      lower_bound: f*, loss units.
      memory: whether past backtracks shorten the first trial.
      max_trials: >= 1.
      variant: "adam", "amsgrad", "adagrad" or "rmsprop".

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      Median one forward pass; one copy of the params per moment in use.

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
      published class does not run as configured; this is the reading in which the test
      uses the slope of the searched direction.
    """
    _checks.require("b1", b1, "[0, 1)")
    if isinstance(search_b1, (int, float)):
        _checks.require_choice("search_b1", search_b1, (0, b1))
    momentum = b1 * (search_b1 != 0)
    step_rule = ponos_step(
        "adam_ponos", c, polyak_c, decrease_factor, decay,
        min_step_size, max_step_size, lower_bound, memory, max_trials,
    )  # fmt: skip
    return scale_by_preconditioned_search(
        step_rule,
        variant=variant,
        b1=momentum,
        b2=b2,
        search_b1=momentum,
        name="adam_ponos",
    )


def salsa(
    *,
    c: float = 0.5,
    b1: float = 0.9,
    b2: float = 0.999,
    decay: float = 0.9,
    growth: float = 1.1,
    decrease_factor: float = 0.8,
    initial_step_size: float = 1.0,
    gated: bool = True,
    search_b1: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""SaLSA: Adam with a smoothed Armijo search, made only while the step size moves.

    Searched steps go along :math:`-P g` and are applied as tested; in between the last
    step size, grown once by ``growth``, multiplies :math:`-P\hat m`. The test is
    ``smoothed_armijo``, the pause between searches ``when_unsteady``.

    Args:
      c: in (0, 1); 0.3 to 0.7 in the papers.
      b1: weight of the momentum, in [0, 1).
      b2: weight of the past squares, in [0, 1).
      decay: weight of the past in the smoothed test, in [0, 1).
      growth: >= 1, per step.
      decrease_factor: in (0, 1).
      initial_step_size: > 0.
      gated: whether to pause the search; False searches at every step.
      search_b1: 0, or ``b1`` to search along the momentum direction.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. A
      single step may raise its batch's loss: the average of decreases is tested.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      A forward pass per searched step, every tenth step once steady; two copies of the
      params.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> optimizer = optaxls.salsa()
      >>> step = optaxls.make_step(lambda w: 0.5 * jnp.sum(w**2), optimizer)
      >>> w = jnp.array([2.0])
      >>> state = optimizer.init(w)
      >>> for _ in range(50):
      ...     w, state, value, *_ = step(w, state)
      >>> bool(value < 1e-3)
      True

    Reference:
      Kenneweg et al., No learning rates needed: SaLSA, 2024, arXiv:2407.20650. As in
      the authors' code the bias corrections count one step more than were made.
    """
    gate = when_unsteady() if gated else always()
    step_rule = scale_by_line_search(
        smoothed_armijo(c, decay),
        grow(initial_step_size, growth),
        backtracking(decrease_factor),
        gate=gate,
        name="salsa",
    )
    return scale_by_preconditioned_search(
        step_rule,
        b1=b1,
        b2=b2,
        search_b1=search_b1,
        applied=as_searched,
        first_count=1,
        name="salsa",
    )
