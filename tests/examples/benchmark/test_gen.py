"""GeN against a loop by hand, and the forward passes that it says it took."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from examples.benchmark import race, registry
from examples.benchmark.gen import gen
from tests.examples.benchmark.tiny_task import STEPS, tiny_task


@pytest.fixture
def doubles():
    with jax.enable_x64(True):
        yield


def curved(w: Any, batch: Any) -> Any:
    return 0.5 * batch[0] * (w - batch[1]) ** 2


class GenByHand:
    """GeN in one dimension, step for step as its package makes it, but for Adam's."""

    def __init__(self, w: float, num_steps: int | None = None):
        self.w, self.eta, self.last, self.num_steps = w, 1e-4, 0.0, num_steps
        self.m = self.v = 0.0
        self.k = 0

    def step(self, batch: tuple[float, float]) -> None:
        if self.k and self.k % 4 == 0:
            # The parabola G x + H x^2 / 2 through the losses, less that at x = 0.
            at = self.w - self.last
            ahead, behind = (
                curved(at + sign * self.last, batch) - curved(at, batch)
                for sign in (1, -1)
            )
            system = [[-self.eta, self.eta**2 / 2], [self.eta, self.eta**2 / 2]]
            slope, curvature = np.linalg.solve(system, [ahead, behind])
            if slope > 0 and curvature > 0:
                best = np.clip(slope / curvature, self.eta / 2, 2 * self.eta)
                left = 1 - self.k / self.num_steps if self.num_steps else 1
                self.eta = 0.9 * self.eta + 0.1 * left * best
        g = batch[0] * (self.w - batch[1])
        self.k += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
        first, second = self.m / (1 - 0.9**self.k), self.v / (1 - 0.999**self.k)
        adam = first / (np.sqrt(second) + 1e-8)
        self.last = -self.eta * (adam + 0.01 * self.w)
        self.w += self.last


@pytest.mark.slow
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("num_steps", [None, 40])
def test_gen_takes_the_steps_of_a_loop_by_hand(num_steps):
    # Minima near the start, so that the parabola's are within reach and clipped too.
    rng = np.random.default_rng(0)
    batches = np.stack([rng.uniform(1, 9, 40), rng.normal(0.9985, 3e-4, 40)], 1)
    optimizer, hand = gen(num_steps), GenByHand(1.0, num_steps)
    step = jax.jit(optaxls.make_step(curved, optimizer))
    w, sizes = jnp.array(1.0), []
    state = optimizer.init(w)
    for batch in batches:
        w, state, *_ = step(w, state, batch)
        hand.step(tuple(batch))
        sizes.append(float(state.step_size))
        np.testing.assert_allclose(w, hand.w, rtol=1e-9)
        np.testing.assert_allclose(sizes[-1], hand.eta, rtol=1e-6)
    factors = np.array(sizes[4::4]) / np.array(sizes[3:-1:4])
    assert (factors == 1).any() and (factors < 1).any() and (factors > 1).any()


@pytest.mark.usefixtures("doubles")
def test_gen_halves_a_step_size_that_leads_out_of_the_domain():
    optimizer = gen(every=1)

    def loss(w: Any, batch: Any) -> Any:
        return jnp.where(w > batch, w, jnp.nan)

    step = optaxls.make_step(loss, optimizer)
    w, state, *_ = step(jnp.array(1.0), optimizer.init(jnp.array(1.0)), 0.0)
    _, state, *_ = step(w, state, 1 - 1e-6)
    assert state.step_size == 0.5e-4


@pytest.mark.usefixtures("doubles")
def test_gen_says_how_many_forward_passes_its_trials_took():
    calls = []

    def loss(w: Any) -> Any:
        jax.debug.callback(lambda: calls.append(1))
        return w**2

    optimizer = gen()
    step = jax.jit(optaxls.make_step(loss, optimizer))
    w = jnp.array(1.0)
    state, found, counted = optimizer.init(w), [], []
    for _ in range(10):
        w, state, *_ = jax.block_until_ready(step(w, state))
        jax.effects_barrier()
        # One of the calls is the forward pass of the gradient.
        counted.append(len(calls) - 1)
        found.append(int(state.num_linesearch_steps))
        calls.clear()
    assert found == counted == [0, 0, 0, 0, 2, 0, 0, 0, 2, 0]


@pytest.mark.slow
def test_a_race_pays_for_the_trials_of_gen():
    (contender,) = registry.named(["gen"])
    curves = race.run(tiny_task(), contender, [1])
    # 17 gradients and four pairs of trials; an 18th gradient would cost too much.
    assert curves.trials[0, 0] == 8
    assert curves.costs[0, 0, -1] == 17 * 3 + 8 <= 3 * STEPS
