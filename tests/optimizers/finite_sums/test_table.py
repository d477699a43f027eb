"""The table as a state: its memory, its precision, and where it travels."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from tests.optimizers.finite_sums import sums
from tests.optimizers.finite_sums.sums import D, N

ocp = pytest.importorskip("orbax.checkpoint")


def test_bytes_are_told_and_too_many_are_refused(caplog):
    params = {"w": jnp.zeros((3, 2), jnp.bfloat16), "b": jnp.zeros(()), "n": 3}
    size = optaxls.table_bytes(params, 10)
    assert size == 10 * (6 * 2 + 4)
    optimizer = optaxls.sag(num_functions=10, max_bytes=size)
    with caplog.at_level("INFO", logger="optaxls"):
        table = optimizer.init(params).pair.table
    assert f"10 gradients takes {size} bytes" in caplog.text
    assert table["w"].shape == (10, 3, 2) and table["w"].dtype == jnp.bfloat16
    # An integer leaf has no gradient.
    assert size == sum(table[key].nbytes for key in ("w", "b"))
    assert table["n"].shape == ()
    small = optaxls.saga(num_functions=10, max_bytes=size - 1)
    with pytest.raises(ValueError, match=rf"saga: .*takes {size} bytes.*svrg"):
        small.init(params)
    # Nothing is allocated to find out.
    huge = optaxls.sag(num_functions=10**9)
    with pytest.raises(ValueError, match="larger max_bytes"):
        jax.eval_shape(huge.init, jax.ShapeDtypeStruct((10**6,), jnp.float32))


def test_rounding_errors_leave_the_sum_within_two_rounds():
    """Gradients of 1e5 leave errors of 1e-3 in a running sum, for ever."""
    optimizer = optaxls.sag(num_functions=N, lipschitz=1.0)
    w = jnp.zeros(D)

    @jax.jit
    def run(state, grads, indices):
        def body(state, given):
            grad, index = given
            _, state = optimizer.update(
                grad, state, w, value=jnp.zeros(()), grad=grad, index=index
            )
            return state, state.pair.total

        return jax.lax.scan(body, state, (grads, indices))

    rng = np.random.default_rng(0)
    sizes = np.r_[np.full(20 * N, 1e5), np.full(3 * N, 1e-3)][:, None]
    grads = jnp.asarray(sizes * rng.normal(size=(23 * N, D)), jnp.float32)
    indices = jnp.asarray(np.tile(np.arange(N), 23))
    state, _ = run(optimizer.init(w), grads, indices)
    exact = np.asarray(state.pair.table, np.float64).sum(axis=0)
    np.testing.assert_allclose(state.pair.total, exact, atol=1e-8)
    running = np.zeros(D, np.float32)
    table = np.zeros((N, D), np.float32)
    for grad, index in zip(np.asarray(grads), np.asarray(indices), strict=True):
        running += grad - table[index]
        table[index] = grad
    assert np.max(np.abs(running - exact)) > 1e-4


@pytest.mark.slow
def test_a_donated_step_writes_one_row_and_copies_no_table():
    n, d = 1000, 256
    optimizer = optaxls.sag(num_functions=n)
    step = optaxls.make_step(
        lambda w, i: 0.5 * jnp.sum((w - i) ** 2), optimizer, extra=sums.with_index
    )
    w = jnp.zeros(d)
    state = optimizer.init(w)
    size = optaxls.table_bytes(w, n)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(w, state, 3).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    # Also not of what is known of each function, which is n bytes.
    assert memory.temp_size_in_bytes < 8 * w.nbytes < 0.1 * size
    assert memory.alias_size_in_bytes > 0.99 * size


def test_the_table_is_sharded_like_the_params_with_an_axis_in_front():
    mesh = jax.make_mesh((1,), ("model",))
    spec = jax.sharding.PartitionSpec
    w = jax.device_put(jnp.ones((4, 2)), jax.NamedSharding(mesh, spec("model", None)))
    state = optaxls.saga(num_functions=5).init(w)
    assert state.pair.table.sharding.spec == spec(None, "model", None)
    assert state.pair.total.sharding.spec == spec("model", None)


@pytest.mark.slow
def test_members_under_vmap_are_separate_runs():
    orders = np.stack([sums.order(4 * N, seed) for seed in range(2)])
    optimizer = optaxls.sag(num_functions=N)

    @jax.jit
    def run(indices):
        return sums.trained(optimizer, jnp.zeros(D), indices)[::2]

    paths, reports = jax.vmap(run)(jnp.asarray(orders))
    for member, indices in enumerate(orders):
        path, alone = run(indices)
        np.testing.assert_allclose(paths[member], path, rtol=1e-4, atol=1e-5)
        trials = reports["num_trials"][member].tolist()
        assert trials == alone["num_trials"].tolist()


@pytest.mark.parametrize(
    "method", ["sag", pytest.param("svrg", marks=pytest.mark.slow)]
)
def test_bfloat16_params_train_with_sums_in_float32(method):
    optimizer = sums.METHODS[method](num_functions=N)
    w = jnp.zeros(D, jnp.bfloat16)
    path, state, _ = sums.trained(optimizer, w, sums.order(40 * N))
    assert path.dtype == jnp.bfloat16
    np.testing.assert_allclose(path[-1].astype(float), sums.solution(), atol=0.2)
    wide = state.pair.total if method == "sag" else state.pair.snapshot_grad
    assert wide.dtype == jnp.float32


@pytest.mark.slow
def test_a_table_comes_back_from_orbax_and_training_goes_on_bit_for_bit(tmp_path):
    optimizer, indices = optaxls.saga(num_functions=N, l2=0.1), sums.order(60)
    whole, end, _ = sums.trained(optimizer, jnp.zeros(D), indices)
    path, state, _ = sums.trained(optimizer, jnp.zeros(D), indices[:23])
    saved = {"w": path[-1], "state": state}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "run", saved)
    with ocp.StandardCheckpointer() as checkpointer:
        target = jax.eval_shape(lambda: saved)
        found = checkpointer.restore(tmp_path / "run", target)
    chex.assert_trees_all_equal(found, saved)
    path, last, _ = sums.trained(
        optimizer, found["w"], indices[23:], state=found["state"]
    )
    np.testing.assert_array_equal(path, whole[23:])
    chex.assert_trees_all_equal(last, end)
