"""SVRG (Johnson and Zhang 2013), plain and loopless."""

from typing import Any

import jax
import optax

from optaxls._core import checks
from optaxls.directions.finite_sums._snapshot import Schedule, snapshot_gradient
from optaxls.directions.finite_sums._visits import relative_weights
from optaxls.optimizers.finite_sums._rule import require_numbers, with_step_size


def _with_snapshots(
    name: str,
    schedule: Schedule,
    num_functions: int,
    share: float,
    weights: Any,
    **given: Any,
) -> optax.GradientTransformationExtraArgs:
    checks.require("step_fraction", share, "(0, 1]")
    pair = snapshot_gradient(
        name,
        num_functions,
        schedule,
        share=share,
        weights=relative_weights(weights, num_functions),
    )
    needs = ("grad_fn",)
    return with_step_size(name, pair, num_functions, share=share, needs=needs, **given)


def svrg(
    *,
    num_functions: int,
    l2: Any = 0.0,
    lipschitz: float | None = None,
    initial_lipschitz: float = 1.0,
    step_fraction: float = 1 / 3,
    weights: Any = None,
    prox: Any = None,
    steps_per_snapshot: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""SVRG: gradients corrected by the gradient of the whole sum at a snapshot.

    The loss is :math:`f(w) = \frac1n\sum_{i=1}^n f_i(w)`, and ``l2`` adds
    :math:`\frac\lambda2\|w\|^2`. With the snapshot :math:`\tilde w`, earlier params,
    :math:`z = w - \eta(\nabla f_i(w) - \nabla f_i(\tilde w) + \nabla f(\tilde w))`
    with :math:`\eta = \kappa/L` (``step_fraction``), and
    :math:`w_+ = z/(1 + \eta\lambda)`. The search for L is that of ``sag``. There is no
    table.

    Args:
      num_functions: n >= 1, known before tracing. A function is one example, or a fixed
        mini-batch: the same examples at each visit.
      l2: lambda >= 0, beside what the functions hold themselves. It may be a prefix of
        the params' tree, with 0 where nothing is penalised, such as an intercept.
      lipschitz: L > 0, the largest of the functions. None is found by the search.
      initial_lipschitz: > 0, where the search begins.
      step_fraction: kappa in (0, 1]. 1/3 is that of ``saga``; proofs for SVRG ask for
        1/4 or less. 1 came closer to the minimum on two logistic regressions.
      weights: None, or the n weights >= 0 of the functions, such as the sizes of
        mini-batches. Only their ratios count. ``snapshot_grad`` is weighted likewise.
      prox: None, or the proximal operator of a penalty that comes on top of the loss,
        such as ``optaxls.prox.l1(0.1)``: it has ``prox(params, step_size) -> params``.
      steps_per_snapshot: steps between two snapshots, >= 1. None is n, an epoch.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``index`` (int32
      scalar, which function these are of), ``grad_fn`` (params -> gradient of the same
      function, which ``make_step`` passes) and, without ``lipschitz``, ``value_fn``.

      At steps where ``optaxls.snapshot_due(opt_state)``, it also needs
      ``snapshot_grad``, the gradient of the whole sum at the present params, like
      params. They become the snapshot. At other steps it is ignored, and may be an old
      one. Compute it outside of ``lax.cond``, where a gradient can be slow. Steps
      before the first snapshot are those of SGD.

      A bad batch, and an ``index`` out of range, are dealt with like in ``sag``.

    State:
      ``pair``: ``snapshot``, ``snapshot_grad``, ``due``; ``step_rule`` with
      ``step_size`` = kappa / L. ``metrics`` shows ``num_snapshots`` and
      ``num_left_out``.

    Raises:
      ValueError: an argument lies outside its range; from ``update``, ``index`` is out
      of range outside of ``jit``. TypeError, from ``update``: an argument is missing.

    Cost:
      One gradient more than SGD, and in the median one forward pass, none with
      ``lipschitz``; a gradient of the whole sum at each snapshot. Two copies of the
      params, one of them in float32 or wider.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> targets = jnp.array([1.0, 2.0, 6.0])
      >>> def loss(w, i, full):
      ...     return 0.5 * (w - targets[i]) ** 2
      >>> def full_grad(w):
      ...     return jnp.mean(w - targets)
      >>> optimizer = optaxls.svrg(num_functions=3)
      >>> step = jax.jit(optaxls.make_step(
      ...     loss, optimizer,
      ...     extra=lambda w, i, full: {"index": i, "snapshot_grad": full}))
      >>> w = full = jnp.array(0.0)
      >>> state = optimizer.init(w)
      >>> for k in range(60):
      ...     if optaxls.snapshot_due(state):
      ...         full = full_grad(w)
      ...     w, state, *_ = step(w, state, jnp.array(k % 3), full)
      >>> print(f"{w:.4f}")
      3.0000

    Reference:
      Johnson and Zhang, Accelerating Stochastic Gradient Descent using Predictive
      Variance Reduction, 2013, figure 1; with penalties Xiao and Zhang 2014,
      arXiv:1403.4699. The search is that of Schmidt et al. 2017, arXiv:1309.2388.
    """
    require_numbers(num_functions, lipschitz, initial_lipschitz)
    steps = num_functions if steps_per_snapshot is None else steps_per_snapshot
    checks.require_integer("steps_per_snapshot", steps, 1)
    return _with_snapshots(
        "svrg",
        lambda age, num_steps: age >= steps,
        num_functions,
        step_fraction,
        weights,
        lipschitz=lipschitz,
        initial_lipschitz=initial_lipschitz,
        l2=l2,
        prox=prox,
    )


def loopless_svrg(
    *,
    num_functions: int,
    l2: Any = 0.0,
    lipschitz: float | None = None,
    initial_lipschitz: float = 1.0,
    step_fraction: float = 1 / 3,
    weights: Any = None,
    prox: Any = None,
    snapshot_probability: float | None = None,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""SVRG whose snapshots come at random: one in :math:`1/p` steps on average.

    All but the times of the snapshots is that of ``svrg``. After each step a coin with
    the probability p decides whether the next one takes a snapshot.

    Args:
      num_functions: n >= 1, known before tracing. A function is one example, or a fixed
        mini-batch: the same examples at each visit.
      l2: lambda >= 0, beside what the functions hold themselves. It may be a prefix of
        the params' tree, with 0 where nothing is penalised, such as an intercept.
      lipschitz: L > 0, the largest of the functions. None is found by the search.
      initial_lipschitz: > 0, where the search begins.
      step_fraction: kappa in (0, 1]. 1/3 is that of ``saga``; proofs for SVRG ask for
        1/4 or less. 1 came closer to the minimum on two logistic regressions.
      weights: None, or the n weights >= 0 of the functions, such as the sizes of
        mini-batches. Only their ratios count. ``snapshot_grad`` is weighted likewise.
      prox: None, or the proximal operator of a penalty that comes on top of the loss,
        such as ``optaxls.prox.l1(0.1)``: it has ``prox(params, step_size) -> params``.
      snapshot_probability: p in (0, 1]. None is 1 / n.
      seed: of the coins, an integer >= 0.

    Returns:
      An optimizer, whose ``update`` needs what that of ``svrg`` needs.

    State:
      That of ``svrg``.

    Raises:
      ValueError: an argument lies outside its range; from ``update``, ``index`` is out
      of range outside of ``jit``. TypeError, from ``update``: an argument is missing.

    Cost:
      That of ``svrg``.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> targets = jnp.array([1.0, 2.0, 6.0])
      >>> optimizer = optaxls.loopless_svrg(num_functions=3)
      >>> step = jax.jit(optaxls.make_step(
      ...     lambda w, i, full: 0.5 * (w - targets[i]) ** 2, optimizer,
      ...     extra=lambda w, i, full: {"index": i, "snapshot_grad": full}))
      >>> w = full = jnp.array(0.0)
      >>> state = optimizer.init(w)
      >>> for k in range(60):
      ...     if optaxls.snapshot_due(state):
      ...         full = jnp.mean(w - targets)
      ...     w, state, *_ = step(w, state, jnp.array(k % 3), full)
      >>> print(f"{w:.4f}")
      3.0000

    Reference:
      Kovalev, Horvath, Richtarik, Don't Jump Through Hoops and Remove Those Loops,
      2020, arXiv:1901.08689, Algorithm 1.
    """
    require_numbers(num_functions, lipschitz, initial_lipschitz)
    chance = 1 / num_functions if snapshot_probability is None else snapshot_probability
    checks.require("snapshot_probability", chance, "(0, 1]")
    checks.require_integer("seed", seed, 0)

    def schedule(age: jax.Array, num_steps: jax.Array) -> jax.Array:
        del age
        key = jax.random.fold_in(jax.random.key(seed), num_steps)
        return jax.random.bernoulli(key, chance)

    return _with_snapshots(
        "loopless_svrg",
        schedule,
        num_functions,
        step_fraction,
        weights,
        lipschitz=lipschitz,
        initial_lipschitz=initial_lipschitz,
        l2=l2,
        prox=prox,
    )
