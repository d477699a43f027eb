"""``auto`` takes any direction of optax: steps are accepted, and the loss falls."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls

QUICK = {
    "lion": optax.scale_by_lion,
    "rms": optax.scale_by_rms,
    "trace": lambda: optax.trace(0.9),
    "keyed": lambda: optax.chain(
        optax.scale_by_adam(), optax.add_noise(1e-4, 0.55, jax.random.key(0))
    ),
    "partition": lambda: optax.partition(
        {"adam": optax.scale_by_adam(), "sign": optax.scale_by_sign()},
        {"w": "adam", "b": "sign"},
    ),
    "clipped": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optax.scale_by_adam()
    ),
}
SLOW = {
    "yogi": optax.scale_by_yogi,
    "amsgrad": optax.scale_by_amsgrad,
    "adabelief": optax.scale_by_belief,
    "radam": optax.scale_by_radam,
    "adan": optax.scale_by_adan,
    "sm3": optax.scale_by_sm3,
    "ema": lambda: optax.ema(0.9),
    "sign": optax.scale_by_sign,
    "normalized": optax.normalize_by_update_norm,
    "rss": optax.scale_by_rss,
    "novograd": optax.scale_by_novograd,
    "identity": optax.identity,
}
TABLE = [*QUICK] + [pytest.param(name, marks=pytest.mark.slow) for name in SLOW]


@pytest.mark.slow(one_in=5)
@pytest.mark.parametrize("name", TABLE)
def test_a_direction_descends_under_auto(name):
    optimizer = optaxls.auto((QUICK | SLOW)[name]())
    params = {"w": jnp.array([[2.0, -1.0], [0.5, 3.0]]), "b": jnp.array([1.0, -2.0])}

    def loss(p):
        return jnp.sum(p["w"] ** 2) + 3 * jnp.sum(p["b"] ** 2)

    step = jax.jit(optaxls.make_step(loss, optimizer))
    start, state, accepted = loss(params), optimizer.init(params), 0
    for _ in range(15):
        params, state, _, _, metrics = step(params, state)
        accepted += int(metrics["accepted"])
    assert accepted >= 8
    assert jnp.isfinite(loss(params)) and loss(params) < 0.7 * start
