"""What JAX makes of the step of every posterior."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax import export

import optaxls
from tests.training.variational.test_step import PARAMS, X, loss

NAMES = ("ivon", "vogn", "von", "iblr")
# A number where no search is made. Where every second row is slow and the others are
# long, there is one of each posterior, with a search and without one in turn.
each_row = pytest.mark.parametrize(
    ("name", "rate"),
    [
        (name, rate)
        for name, rates in zip(NAMES, 2 * [(0.1, None), (None, 0.1)], strict=True)
        for rate in rates
    ],
)


def posterior(name, rate):
    return getattr(optaxls, name)(ess=3, learning_rate=rate)


@functools.cache
def stepping(name, rate):
    """An optimizer, and its jitted step with two samples."""
    optimizer = posterior(name, rate)
    return optimizer, jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=2))


def assert_same(one, other, rtol=0.0):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for ours, wanted in pairs:
        np.testing.assert_allclose(ours, wanted, rtol=rtol, atol=rtol)
    assert jax.tree.structure(one) == jax.tree.structure(other)


@pytest.mark.slow(one_in=2)
@each_row
def test_a_step_lowers_for_every_platform_without_a_callback(name, rate):
    optimizer, step = stepping(name, rate)
    platforms = ("cpu", "cuda", "tpu")
    found = export.export(step, platforms=platforms)(PARAMS, optimizer.init(PARAMS), X)
    assert found.platforms == platforms
    calls = re.findall(r"custom_call @(\w+)", found.mlir_module())
    assert not any("callback" in call for call in calls)
    assert bool(calls) == (name in ("von", "iblr"))  # The factors of a matrix.
    assert not found.ordered_effects and not found.unordered_effects


@pytest.mark.slow(one_in=2)
@each_row
def test_a_loop_in_scan_is_the_loop_in_python(name, rate):
    optimizer, step = stepping(name, rate)

    def body(carry, _):
        return step(*carry, X)[:2], None

    start = (PARAMS, optimizer.init(PARAMS))
    scanned, _ = jax.jit(lambda carry: jax.lax.scan(body, carry, length=3))(start)
    plain = start
    for _ in range(3):
        plain = step(*plain, X)[:2]
    assert_same(scanned, plain, rtol=2e-5)


@pytest.mark.slow(one_in=2)
@each_row
def test_a_run_goes_on_from_its_checkpoint_as_if_nothing_had_happened(
    name, rate, tmp_path
):
    """The noise too: it is made from the state."""
    optimizer, step = stepping(name, rate)
    saved = step(PARAMS, optimizer.init(PARAMS), X)[:2]
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", saved)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(
            tmp_path / "state", jax.eval_shape(lambda: saved)
        )
    assert_same(restored, saved)
    assert_same(step(*restored, X)[:2], step(*saved, X)[:2])
    samples = [optaxls.posterior_sample(s, w) for w, s in (restored, saved)]
    assert_same(*samples)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_state_holds_no_sample(name):
    """A diagonal posterior keeps precision and momentum, a full one its factor."""
    w = jnp.zeros(50)
    sizes = [leaf.size for leaf in jax.tree.leaves(posterior(name, 0.1).init(w))]
    large = sorted(size for size in sizes if size >= w.size)
    assert large == ([50, 50] if name in ("ivon", "vogn") else [2500])
