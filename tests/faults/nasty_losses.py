"""Nasty losses over several parameter trees, and the episode that runs through them.

An episode is ``WARM`` steps on a quadratic, ``NASTY`` steps on losses that change from
step to step, then ``GOOD`` steps on the quadratic again, from where it began: has the
rule survived? All episodes of an optimizer run at once through one program (``vmap``
over cases, ``scan`` over steps). Rules that grow do so by 2 a step here, not an epoch:
what is tested is whether they recover, not at which pace.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls
from tests.contract.fast_rows import ROWS as FAST_ROWS
from tests.contract.posterior_rows import ROWS as POSTERIOR_ROWS
from tests.problems import ALIASES
from tests.rows import VARIANTS

# Where a direction that climbs is flipped, other promises hold: test_uphill.py. What
# differs from another row by its memory or its reset is here, other variants are not.
_KEPT = {"sls_keep", "ponos_forgetful", "sls_polyak", "iblr"}
_LEFT_OUT = VARIANTS - _KEPT | {"flipped"}
ROWS = {
    name: row
    for name, row in (ALIASES | FAST_ROWS | POSTERIOR_ROWS).items()
    if name not in _LEFT_OUT
}

SIZE, WARM, NASTY, GOOD = 6, 4, 6, 60
LENGTH = WARM + NASTY + GOOD
NAN, INF = float("nan"), float("inf")

# Trees: from a vector to params and back.


def _nested(x: jax.Array) -> Any:
    return {"a": (x[0], x[1:3], None), "b": [x[3:].reshape(1, 3)], "empty": {}}


def _mixed(x: jax.Array) -> Any:
    return {"half": x[:3].astype(jnp.bfloat16), "single": x[3:]}


def _frozen(x: jax.Array) -> Any:
    return (x, {"steps": jnp.arange(3)})


TREES: dict[str, Callable[[jax.Array], Any]] = {
    "vector": jnp.asarray,
    "nested": _nested,
    "mixed": _mixed,
    "frozen": _frozen,
}


def flat(params: Any) -> jax.Array:
    """The floating-point leaves as one float32 vector."""
    leaves = [
        jnp.ravel(leaf).astype(jnp.float32)
        for leaf in jax.tree.leaves(params)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    ]
    return jnp.concatenate(leaves)


# Losses.


class Knobs(NamedTuple):
    """One step of one case; vectors of SIZE: curvature, center, normal."""

    kind: Any
    curvature: Any
    center: Any
    normal: Any
    threshold: Any
    trial_factor: Any
    trial_offset: Any
    gradient_sign: Any
    direction_sign: Any
    jump: Any


_FROM_START, _AFRESH = 1, 2


def _bowl(x: jax.Array, k: Knobs) -> jax.Array:
    return 0.5 * jnp.sum(k.curvature * (x - k.center) ** 2)


def _inside(bad: float) -> Callable:
    def loss(x: jax.Array, k: Knobs) -> jax.Array:
        return _bowl(x, k) * jnp.where(x @ k.normal > k.threshold, bad, 1.0)

    return loss


LOSSES: dict[str, Callable[[jax.Array, Knobs], jax.Array]] = {
    "quadratic": _bowl,
    "tiny": lambda x, k: 1e-20 * _bowl(x, k),
    "large": lambda x, k: 1e6 * _bowl(x, k),
    "huge": lambda x, k: 1e20 * _bowl(x, k),
    "flat": lambda x, k: 0.0 * _bowl(x, k) + k.threshold,
    "linear": lambda x, k: x @ k.normal + 100,
    "negative": lambda x, k: _bowl(x, k) - 1e3,
    "concave": lambda x, k: -_bowl(x, k),
    "nan_region": _inside(NAN),
    "inf_region": _inside(INF),
    "minus_inf_region": _inside(-INF),
    "pole": lambda x, k: jnp.log(jnp.abs(x @ k.normal)),
    "steps": lambda x, k: jnp.floor(4 * _bowl(x, k)) / 4 + 0.01 * _bowl(x, k),
    "explodes": lambda x, k: jnp.exp(3 * (x @ k.normal)),
    "quartic": lambda x, k: jnp.sum((x - k.center) ** 4),
    "kinks": lambda x, k: jnp.sum(jnp.abs(x - k.center)),
}
_KINDS = list(LOSSES)


def _value(x: jax.Array, k: Knobs) -> jax.Array:
    return jax.lax.switch(k.kind, list(LOSSES.values()), x, k)


def _gradient(x: jax.Array, k: Knobs) -> jax.Array:
    # A switch of gradients: the gradient of a vmapped switch mixes NaN from all.
    gradients = [jax.grad(loss) for loss in LOSSES.values()]
    return k.gradient_sign * jax.lax.switch(k.kind, gradients, x, k)


# Cases.


class Case(NamedTuple):
    """What Hypothesis draws; numbers of less interest come from the seed."""

    kinds: tuple[str, ...]
    start: float
    noise: float
    gradient_sign: int
    direction_sign: int
    seed: int


START = np.linspace(0.5, 2.0, SIZE, dtype=np.float32)


def _knobs(case: Case) -> tuple[np.ndarray, Knobs]:
    rng = np.random.default_rng(case.seed)
    at = np.arange(LENGTH)
    bad = (at >= WARM) & (at < WARM + NASTY)
    wild = bad & (rng.random(LENGTH) < 0.7)
    noisy = wild * np.float32(case.noise)
    start = case.start * rng.standard_normal(SIZE)
    per_step = (LENGTH, SIZE)
    curvature = np.where(bad[:, None], np.exp(2 * rng.standard_normal(SIZE)), 1.0)
    center = np.where(bad[:, None], 3 * rng.standard_normal(per_step), 0.0)
    normal = rng.standard_normal(per_step)
    kinds = [_KINDS.index(case.kinds[i % len(case.kinds)]) for i in at]
    return start.astype(np.float32), Knobs(
        np.where(bad, kinds, 0).astype(np.int32),
        curvature.astype(np.float32),
        center.astype(np.float32),
        normal.astype(np.float32),
        (normal @ start + rng.standard_normal(LENGTH)).astype(np.float32),
        (1 + noisy * rng.standard_normal(LENGTH)).astype(np.float32),
        (noisy * rng.standard_normal(LENGTH)).astype(np.float32),
        np.where(wild, case.gradient_sign, 1).astype(np.float32),
        np.where(wild, case.direction_sign, 1).astype(np.float32),
        np.select([at == WARM, at == WARM + NASTY], [_FROM_START, _AFRESH]),
    )


def stack(cases: list[Case]) -> tuple[np.ndarray, Knobs]:
    """Starts ``(cases, SIZE)`` and knobs ``(cases, steps, ...)``."""
    starts, knobs = zip(*map(_knobs, cases), strict=True)
    return np.stack(starts), jax.tree.map(lambda *rows: np.stack(rows), *knobs)


# Episodes.


def make(name: str) -> optax.GradientTransformationExtraArgs:
    """The alias, growing by 2 a step where it grows."""
    case = ROWS[name]
    given = getattr(case.make, "keywords", {})
    if "steps_per_epoch" in given:
        given = given | {"steps_per_epoch": 1.0}
    if "growth" in given or case.factory is optaxls.salsa:
        given = given | {"growth": 2.0}
    return case.factory(**given)


class Record(NamedTuple):
    """One step: vectors before it, its report, and what a second look says."""

    params: Any
    gradient: Any
    updates: Any
    value: Any
    value_after: Any
    params_finite: Any
    report: dict[str, Any]


def _step(optimizer: Any, unflatten: Callable, start: Any, carry: Any, k: Knobs) -> Any:
    params, state = carry
    places = (unflatten(start), unflatten(jnp.asarray(START)))
    params = jax.tree.map(lambda *p: jax.lax.select_n(k.jump, *p), params, *places)

    def value_fn(at: Any) -> jax.Array:
        return _value(flat(at), k) * k.trial_factor + k.trial_offset

    def grad_fn(at: Any) -> Any:
        slope = unflatten(_gradient(flat(at), k))
        return jax.tree.map(_like_gradient, slope, at)

    value, grad = _value(flat(params), k), grad_fn(params)
    direction = jax.tree.map(lambda g: (k.direction_sign * g).astype(g.dtype), grad)
    updates, new_state = optimizer.update(
        direction, state, params, value=value, grad=grad, value_fn=value_fn,
        grad_fn=grad_fn,
    )  # fmt: skip
    new = optax.apply_updates(params, updates)
    record = Record(
        flat(params),
        flat(grad),
        flat(updates),
        value,
        value_fn(new),
        jnp.all(jnp.isfinite(flat(params))),
        optaxls.metrics(new_state),
    )
    return (new, new_state), record


def _like_gradient(slope: jax.Array, leaf: jax.Array) -> jax.Array:
    inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return slope.astype(leaf.dtype) if inexact else jnp.zeros_like(leaf)


@functools.cache
def episodes(name: str, tree: str) -> Callable[[np.ndarray, Knobs], Any]:
    """The compiled ``(starts, knobs) -> (last carry, records)`` of an alias."""
    optimizer, unflatten = make(name), TREES[tree]

    def episode(start: jax.Array, knobs: Knobs) -> Any:
        params = unflatten(jnp.asarray(START))
        step = functools.partial(_step, optimizer, unflatten, start)
        return jax.lax.scan(step, (params, optimizer.init(params)), knobs)

    return jax.jit(jax.vmap(episode))
