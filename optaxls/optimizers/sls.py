"""Stochastic line search (Vaswani et al. 2019): compositions of parts."""

import math

import optax

from optaxls._core import checks
from optaxls.directions._conjugated import conjugated
from optaxls.directions._momentum import resting_trace
from optaxls.directions._sign import descent
from optaxls.optimizers._initial_steps import reset_rule
from optaxls.parts.conditions.monotone import armijo, goldstein
from optaxls.parts.paths.line import along_direction
from optaxls.parts.searches.backtracking import backtracking
from optaxls.parts.types import Path
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
    path: Path = along_direction,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with the stochastic Armijo line search (SLS).

    :math:`w_{k+1} = w_k - \eta_k g_k`, where :math:`\eta_k` is the first
    :math:`\eta \in \{\eta_0, \beta\eta_0, \beta^2\eta_0, \dots\}` such that
    :math:`f_k(w_k - \eta g_k) \le f_k(w_k) - c\,\eta\,\|g_k\|^2` on the same
    mini-batch, and :math:`\eta_0 = \gamma^{1/N}\eta_{k-1}`.

    Args:
      steps_per_epoch: N > 0, updates per pass over the data: ``dataset_size /
        batch_size``.
      c: in (0, 1), the share of the promised decrease that a trial must reach; 0.1 for
        networks, 0.5 in the convex theory.
      decrease_factor: beta, in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at ``initial_step_size``.
      max_step_size: > 0, the longest first trial; none by default, as published.
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
    step_rule = scale_by_line_search(armijo(c), rule, search, path=path, name="sls")
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
    f - c\,\eta\|g\|^2`; it shrinks by ``decrease_factor`` above, and grows
    by ``increase_factor`` below, up to ``max_step_size``.

    Args:
      steps_per_epoch: N > 0, updates per pass over the data: ``dataset_size /
        batch_size``.
      c: in (0, 1/2): the decrease must be at least c and at most 1 - c of what the
        slope promises.
      decrease_factor: in (0, 1); a trial that is too long is multiplied by it.
      increase_factor: >= 1; a trial that is too short is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at ``initial_step_size``.
      max_step_size: > 0, the longest trial, never taken for too short. The authors'
        code tries that point again until its budget ends.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``.

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      The median step costs one forward pass; a step that has to grow costs more.

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
    r"""SGD with an Armijo line search, and momentum that is added after it.

    The search tests the plain gradient step only, not what momentum adds.

    "polyak": :math:`w_{k+1} = w_k - \eta_k g_k + \mu (w_k - w_{k-1})`. "nesterov":
    with :math:`y_{k+1} = w_k - \eta_k g_k`,
    :math:`w_{k+1} = y_{k+1} + \mu (y_{k+1} - y_k)`.

    Once the mean loss climbs far above the first ten, momentum rests until it has come
    down, and :math:`\mu` is halved: steps of maximal length and momentum can diverge.

    Args:
      variant: "polyak" or "nesterov".
      momentum: mu, in [0, 1), dimensionless.
      c: in (0, 1), the share of the promised decrease that a trial must reach.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      initial_step_size: > 0, the first trial of the first step.
      reset: where the next search begins. "keep": at the last step size; "restart": at
        ``initial_step_size``. Growth would need the steps per epoch.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad``,
      ``value_fn``. What momentum adds after the search is not tested, so the loss may
      rise for a while.

    Raises:
      ValueError: an argument lies outside its range.

    State:
      The third of the chain has ``trace``, ``decay_factor`` (of mu) and ``resting``.

    Cost:
      The median step costs one forward pass. One copy of the params is kept.

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
      Nesterov code loses its first step and advances its sequence every other step.
      This code keeps one weight, as ``optax.trace`` does.
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

    The trial :math:`w' = w - \eta\nabla f(w)` is accepted when
    :math:`\|\nabla f(w') - \nabla f(w)\| \le c\|\nabla f(w)\|`. The step is then
    :math:`w_+ = w - \eta\nabla f(w')`.

    Args:
      steps_per_epoch: N > 0, updates per pass over the data: ``dataset_size /
        batch_size``.
      c: in (0, 1), dimensionless: the largest relative change of the gradient.
      decrease_factor: in (0, 1); a rejected trial is multiplied by it.
      growth: gamma >= 1, dimensionless: the first trial's growth per epoch.
      initial_step_size: > 0, the first trial of the first step.
      reset: where the next search begins. "grow": at the last step size, grown; "keep":
        at the last one; "restart": at ``initial_step_size``.
      max_step_size: > 0, the longest first trial; none by default.
      max_trials: >= 1, gradients that a search may spend.

    Returns:
      An optimizer of gradients; ``update`` needs ``params``, ``value``, ``grad`` and
      ``grad_fn`` (params -> gradient, on the same batch and random key).

    Raises:
      ValueError: an argument lies outside its range.

    Cost:
      It evaluates a gradient per trial and one more. That is about twice the cost of
      SGD at best.

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
