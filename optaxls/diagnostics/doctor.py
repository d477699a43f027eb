"""The doctor: trains for a while, measures, tries a few rules and recommends one."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import checks, trees
from optaxls.diagnostics import _findings, _recommend, _trajectory
from optaxls.diagnostics._trajectory import LossFn, Plan
from optaxls.diagnostics.growth import strong_growth
from optaxls.diagnostics.labels import (
    LabelTail,
    frequency_groups,
    label_tail,
    loss_by_frequency,
)
from optaxls.diagnostics.ray import Ray, loss_along_ray
from optaxls.diagnostics.records import Curves, PilotResult
from optaxls.diagnostics.report import Report
from optaxls.optimizers.auto import auto
from optaxls.optimizers.ponos import adam_ponos, ponos
from optaxls.optimizers.salsa import salsa
from optaxls.optimizers.sls import sls

_MEASURED = "auto()"
# The same rule as it, so that the two differ in their direction only.
_ALONG_GRADIENT = "auto(optax.identity())"
_LONGER = (1, 2, 4)
_GROUPS = 4
# Two of them are a tenth: the least for a tail.
_FEWEST = 20
_RAY_POINTS = 41


@functools.cache
def _auto() -> optax.GradientTransformation:
    return auto()


@functools.cache  # so that the programs compiled for them are found again
def _candidates(steps_per_epoch: float, lower_bound: float) -> dict[str, Any]:
    """Rules of ours to try beside it, the one to take among equals first."""
    bound = f"lower_bound={lower_bound:g}" if lower_bound else ""
    joint = ", " if bound else ""
    return {
        f"sls(steps_per_epoch={steps_per_epoch:g})": sls(
            steps_per_epoch=steps_per_epoch
        ),
        f"ponos(max_step_size=1e3{joint}{bound})": ponos(
            max_step_size=1e3, lower_bound=lower_bound
        ),
        f"adam_ponos({bound})": adam_ponos(lower_bound=lower_bound),
        "salsa()": salsa(),
        _ALONG_GRADIENT: auto(optax.identity()),
    }


def _points(num_steps: int) -> tuple[int, ...]:
    """After how many steps to measure: dense at first, when most happens."""
    early = {max(round(num_steps * 4.0**-k), 1) for k in range(7)}
    return (0, *sorted(early | {num_steps // 2, 3 * num_steps // 4}))


@functools.partial(jax.jit, static_argnames=("loss_fn", "chunk_size", "lower_bound"))
def _rays(
    params: Any, batch: Any, measured: Any, *, loss_fn, chunk_size, lower_bound
) -> tuple[Ray, Ray]:
    """Along the batch's negative gradient: its own loss, and that of all measured."""
    loss = _trajectory.mean_loss(loss_fn)
    of_example = jax.checkpoint(loss_fn)

    def whole(params: Any) -> jax.Array:
        return jax.lax.map(
            lambda example: of_example(params, example),
            measured,
            batch_size=chunk_size,
        ).mean()

    value, grad = jax.value_and_grad(loss)(params, batch)
    polyak = (value - lower_bound) / trees.sqnorm(grad, value.dtype)
    usable = jnp.isfinite(polyak) & (polyak > 0)
    scale = jnp.where(usable, polyak, 1.0)
    sizes = scale * jnp.geomspace(1e-3, 1e2, _RAY_POINTS)
    down = trees.reverse(grad)

    def along(value_fn: Any) -> Ray:
        return loss_along_ray(value_fn, params, down, sizes, lower_bound=lower_bound)

    return along(lambda p: loss(p, batch)), along(whole)


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
    r"""Is it over-parameterized, is it the labels, and which rule should one take?

    Trains with ``auto()`` and measures gradients of single examples on the way:
    :math:`E|\nabla f_i|^2 \le \rho |\nabla f|^2 + \sigma^2` and the rest of this
    package. Then tries five other rules on the same batches. The recommendation is
    the rule that did best (the simpler one among equals); the findings say why, and
    what to do about noise and about rare classes.

    Args:
      loss_fn: ``(params, example) -> loss`` of one example, without a batch axis and
        without randomness: close over fixed batch statistics, switch dropout off.
      params: floating-point arrays to start from.
      data: a pytree of arrays with a leading axis of examples.
      labels: classes, integers from 0 with the same leading axis; with more axes
        (words of a text) only their frequencies are looked at.
      batch_size: >= 1, at most the examples.
      num_steps: >= 8, of every run; twice or four times as many as long as noise and
        interpolation cannot be told apart.
      num_measured: >= 20, examples drawn for the measurements.
      chunk_size: >= 1, per-example gradients in memory at once.
      lower_bound: the least value the loss of an example can have, loss units.
      seed: of batches and draws.
      candidates: optimizers to try beside ``auto()``, ours or not, by the names that
        the report shall call them; by default five rules of ours.
      progress: told the name of each run as it starts, ``print`` for instance.

    Returns:
      A ``Report``; ``print`` it, or ``report.plot()``.

    Raises:
      ValueError: an argument lies outside its range; an example's loss lies below
        ``lower_bound``.

    Cost:
      Six runs of ``num_steps`` or more, and nine times two gradients of every measured
      example. On a small model 20 to 30 s of compilation, and seconds for another run
      of the same loss function; memory ``chunk_size + 6`` copies of the params.

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
      Ours; the parts cite theirs.
    """
    data = jax.tree.map(jnp.asarray, data)
    count = _trajectory.num_examples(data)
    checks.require_integer("num_steps", num_steps, 8)
    checks.require_integer("num_measured", num_measured, _FEWEST)
    if count < _FEWEST:
        raise ValueError(f"data must have >= {_FEWEST} examples, got {count}")
    if not 1 <= batch_size <= count:
        raise ValueError(f"batch_size must lie in [1, {count}], got {batch_size}")
    tell = progress or (lambda name: None)
    if candidates is None:
        candidates = _candidates(count / batch_size, lower_bound)
    tail, by_label = _label_facts(labels)
    for longer in _LONGER:
        tell(f"{_MEASURED}, measured on the way")
        steps = _points(longer * num_steps)
        plan = Plan(steps, batch_size, min(num_measured, count), chunk_size, seed)
        run = _trajectory.follow(loss_fn, params, data, _auto(), plan)
        _check_bound(lower_bound, run.samples.values)
        growth = strong_growth(run.samples)
        measured = _findings.Measured(run, growth, tail, lower_bound, batch_size)
        if _findings.regime(measured) != "undecided":
            break
    pilots = {_MEASURED: run.pilot}
    for name, optimizer in candidates.items():
        tell(name)
        pilots[name] = _trajectory.pilot(loss_fn, params, data, optimizer, plan)
    rays = _rays(
        run.params, run.batch, _trajectory.take(data, run.rows), loss_fn=loss_fn,
        chunk_size=chunk_size, lower_bound=lower_bound,
    )  # fmt: skip
    by_group = by_label(run.rows)
    group_losses = jax.vmap(by_group)(run.samples.values)
    curves = Curves(plan.steps, run.samples, growth, group_losses, rays)
    return _report(measured, pilots, by_group, curves)


