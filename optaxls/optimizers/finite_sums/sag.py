"""SAG (Le Roux, Schmidt, Bach 2012) and SAGA (Defazio, Bach, Lacoste-Julien 2014)."""

from typing import Any

import optax

from optaxls._core import checks
from optaxls.directions.finite_sums._table import (
    Estimate,
    average,
    corrected_average,
    gradient_table,
)
from optaxls.directions.finite_sums._visits import relative_weights
from optaxls.optimizers.finite_sums._rule import require_numbers, with_step_size


def _with_table(
    name: str,
    estimate: Estimate,
    share: float,
    num_functions: int,
    weights: Any,
    max_bytes: Any,
    **given: Any,
) -> optax.GradientTransformationExtraArgs:
    require_numbers(num_functions, given["lipschitz"], given["initial_lipschitz"])
    checks.require("step_fraction", share, "(0, 1]")
    checks.require("max_bytes", max_bytes, "(0, inf]")
    pair = gradient_table(
        name,
        num_functions,
        estimate,
        share=share,
        weights=relative_weights(weights, num_functions),
        max_bytes=max_bytes,
    )
    return with_step_size(name, pair, num_functions, share=share, **given)


def sag(
    *,
    num_functions: int,
    l2: Any = 0.0,
    lipschitz: float | None = None,
    initial_lipschitz: float = 1.0,
    weights: Any = None,
    prox: Any = None,
    max_bytes: float = 2**32,
) -> optax.GradientTransformationExtraArgs:
    r"""SAG: steps along the mean of the last gradient of each function of a finite sum.

    The loss is :math:`\frac1n\sum_{i=1}^n f_i(w) + \frac\lambda2\|w\|^2` (``l2``). With
    the last gradients :math:`y_i` of the m functions seen so far,
    :math:`w_+ = (1 - \alpha\lambda) w - \frac\alpha m\sum_i y_i`, where
    :math:`\alpha = 1/(L + \lambda)`. A search finds L: it is doubled until
    :math:`f_i(w - g_i/L) \le f_i(w) - \|g_i\|^2/(2L)` for the function of this step,
    and falls by :math:`2^{-1/n}` in each step.

    Args:
      num_functions: n >= 1, known before tracing. A function is one example, or a fixed
        mini-batch: the same examples at each visit.
      l2: lambda >= 0, beside what the functions hold themselves. It may be a prefix of
        the params' tree, with 0 where nothing is penalised, such as an intercept.
      lipschitz: > 0, the largest L of the functions. None is found by the search.
      initial_lipschitz: > 0, where the search begins.
      weights: None, or the n weights >= 0 of the functions, such as the sizes of
        mini-batches. Only their ratios count. They also enter L, the table and m.
      prox: None, or the proximal operator of a penalty that comes on top of the loss,
        such as ``optaxls.prox.l1(0.1)``: it has ``prox(params, step_size) -> params``.
      max_bytes: > 0: ``init`` refuses a table that is larger, and says how large it is.

    Returns:
      An optimizer; ``update`` needs ``params``, ``value``, ``grad``, ``index`` (int32
      scalar, which function ``value`` and ``grad`` are of, from 0) and, without
      ``lipschitz``, ``value_fn``. All are of the one function, without ``l2``.

      Draw ``index`` at random, anew for each step. In passes over permutations SAG can
      diverge, with or without a search; ``saga`` and ``svrg`` bear them.

      A step is left out where loss or gradient are not finite, where a search fails or,
      inside ``jit``, where ``index`` is out of range. Then the updates are 0, and table
      and mean are as they were. So is a step whose gradient is more than ten typical
      lengths long, unless it was so at the function's last visit too.

    State:
      ``pair``: ``table`` and its sum, in float32 or wider, added up anew in each n
      steps. ``step_rule`` with ``step_size`` = 1 / L. ``metrics`` shows ``num_seen``
      and ``num_left_out``.

    Raises:
      ValueError: an argument lies outside its range; from ``init``, the table is larger
      than ``max_bytes``; from ``update``, ``index`` is out of range outside of ``jit``.
      TypeError, from ``update``: an argument is missing.

    Cost:
      The median step costs one forward pass besides the gradient's, none with
      ``lipschitz``. The table takes n copies of the params, and the sums two in float32
      or wider: ``optaxls.table_bytes`` tells the table's bytes.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> x = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
      >>> y = jnp.array([1.0, 2.0, 5.0])
      >>> def loss(w, i):                       # of one example
      ...     return 0.5 * (x[i] @ w - y[i]) ** 2
      >>> optimizer = optaxls.sag(num_functions=3)
      >>> step = jax.jit(optaxls.make_step(
      ...     loss, optimizer, extra=lambda w, i: {"index": i}))
      >>> w = jnp.zeros(2)
      >>> state = optimizer.init(w)
      >>> for k in range(600):
      ...     w, state, *_ = step(w, state, jnp.array(k % 3))
      >>> exact = jnp.linalg.lstsq(x, y)[0]     # no step size was chosen
      >>> bool(jnp.max(jnp.abs(w - exact)) < 1e-4)
      True

    Reference:
      Schmidt, Le Roux, Bach, Minimizing Finite Sums with the Stochastic Average
      Gradient, 2017, arXiv:1309.2388, Algorithm 1 and section 4.6. What is left out,
      and how the sum is renewed, are defined here.
    """
    return _with_table(
        "sag",
        average,
        1.0,
        num_functions,
        weights,
        max_bytes,
        lipschitz=lipschitz,
        initial_lipschitz=initial_lipschitz,
        l2=l2,
        prox=prox,
    )


