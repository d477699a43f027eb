"""Params stay in their set to the last bit, whatever moves them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls import prox

NAN = math.nan
DTYPES = {
    "float32": (False, jnp.float32),
    "bfloat16": (False, jnp.bfloat16),
    "float16": (False, jnp.float16),
    "float64": (True, jnp.float64),
}


def draws(size, seed=0):
    """Params of many magnitudes, and bounds around them."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 3, size)
    params = rng.normal(size=size) * scale
    upper = params + np.abs(rng.normal(size=size)) * 10.0 ** rng.uniform(-3, 3, size)
    # Else it would be a sum, whose difference gives it back.
    return params, np.maximum(upper * (1 + 1e-9 * rng.normal(size=size)), params)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DTYPES)
def test_a_step_onto_a_bound_is_not_beyond_it(kind):
    """The plain difference is, in more than a tenth of the cases."""
    x64, dtype = DTYPES[kind]
    with jax.enable_x64(x64):
        params, upper = (jnp.asarray(x, dtype) for x in draws(20_000))
        upper = jnp.maximum(upper, params)
        plain = params + (upper - params)
        assert jnp.mean(plain > upper) > 0.02
        path = optaxls.along_projection(prox.box(-jnp.inf, upper))
        tx = optaxls.scale_by_initial_step(optaxls.constant(1.0), path=path)

        @jax.jit
        def step(params):
            big = jnp.full_like(params, 3e4)
            updates, state = tx.update(
                big, tx.init(params), params, value=1.0, grad=-big
            )
            return optax.apply_updates(params, updates), state

        new, state = step(params)
        assert state.accepted and new.dtype == dtype
        assert jnp.all(new <= upper)
        eps = float(jnp.finfo(dtype).eps)
        assert jnp.all(
            upper - new <= 2 * eps * jnp.maximum(jnp.abs(upper), jnp.abs(params))
        )


LOW, HIGH = -0.7, 0.3
BOX = prox.box(LOW, HIGH)


def loss(w, target):
    """Not a number outside of the box; its minimum lies at and beyond the bounds."""
    wide = w.astype(jnp.promote_types(w.dtype, jnp.float32))
    outside = jnp.any((wide > jnp.asarray(HIGH, wide.dtype)) | (wide < LOW))
    smooth = 0.5 * jnp.sum(jnp.arange(1, 1 + w.size) * (wide - target) ** 2)
    return jnp.where(outside, jnp.nan, smooth)


def momentum_kept_inside():
    search = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.grow(1.0), path=optaxls.along_projection(BOX)
    )
    return optax.chain(
        optax.scale(-1.0), search, optaxls.heavy_ball(0.9), optaxls.keep_inside(BOX)
    )


PATH = optaxls.along_projection(BOX)
OPTIMIZERS = {
    "sls": lambda: optaxls.sls(steps_per_epoch=5, path=PATH),
    "ponos": lambda: optaxls.ponos(path=PATH),
    "prox_sgd": lambda: optaxls.prox_sgd(BOX, steps_per_epoch=5),
    "prox_adam": lambda: optaxls.prox_adam(BOX, steps_per_epoch=5, b1=0.9),
    "auto": lambda: optaxls.auto(path=PATH),
    "auto_momentum": lambda: optaxls.auto(optax.trace(0.9), path=PATH),
    "fista": lambda: optaxls.fista(BOX),
    "momentum": momentum_kept_inside,
}


QUICK = (("fista", "float32"), ("momentum", "bfloat16"), ("prox_adam", "float32"))
TRAINED = [
    pytest.param(name, kind, marks=() if (name, kind) in QUICK else pytest.mark.slow)
    for name in OPTIMIZERS
    for kind in ("float32", "bfloat16", "float64")
    # Other dtypes differ by the rounding of the path alone.
    if kind == "float32" or name in ("ponos", "auto", "momentum")
]