def _check_bound(lower_bound: float, values: jax.Array) -> None:
    """Refuses a bound that losses of examples lie below, rounding apart."""
    least, most = float(values.min()), float(jnp.abs(values).max())
    if least < lower_bound - 1e-5 * max(most, abs(lower_bound)):
        raise ValueError(
            "lower_bound must be at most the least loss of an example, got"
            f" {lower_bound} and a loss of {least:.6g}"
        )


def _report(
    measured: _findings.Measured,
    pilots: Mapping[str, _trajectory.Pilot],
    by_group: Callable[[jax.Array], Any],
    curves: Curves,
) -> Report:
    """Words, ranks and advice."""
    findings = _findings.findings(measured)
    lower = measured.lower_bound
    tried = {
        name: _recommend.Tried(float(one.values.mean()) - lower, by_group(one.values))
        for name, one in pilots.items()
    }
    losses = measured.trajectory.samples.values.mean(1) - lower
    advice = _recommend.recommend(
        findings,
        tried,
        _recommend.Pair(plain=_ALONG_GRADIENT, adam=_MEASURED),
        losses.tolist(),
        _findings.regime(measured),
        _findings.is_heavy(measured.tail),
    )
    ranked = sorted(tried, key=lambda name: _recommend.order(tried[name].excess))
    results = {
        name: PilotResult(
            float(pilots[name].values.mean()), float(pilots[name].num_trials)
        )
        for name in ranked
    }
    return Report(findings, results, advice, curves)


def _label_facts(labels: Any) -> tuple[LabelTail | None, Callable]:
    """The tail, and ``rows -> values -> losses by frequency`` (None without labels).

    Of labels with more axes than one only the tail is known.
    """
    if labels is None:
        return None, lambda rows: lambda values: None
    labels = jnp.asarray(labels)
    num_classes = max(int(labels.max()) + 1, 2)
    tail = label_tail(labels, num_classes)
    if labels.ndim != 1:
        return tail, lambda rows: lambda values: None
    counts = jnp.bincount(labels, length=num_classes)
    groups = frequency_groups(counts, _GROUPS)

    def by_group(rows: jax.Array) -> Callable[[jax.Array], jax.Array]:
        return lambda values: loss_by_frequency(values, labels[rows], groups, _GROUPS)

    return tail, by_group