def saga(
    *,
    num_functions: int,
    l2: Any = 0.0,
    lipschitz: float | None = None,
    initial_lipschitz: float = 1.0,
    step_fraction: float = 1 / 3,
    weights: Any = None,
    prox: Any = None,
    max_bytes: float = 2**32,
) -> optax.GradientTransformationExtraArgs:
    r"""SAGA: SAG with an estimate of the gradient that has no bias.

    With the last gradients :math:`y_i`, the new one :math:`g_i` of function i and the
    mean :math:`\bar y` before it,
    :math:`z = w - \eta (g_i - y_i + \bar y)` with :math:`\eta = \kappa/L`
    (``step_fraction``). The next params minimize the penalties plus
    :math:`\|w_+ - z\|^2/(2\eta)`. With ``l2`` that is
    :math:`w_+ = z/(1 + \eta\lambda)`. A function not seen before takes part by the new
    mean of those seen.

    Args:
      num_functions: n >= 1, known before tracing. A function is one example, or a fixed
        mini-batch: the same examples at each visit.
      l2: lambda >= 0, beside what the functions hold themselves. It may be a prefix of
        the params' tree, with 0 where nothing is penalised, such as an intercept.
      lipschitz: L > 0, the largest of the functions. None is found by a search, which
        is that of ``sag``.
      initial_lipschitz: > 0, where the search begins.
      step_fraction: kappa in (0, 1]. 1/3 is published, with a proof. 1 came closer to
        the minimum in most of the runs that were tried, and was less steady.
      weights: None, or the n weights >= 0 of the functions, such as the sizes of
        mini-batches. Only their ratios count. They also enter L and the table.
      prox: None, or the proximal operator of a penalty that comes on top of the loss,
        such as ``optaxls.prox.l1(0.1)``: it has ``prox(params, step_size) -> params``.
      max_bytes: > 0: ``init`` refuses a table that is larger, and says how large it is.

    Returns:
      An optimizer, whose ``update`` needs what that of ``sag`` needs. Draw ``index`` at
      random, or go through a new permutation in each pass.

    State:
      ``pair``: ``table`` and its sum; ``step_rule`` with ``step_size`` = kappa / L.
      ``metrics`` shows ``num_seen`` and ``num_left_out``.

    Raises:
      ValueError: an argument lies outside its range; from ``init``, the table is larger
      than ``max_bytes``; from ``update``, ``index`` is out of range outside of ``jit``.
      TypeError, from ``update``: an argument is missing.

    Cost:
      The median step costs one forward pass besides the gradient's, none with
      ``lipschitz``. The table takes n copies of the params, and the sums two in float32
      or wider: ``optaxls.table_bytes`` tells the table's bytes.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> targets = jnp.array([1.0, 2.0, 6.0])
      >>> optimizer = optaxls.saga(num_functions=3, l2=0.5)
      >>> step = jax.jit(optaxls.make_step(
      ...     lambda w, i: 0.5 * (w - targets[i]) ** 2, optimizer,
      ...     extra=lambda w, i: {"index": i}))
      >>> w = jnp.array(0.0)
      >>> state = optimizer.init(w)
      >>> for k in range(100):
      ...     w, state, *_ = step(w, state, jnp.array(k % 3))
      >>> print(f"{w:.4f}")                     # the mean, 3, over 1 + 0.5
      2.0000

    Reference:
      Defazio, Bach, Lacoste-Julien, SAGA, 2014, arXiv:1407.0202, equations 1 to 3. The
      search is that of Schmidt et al. 2017, arXiv:1309.2388, section 4.6.
    """
    return _with_table(
        "saga",
        corrected_average,
        step_fraction,
        num_functions,
        weights,
        max_bytes,
        lipschitz=lipschitz,
        initial_lipschitz=initial_lipschitz,
        l2=l2,
        prox=prox,
    )
