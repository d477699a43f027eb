"""Stochastic line search (Vaswani et al. 2019): compositions of parts."""

import math

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._momentum import resting_trace
from optaxls.directions._sign import descent
from optaxls.optimizers._initial_steps import reset_rule
from optaxls.parts.conditions.monotone import armijo, goldstein
from optaxls.parts.searches.backtracking import backtracking
from optaxls.transforms.extragradient import scale_by_extragradient
from optaxls.transforms.searched import scale_by_line_search


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
) -> optax.GradientTransformationExtraArgs:
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
    step_rule = scale_by_line_search(armijo(c), rule, search, name="sls")
    return conjugated(optax.chain(descent(), step_rule))


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
) -> optax.GradientTransformationExtraArgs:
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
    optimizer = optax.chain(
        descent(),
        scale_by_line_search(goldstein(c), rule, search, name="sls_goldstein"),
    )
    return conjugated(optimizer)


def sls_momentum(
    *,
    variant: str = "polyak",
    momentum: float = 0.6,
    c: float = 0.1,
    decrease_factor: float = 0.9,
    initial_step_size: float = 1.0,
    reset: str = "keep",
) -> optax.GradientTransformationExtraArgs:
    r"""SLS followed by momentum: the search sees the plain gradient step only.

    "polyak": :math:`w_{k+1} = w_k - \eta_k g_k + \mu (w_k - w_{k-1})`. "nesterov":
    with :math:`y_{k+1} = w_k - \eta_k g_k`,
    :math:`w_{k+1} = y_{k+1} + \mu (y_{k+1} - y_k)`.

    Once the mean loss climbs far above the first ten, momentum rests until it has come
    down, and :math:`\mu` is halved: steps of maximal length and momentum can diverge.

    Args:
      variant: "polyak" or "nesterov".
      momentum: mu, in [0, 1).
      c: in (0, 1).
      decrease_factor: in (0, 1).
      initial_step_size: > 0.
      reset: "keep" or "restart": without ``steps_per_epoch`` there is no growth rate.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``value_fn``. What
      momentum adds after the search is not tested: the loss may rise for a while.

    Raises:
      ValueError: an argument lies outside its range.

    State:
      The third of the chain has ``trace``, ``decay_factor`` (of mu) and ``resting``.

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
    checks.require_choice("variant", variant, ("polyak", "nesterov"))
    checks.require_choice("reset", reset, ("keep", "restart"))
    checks.require("momentum", momentum, "[0, 1)")
    rule = reset_rule(reset, initial_step_size)
    search = backtracking(decrease_factor)
    optimizer = optax.chain(
        descent(),
        scale_by_line_search(armijo(c), rule, search, name="sls_momentum"),
        resting_trace(momentum, nesterov=variant == "nesterov"),
    )
    return conjugated(optimizer)


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
) -> optax.GradientTransformationExtraArgs:
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
    optimizer = optax.chain(
        descent(),
        scale_by_extragradient(rule, search, c=c, name="sls_extragradient"),
    )
    return conjugated(optimizer)
