"""One law for every memory: scale and shift the loss, and the memory follows.

A part sees a run of batches, some of them exploded, and once more with ``a f + b`` in
place of the loss ``f``. Each field of its memory must then be the first one's, mapped
as its kind is: a loss to ``a x + b``, a difference of losses to ``a x``, a step size
along the gradient to ``x / a``.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optaxls
from tests.parts.samples import origin, outcome

LENGTH = 14
EXPLOSIONS = [1.0] * 8 + [1e3, 1e6]

# How a field follows: powers of a, and whether b is added.
LOSS, DIFFERENCE, SAME, STEP, SQUARE = (1, 1), (1, 0), (0, 0), (-1, 0), (2, 0)
KINDS: dict[str, Any] = {
    "mean_value": LOSS,
    "recent_values": LOSS,
    "last_decrease": DIFFERENCE,
    "mean_deviation": DIFFERENCE,
    "mean_decrease": DIFFERENCE,
    "mean_steepness": DIFFERENCE,
    "mean_change": DIFFERENCE,
    "mean_slope": DIFFERENCE,
    "mean_size": DIFFERENCE,
    "last_value": LOSS,
    "early_value": LOSS,
    "last_grad": DIFFERENCE,
    "first_moment": DIFFERENCE,
    "trace": DIFFERENCE,
    "hindsight_step": STEP,
    "recent_step": STEP,
    "last_step": STEP,
    "second_moment": SQUARE,
    "mean_grad_sqnorm": SQUARE,
    "max_second_moment": SQUARE,
}


@st.composite
def runs(draw: Any) -> Any:
    """Losses, gradients, params and step sizes of ``LENGTH`` batches."""
    eighths = st.integers(-80, 80).map(lambda n: n / 8)
    losses = draw(st.lists(eighths, min_size=LENGTH, max_size=LENGTH))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    factors = rng.choice(EXPLOSIONS, LENGTH)
    gradients = rng.standard_normal((LENGTH, 3)) * factors[:, None]
    params = rng.standard_normal((LENGTH, 3))
    steps = 2.0 ** -rng.integers(0, 6, LENGTH)
    return np.array(losses) * factors, gradients, params, steps


campaign = settings(max_examples=15, deadline=None, derandomize=True, database=None)
scales = st.floats(-3, 3).map(lambda power: 10.0**power)
shifts = st.floats(-10, 10)
dtypes = st.sampled_from(["float32", "float64"])


def follows(memory: Any, other: Any, a: float, b: float, dtype: str, **kinds: Any):
    """Every field of ``other`` is that of ``memory``, mapped."""
    one, _ = jax.tree_util.tree_flatten_with_path(memory)
    rest = jax.tree.leaves(other)
    tolerance = 2e-3 if dtype == "float32" else 1e-8
    for (path, x), y in zip(one, rest, strict=True):
        names = [key.name for key in path if hasattr(key, "name")]
        power, adds = SAME
        for name in names:
            power, adds = (KINDS | kinds).get(name, (power, adds))
        x, y = np.asarray(x, float), np.asarray(y, float)
        wanted = a**power * x + adds * b
        slack = tolerance * (1e-30 + adds * (abs(b) + 10 * a))
        if power:
            slack += tolerance * a**power * 1e-2
        np.testing.assert_allclose(y, wanted, tolerance, slack, err_msg=str(names))


@functools.cache
def program(build: Any, name: str) -> Any:
    """The compiled run of a part: its memory after the batches of ``a f + b``.

    ``build(name, a, b) -> (memory, step)``, with ``step`` from batch to batch.
    """

    @jax.jit
    def end(run: Any, a: Any, b: Any) -> Any:
        losses, gradients, params, steps = run
        memory, step = build(name, a, b)
        batches = a * losses + b, a * gradients, params, steps, jnp.arange(LENGTH)
        body = lambda memory, batch: (step(memory, *batch), None)  # noqa: E731
        return jax.lax.scan(body, memory, batches)[0]

    return end


def both(build: Any, name: str, run: Any, a: float, b: float, dtype: str) -> Any:
    """The memories of one run with the loss as it is, and as ``a f + b``."""
    with jax.enable_x64(dtype == "float64"):
        run = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), run)
        numbers = [jnp.asarray(number, dtype) for number in (1, 0, a, b)]
        end = program(build, name)
        return end(run, *numbers[:2]), end(run, *numbers[2:])


def like(a: Any) -> Any:
    """Params of the dtype of ``a``."""
    return jnp.zeros(3, a.dtype)


CONDITIONS = {
    "zhang_hager": optaxls.zhang_hager(0.5),
    "zhang_hager_forgetful": optaxls.zhang_hager(0.5, 0.7),
    "window_armijo": optaxls.window_armijo(0.5, 3),
    "smoothed_armijo": optaxls.smoothed_armijo(0.5),
    "armijo": optaxls.armijo(0.5),
}


def condition(name: str, a: Any, b: Any) -> Any:
    """Along a direction that does not scale with the loss, such as Adam's."""
    del b
    part = CONDITIONS[name]

    def step(memory: Any, value: Any, grad: Any, w: Any, step_size: Any, k: Any) -> Any:
        slope = -jnp.sum(jnp.abs(grad))
        memory = part.observe(memory, origin(value, slope))
        after = value + 0.5 * step_size * slope
        done = outcome(step_size, 1, k % 4 > 0, after, slope)
        return part.commit(memory, origin(value, slope), done)

    return part.init(like(a)), step


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONS)
@campaign
@given(runs(), scales, shifts, dtypes)
def test_the_memory_of_a_condition_follows_the_loss(name, run, a, shift, dtype):
    b = 10 * a * shift
    one, other = both(condition, name, run, a, b, dtype)
    follows(one, other, a, b, dtype)


