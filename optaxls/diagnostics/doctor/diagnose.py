"""The doctor's entry: trains, measures, tries a few optimizers, recommends one."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks
from optaxls.diagnostics._shared import arrays
from optaxls.diagnostics.doctor import _advice, _curves, _findings, _trajectory
from optaxls.diagnostics.doctor._trajectory import LossFn, Plan
from optaxls.diagnostics.doctor.records import PilotResult
from optaxls.diagnostics.doctor.report import Report
from optaxls.diagnostics.growth import strong_growth
from optaxls.diagnostics.labels import (
    LabelTail,
    frequency_groups,
    label_tail,
    loss_by_frequency,
)

# An undecided run is repeated with twice, then four times as many steps.
_LONGER = (1, 2, 4)
_GROUPS = 4
# The tail index takes a tenth of the examples, and needs two.
_FEWEST = 20


def _points(num_steps: int) -> tuple[int, ...]:
    """After how many steps to measure: densely at first, where the loss falls most."""
    # Powers of 4 from the end down; sets, because small runs repeat some of them.
    early = {max(round(num_steps * 4.0**-k), 1) for k in range(7)}
    return (0, *sorted(early | {num_steps // 2, 3 * num_steps // 4}))


def diagnose(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    *,
    labels: Any = None,
    batch_size: int = 64,
    num_steps: int = 500,
    num_measured: int = 1024,
    chunk_size: int = 32,
    lower_bound: float = 0.0,
    seed: int = 0,
    candidates: Mapping[str, optax.GradientTransformation] | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Report:
    r"""Measures a training problem, tries optimizers on it, and recommends one.

    It answers three questions. Does the model fit every example? Are rare classes the
    reason why Adam is ahead? Which optimizer should one take? For this it trains with
    ``auto()`` and measures gradients of single examples, such as the constants of
    :math:`E|\nabla f_i|^2 \le \rho |\nabla f|^2 + \sigma^2`. Then it tries the
    candidates on the same batches. It recommends the one with the least loss, or a
    simpler one that is nearly as good. The findings say why, and what to do about noise
    and rare classes.

    Args:
      loss_fn: ``(params, example) -> loss`` of one example, without a batch axis and
        without randomness. Fix batch statistics and switch dropout off.
      params: where training starts; integer leaves stay fixed.
      data: a pytree of arrays with a leading axis of >= 20 examples.
      labels: classes of the examples, integers from 0, a leading axis like ``data``. If
        they have more axes (words of a text), only their frequencies are measured.
      batch_size: >= 1, at most the number of examples.
      num_steps: >= 8, the steps of each run. They are doubled, at most twice, while
        noise and interpolation cannot be told apart.
      num_measured: >= 20, examples drawn for the measurements.
      chunk_size: >= 1, per-example gradients in memory at once.
      lower_bound: the least value that the loss of an example can have, loss units.
      seed: >= 0, seed of the batches and of the measured examples.
      candidates: optimizers to try beside ``auto()``, by the name that the report shall
        use, the simplest first. By default these are five optimizers of optaxls.
      progress: called with the name of each run as it starts, for instance ``print``.

    Returns:
      A ``Report``: ``print`` shows it as text, ``report.plot()`` as a figure.

    Raises:
      ValueError: an argument lies outside its range; the arrays of ``data`` or the
        ``labels`` differ in length; an example has a loss below ``lower_bound``.

    Cost:
      Six runs of ``num_steps`` or more, and nine times two gradients of every measured
      example. A small model takes 20 to 30 s to compile, and seconds for another run of
      the same loss function. Memory: ``chunk_size + 6`` copies of the params.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls.diagnostics import diagnose
      >>> x = jax.random.normal(jax.random.key(0), (200, 5))
      >>> y = x @ jnp.arange(5.0) + jax.random.normal(jax.random.key(1), (200,))
      >>> def loss(w, example):
      ...     return 0.5 * (example[0] @ w - example[1]) ** 2
      >>> report = diagnose(loss, jnp.zeros(5), (x, y), batch_size=20, num_steps=64)
      >>> floor = report.findings["noise floor"]  # E|x|^2 times the noise's variance, 1
      >>> bool(3 < floor.value < 7), report.recommendation.optimizer
      (True, 'auto()')

    Reference:
      No publication; defined here. The other functions of ``diagnostics`` cite theirs.
    """
    # All checks come first: a mistake should not cost minutes of training.
    count = arrays.num_examples("data", data, _FEWEST)
    _require_numbers(num_steps, num_measured, chunk_size, seed, lower_bound)
    _require_batch_size(batch_size, count)
    tail, losses_by_frequency = _label_facts(labels, count)
    data = jax.tree.map(jnp.asarray, data)
    tell = progress or (lambda name: None)
    if candidates is None:
        candidates = _advice.candidates(count / batch_size, lower_bound)
    points, num_measured = _points(num_steps), min(num_measured, count)
    plan = Plan(points, count, batch_size, num_measured, chunk_size, seed)
    plan, measured = _measured_run(
        loss_fn, params, data, plan, tail=tail, lower_bound=lower_bound, tell=tell
    )
    run = measured.trajectory
    # Candidates train for as many steps as the run that decided, on its batches.
    pilots = {_advice.MEASURED: run.pilot}
    for name, optimizer in candidates.items():
        tell(name)
        pilots[name] = _trajectory.pilot(loss_fn, params, data, optimizer, plan)
    rays = _curves.rays(
        run.params, run.batch, _trajectory.take(data, run.rows), loss_fn=loss_fn,
        chunk_size=chunk_size, lower_bound=lower_bound,
    )  # fmt: skip
    of_groups = losses_by_frequency(run.rows)
    group_losses = jax.vmap(of_groups)(run.samples.values)
    curves = _curves.Curves(
        plan.steps, run.samples, measured.growth, group_losses, rays
    )
    return _report(measured, pilots, of_groups, curves)


def _measured_run(
    loss_fn: LossFn,
    params: Any,
    data: Any,
    plan: Plan,
    *,
    tail: LabelTail | None,
    lower_bound: float,
    tell: Callable[[str], Any],
) -> tuple[Plan, _findings.Measured]:
    """Trains and measures, with more steps while the regime is undecided."""
    num_steps = plan.steps[-1]
    for longer in _LONGER:
        tell(f"{_advice.MEASURED}, measured during the run")
        plan = plan._replace(steps=_points(longer * num_steps))
        run = _trajectory.follow(
            loss_fn, params, data, _advice.measured_optimizer(), plan
        )
        # Not earlier, because no loss is computed before the first run.
        _check_bound(lower_bound, run.samples.values)
        growth = strong_growth(run.samples)
        measured = _findings.Measured(run, growth, tail, lower_bound, plan.batch_size)
        if _findings.regime(measured) != "undecided":
            break
    return plan, measured


def _require_numbers(
    num_steps: Any, num_measured: Any, chunk_size: Any, seed: Any, lower_bound: Any
) -> None:
    """Raises ValueError unless the numbers lie in the ranges of ``diagnose``."""
    checks.require_integer("num_steps", num_steps, 8)
    checks.require_integer("num_measured", num_measured, _FEWEST)
    checks.require_integer("chunk_size", chunk_size, 1)
    checks.require_integer("seed", seed, 0)
    checks.require("lower_bound", lower_bound, "(-inf, inf)")


def _require_batch_size(batch_size: Any, count: int) -> None:
    """Raises ValueError unless a batch has 1 to ``count`` examples."""
    checks.require_integer("batch_size", batch_size, 1)
    if batch_size > count:
        raise ValueError(f"batch_size must lie in [1, {count}], got {batch_size}")


def _check_bound(lower_bound: float, values: jax.Array) -> None:
    """Raises ValueError if a loss lies below the bound by more than its rounding."""
    # NaN compares as false here: a run without finite losses is reported, not refused.
    least, most = float(values.min()), float(jnp.abs(values).max())
    if least < lower_bound - 1e-5 * max(most, abs(lower_bound)):
        raise ValueError(
            "lower_bound must be at most the least loss of an example, got"
            f" {lower_bound} and a loss of {least:.6g}"
        )


def _report(
    measured: _findings.Measured,
    pilots: Mapping[str, _trajectory.Pilot],
    of_groups: Callable[[jax.Array], Any],
    curves: _curves.Curves,
) -> Report:
    """Joins findings, ranked short runs and the recommendation."""
    findings = _findings.findings(measured)
    lower = measured.lower_bound
    tried = {
        name: _advice.Tried(float(one.values.mean()) - lower, of_groups(one.values))
        for name, one in pilots.items()
    }
    # Ratios of losses decide, and have a meaning only above the bound.
    losses = measured.trajectory.samples.values.mean(1) - lower
    advice = _advice.recommend(
        findings,
        tried,
        losses.tolist(),
        _findings.regime(measured),
        _findings.is_heavy(measured.tail),
    )
    ranked = sorted(tried, key=lambda name: _advice.order(tried[name].excess))
    results = {
        name: PilotResult(
            float(pilots[name].values.mean()), float(pilots[name].num_trials)
        )
        for name in ranked
    }
    return Report(findings, results, advice, curves)


def _label_facts(
    labels: Any, count: int
) -> tuple[LabelTail | None, Callable[[jax.Array], Callable[[jax.Array], Any]]]:
    """The tail of the labels, and ``rows -> values -> losses by frequency``.

    The losses are None without labels, and for labels with more than one axis.
    """
    if labels is None:
        return None, lambda rows: lambda values: None
    labels = jnp.asarray(labels)
    if labels.shape[:1] != (count,):
        raise ValueError(
            f"labels must have a leading axis of {count} like data, got shape"
            f" {labels.shape}"
        )
    # Two at least, because ``label_tail`` compares classes.
    num_classes = max(int(labels.max()) + 1, 2)
    tail = label_tail(labels, num_classes)
    # The loss of a text is not split by word, so it has no groups.
    if labels.ndim != 1:
        return tail, lambda rows: lambda values: None
    counts = jnp.bincount(labels, length=num_classes)
    groups = frequency_groups(counts, _GROUPS)

    def losses_by_frequency(rows: jax.Array) -> Callable[[jax.Array], jax.Array]:
        return lambda values: loss_by_frequency(values, labels[rows], groups, _GROUPS)

    return tail, losses_by_frequency