@pytest.mark.slow(one_in=3)
@pytest.mark.parametrize(("name", "kind"), TRAINED)
def test_training_never_meets_the_nan_outside_the_box(name, kind):
    x64, dtype = DTYPES[kind]
    with jax.enable_x64(x64):
        optimizer = OPTIMIZERS[name]()
        step = optaxls.make_step(loss, optimizer)
        start = jnp.linspace(-0.6, 0.25, 16).astype(dtype)
        targets = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)

        @jax.jit
        def train(w):
            def body(carry, target):
                found = step(*carry, target)
                average = optaxls.eval_params(found.opt_state, found.params)
                return (found.params, found.opt_state), (found.value, average)

            return jax.lax.scan(body, (w, optimizer.init(w)), jnp.asarray(targets))

        (w, _), (values, averages) = train(start)
        assert jnp.all(jnp.isfinite(values))
        assert jnp.any(w != start)
        wide = averages.astype(values.dtype)
        assert jnp.all((wide <= jnp.asarray(HIGH, values.dtype)) & (wide >= LOW))


def test_momentum_alone_leaves_the_box():
    """What ``keep_inside`` is for."""
    optimizer = optax.chain(*momentum_parts()[:-1])
    w, state = jnp.zeros(2), optimizer.init(jnp.zeros(2))
    step = optaxls.make_step(lambda w: jnp.sum((w - 5) ** 2), optimizer)
    for _ in range(3):
        w, state, *_ = step(w, state)
    assert jnp.all(w > HIGH)


def momentum_parts():
    search = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.grow(0.01), path=PATH
    )
    return [
        optax.scale(-1.0), search, optaxls.heavy_ball(0.9), optaxls.keep_inside(BOX)
    ]  # fmt: skip


def test_what_would_leave_the_set_is_refused():
    w = jnp.zeros(2)
    decayed = optaxls.decayed(optaxls.ponos(path=PATH), 0.1)
    with pytest.raises(TypeError, match="leave the set"):
        decayed.init(w)
    with pytest.raises(TypeError, match="leave the set"):
        optaxls.auto(weight_decay=0.1, path=PATH).init(w)
    optaxls.decayed(optaxls.ponos(path=PATH), 0.0).init(w)
    optaxls.decayed(optaxls.ponos(path=optaxls.along_prox(prox.l1(0.1))), 0.1).init(w)
    with pytest.raises(ValueError, match="uphill, along a path"):
        optaxls.scale_by_line_search(
            optaxls.armijo(), optaxls.grow(), path=PATH, uphill="flip"
        )


def test_a_preconditioner_needs_a_penalty_by_coordinates():
    w, path = jnp.ones(3) / 3, optaxls.along_projection(prox.simplex())
    with pytest.raises(ValueError, match="sum over the coordinates"):
        optaxls.prox_adam(prox.simplex(), steps_per_epoch=1)
    with pytest.raises(ValueError, match="sum over the coordinates"):
        optaxls.auto(path=path)
    search = optaxls.scale_by_line_search(optaxls.armijo(), optaxls.grow(), path=path)
    optimizer = optaxls.scale_by_preconditioned_search(search, b1=0.0)
    with pytest.raises(TypeError, match="sum over the coordinates"):
        optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)(w, optimizer.init(w))


def test_a_penalty_that_is_not_a_number_makes_no_step():
    broken = prox.Proximal(
        lambda params, step_size: params, lambda params: jnp.nan * params[0]
    )
    optimizer = optaxls.prox_sgd(broken, steps_per_epoch=1)
    w = jnp.ones(2)
    found = optaxls.make_step(lambda w: jnp.sum(w**2), optimizer)(w, optimizer.init(w))
    assert jnp.array_equal(found.params, w) and not found.metrics["accepted"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["ponos", *(pytest.param(n, marks=pytest.mark.slow) for n in ("fista", "auto"))],
)
def test_an_infeasible_start_is_projected_first(name):
    optimizer, w = OPTIMIZERS[name](), jnp.array([5.0, -0.2, -9.0])
    step = jax.jit(optaxls.make_step(lambda w: jnp.sum((w - 1) ** 2), optimizer))
    state = optimizer.init(w)
    w, state, *_ = step(w, state)
    assert jnp.allclose(w, jnp.array([HIGH, -0.2, LOW])) and jnp.all(
        w <= jnp.float32(HIGH)
    )
    assert optaxls.metrics(state)["num_trials"] == 0
    for _ in range(30):
        w, state, *_ = step(w, state)
    assert jnp.allclose(optaxls.eval_params(state, w), HIGH, atol=0.1)