# The part, given the unit of step sizes and the lower bound of the loss.
INITIAL_STEPS = {
    "grow": lambda unit, bound: optaxls.grow(0.1 * unit),
    "polyak": lambda unit, bound: optaxls.polyak(0.5, bound, memory=0.5, eps=0.0),
    "smoothed_polyak": lambda unit, bound: optaxls.smoothed_polyak(
        0.5, bound, 0.1 * unit, eps=0.0
    ),
    "barzilai_borwein": lambda unit, bound: optaxls.barzilai_borwein(
        0.1 * unit, 1e-20, 1e20
    ),
    "hindsight": lambda unit, bound: optaxls.hindsight(initial_step_size=0.1 * unit),
}


def initial_step(name: str, a: Any, b: Any) -> Any:
    """Along the negative gradient, so that step sizes scale by 1 / a."""
    part = INITIAL_STEPS[name](1 / a, b)

    def step(memory: Any, value: Any, grad: Any, w: Any, step_size: Any, k: Any) -> Any:
        at = origin(value, -jnp.sum(grad**2), params=w, grad=grad)
        memory = part.observe(memory, at)
        proposal = part.propose(memory, at)
        done = outcome(proposal, k * 3 % 4, proposal > 0, 0.0, at.slope)
        return part.commit(memory, at, done)

    return part.init(like(a)), step


@pytest.mark.slow
@pytest.mark.parametrize("name", INITIAL_STEPS)
@campaign
@given(runs(), scales, shifts, dtypes)
def test_the_memory_of_an_initial_step_follows_the_loss(name, run, a, shift, dtype):
    run = (np.abs(run[0]) + 0.125, *run[1:])
    b = 10 * a * shift
    kinds = {"start": STEP, "earlier_start": STEP} if name == "grow" else {}
    one, other = both(initial_step, name, run, a, b, dtype)
    follows(one, other, a, b, dtype, **kinds)


GATES = {
    "always": optaxls.always(),
    "first": optaxls.first(3),
    "every": optaxls.every(2),
    "when_unsteady": optaxls.when_unsteady(),
}


def gate(name: str, a: Any, b: Any) -> Any:
    del b
    part = GATES[name]

    def step(memory: Any, value: Any, grad: Any, w: Any, step_size: Any, k: Any) -> Any:
        at = origin(value, -jnp.sum(jnp.abs(grad)))
        memory = part.observe(memory, at)
        searched = part.should_search(memory, at).astype(int)
        return part.commit(memory, at, outcome(step_size, searched, k % 4 > 0, value))

    return part.init(like(a)), step


@pytest.mark.parametrize("name", GATES)
@campaign
@given(runs(), scales, shifts, dtypes)
def test_the_memory_of_a_gate_does_not_ask_for_the_loss(name, run, a, shift, dtype):
    one, other = both(gate, name, run, a, 10 * a * shift, dtype)
    follows(one, other, a, 0.0, dtype, last_step=SAME)


def direction(name: str, a: Any, b: Any) -> Any:
    del b
    rule = optaxls.scale_by_initial_step(optaxls.constant(1.0))
    tx = (
        optaxls.guarded(optax.trace(0.5))
        if name == "guarded"
        else optaxls.scale_by_preconditioned_search(rule, variant=name)
    )

    def step(memory: Any, value: Any, grad: Any, w: Any, step_size: Any, k: Any) -> Any:
        return tx.update(grad, memory, w, value=value, grad=grad)[1]

    return tx.init(like(a)), step


@pytest.mark.slow
@pytest.mark.parametrize("name", ["guarded", "adam", "amsgrad", "adagrad"])
@campaign
@given(runs(), scales, shifts, dtypes)
def test_the_memory_of_a_direction_follows_the_loss(name, run, a, shift, dtype):
    one, other = both(direction, name, run, a, 10 * a * shift, dtype)
    if name != "guarded":
        one, other = one.pair, other.pair
    follows(one, other, a, 0.0, dtype)
