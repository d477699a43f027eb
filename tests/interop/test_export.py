"""A train step of every optimizer exports for CPU, GPU and TPU, loop and all."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax import export

import optaxls
from tests import problems
from tests.problems import RULES, quadratic, quadratic_params
from tests.rows import each_kind

PLATFORMS = ("cpu", "cuda", "tpu")


@functools.cache
def exported(name: str) -> export.Exported:
    """One module for all platforms: what one of them cannot lower fails here."""
    optimizer = RULES[name].make()
    step = jax.jit(optaxls.make_step(quadratic, optimizer))
    params = quadratic_params()
    return export.export(step, platforms=PLATFORMS)(params, optimizer.init(params))


# Loops of the direction itself: conjugate gradients, and the pairs of L-BFGS once
# forwards and once back.
CONJUGATE_GRADIENTS = {"hessian_free": 1, "hessian_free_adapted": 1}
DIRECTIONS_LOOP = CONJUGATE_GRADIENTS | {"lbfgs": 2, "stochastic_lbfgs": 2, "owl_qn": 2}
# Random bits are made in loops of a fixed number of rounds.
DRAWS = {"ivon": 3}
SOLVES = {"newton", "iblr"}


@pytest.mark.slow
@each_kind
def test_a_step_lowers_for_every_platform(name):
    assert exported(name).platforms == PLATFORMS


@each_kind
def test_the_search_is_one_loop_and_nothing_else_loops(name):
    text = exported(name).mlir_module()
    loops = int(RULES[name].searches) + DIRECTIONS_LOOP.get(name, 0)
    loops += DRAWS.get(name, 0)
    assert text.count("stablehlo.while") == loops


@each_kind
def test_nothing_calls_back_to_the_host(name):
    """No custom call at all, but the factors and eigenvalues of a matrix."""
    text = exported(name).mlir_module()
    calls = set(re.findall(r"custom_call @(\w+)", text))
    assert not calls or name in SOLVES
    assert not any("callback" in call for call in calls)
    assert "outfeed" not in text and "send" not in text
    assert not exported(name).ordered_effects
    assert not exported(name).unordered_effects


def test_a_surrogate_step_lowers_for_every_platform_without_a_callback():
    """Two loops: that of the inner steps and, in each, that of the search."""

    def predict(params):
        return jnp.stack([params["a"].sum(), params["b"].sum()])

    optimizer, params = optaxls.ponos(), {"a": jnp.ones(3), "b": jnp.ones(())}
    step = optaxls.make_surrogate_step(
        predict, lambda z: jnp.mean(z**2), optimizer, inner_steps=3, step_size=0.5
    )
    state = optimizer.init(params)
    module = export.export(jax.jit(step), platforms=PLATFORMS)(params, state)
    assert module.platforms == PLATFORMS
    assert module.mlir_module().count("stablehlo.while") == 2
    assert "custom_call" not in module.mlir_module()


def test_a_callback_in_the_loss_would_be_seen():
    def loss(params):
        jax.debug.callback(lambda value: None, params["b"])
        return quadratic(params)

    optimizer = optaxls.ponos()
    step, params = optaxls.make_step(loss, optimizer), quadratic_params()
    lowered = jax.jit(step).trace(params, optimizer.init(params)).lower()
    assert "custom_call" in lowered.as_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ponos", "salsa"])
def test_the_exported_step_takes_the_same_steps(name):
    params = quadratic_params()
    state = RULES[name].make().init(params)
    for _ in range(3):
        params, state, *_ = exported(name).call(params, state)
    expected = problems.run(name, [problems.GOOD] * 3)[-1]["params"]
    for key, leaf in expected.items():
        assert jnp.allclose(params[key], leaf, rtol=1e-5, atol=1e-6)
