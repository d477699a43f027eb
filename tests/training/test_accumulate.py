"""accumulate: value, gradient and trials are those of the large batch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optaxls
from tests import problems


def data():
    x, y, solution = problems.least_squares(24, 4)
    return x, y, jnp.zeros_like(solution)


def loss_fn(w, x, y):
    return jnp.mean((x @ w - y) ** 2)


def agree(large, small, w, *args, rtol=1e-5):
    """Value and gradient of the two, jitted and not."""
    wanted = jax.value_and_grad(large)(w, *args)
    for evaluate in (jax.value_and_grad(small), jax.jit(jax.value_and_grad(small))):
        found = evaluate(w, *args)
        assert jnp.isfinite(wanted[0])
        chex.assert_trees_all_close(found, wanted, rtol=rtol, atol=rtol)


def per_example(w, x, y, key, scale):
    noise = jax.random.normal(key, w.shape)
    return scale * jnp.mean((x @ w - y) ** 2) + 0.1 * jnp.vdot(noise, w)


@pytest.mark.slow
@pytest.mark.parametrize("num_micro_batches", [1, 2, 3, 24])
def test_accumulate_equals_the_large_batch(num_micro_batches):
    x, y, w = data()
    small = optaxls.accumulate(per_example, num_micro_batches)
    for at in (w, jnp.ones(4)):
        agree(per_example, small, at, x, y, jax.random.key(3), 0.5)


@pytest.mark.slow
def test_accumulated_trials_are_those_of_the_large_batch():
    x, y, w = data()
    reports = []
    for loss in (loss_fn, optaxls.accumulate(loss_fn, 4)):
        optimizer = optaxls.ponos()
        step = jax.jit(optaxls.make_step(loss, optimizer))
        at, state, trials = w, optimizer.init(w), []
        for _ in range(6):
            at, state, _, _, report = step(at, state, x, y)
            trials.append(int(report["num_trials"]))
        reports.append((trials, at))
    assert reports[0][0] == reports[1][0] and max(reports[0][0]) > 1
    chex.assert_trees_all_close(reports[0][1], reports[1][1], rtol=1e-3)


def test_accumulate_stacks_aux_and_splits_trees_of_data():
    def with_aux(w, batch):
        return jnp.mean(batch["x"] * w), batch["x"].sum()

    loss = optaxls.accumulate(with_aux, 2)
    value, aux = loss(2.0, {"x": jnp.arange(6.0)})
    assert value == 5.0 and aux.tolist() == [3.0, 12.0]
    assert jax.grad(loss, has_aux=True)(2.0, {"x": jnp.arange(6.0)})[0] == 2.5


# Masks and other weights of examples.

MASKS = {
    "uneven": [1, 1, 1, 1, 1, 0],
    "one_batch_empty": [0, 0, 1, 0, 1, 1],
    "two_batches_empty": [0, 0, 0, 0, 1, 0],
}


def masked_loss(w, x, mask):
    return jnp.sum(mask * (x - w) ** 2) / jnp.sum(mask)


def sum_of_mask(x, mask):
    return jnp.sum(mask)


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kind", [jnp.float32, bool])
def test_a_masked_mean_over_uneven_micro_batches(name, kind):
    x, mask = jnp.arange(6.0), jnp.array(MASKS[name], kind)
    small = optaxls.accumulate(masked_loss, 3, weight_fn=sum_of_mask)
    agree(masked_loss, small, jnp.array(1.5), x, mask)


def test_empty_micro_batches_count_for_nothing_under_vmap_too():
    masks = jnp.array(list(MASKS.values()), jnp.float32)
    x, w = jnp.arange(6.0), jnp.array(1.5)
    small = optaxls.accumulate(masked_loss, 3, weight_fn=sum_of_mask)
    over_masks = (None, None, 0)
    found = jax.vmap(jax.value_and_grad(small), over_masks)(w, x, masks)
    wanted = jax.vmap(jax.value_and_grad(masked_loss), over_masks)(w, x, masks)
    chex.assert_trees_all_close(found, wanted, rtol=1e-6)


def test_weights_of_examples_are_any_numbers():
    x, weights = jnp.arange(6.0), jnp.array([0.1, 2.0, 0.0, 5.0, 1.0, 0.3])
    small = optaxls.accumulate(masked_loss, 2, weight_fn=sum_of_mask)
    agree(masked_loss, small, jnp.array(1.5), x, weights)


def test_the_numbers_of_a_padded_batch():
    """Squares 4, 16, 49 of the real examples: their mean is 23, not 17.5 or less."""
    x, mask = jnp.array([2.0, 4.0, 7.0, 0.0]), jnp.array([1.0, 1.0, 1.0, 0.0])
    small = optaxls.accumulate(masked_loss, 2, weight_fn=sum_of_mask)
    assert masked_loss(0.0, x, mask) == small(0.0, x, mask) == 23.0


def test_without_any_weight_there_is_no_loss_and_no_step():
    x, mask = jnp.arange(6.0), jnp.zeros(6)
    small = optaxls.accumulate(masked_loss, 3, weight_fn=sum_of_mask)
    optimizer = optaxls.ponos()
    w = jnp.array(1.5)
    result = optaxls.make_step(small, optimizer)(w, optimizer.init(w), x, mask)
    assert jnp.isnan(result.value) and result.params == w


def test_aux_of_a_micro_batch_without_weight_is_zero():
    def with_aux(w, x, mask):
        return masked_loss(w, x, mask), {"correct": jnp.sum(mask * x)}

    x, mask = jnp.arange(6.0), jnp.array(MASKS["one_batch_empty"], jnp.float32)
    small = optaxls.accumulate(with_aux, 3, weight_fn=sum_of_mask)
    value, aux = small(1.5, x, mask)
    assert value == masked_loss(1.5, x, mask)
    assert aux["correct"].tolist() == [0.0, 2.0, 9.0]


def test_a_weight_must_be_one_number():
    small = optaxls.accumulate(masked_loss, 3, weight_fn=lambda x, mask: mask)
    with pytest.raises(ValueError, match=r"weight_fn must return a scalar.*\(2,\)"):
        small(1.5, jnp.arange(6.0), jnp.ones(6))


# Which arguments are split.


def class_weighted(w, x, labels, class_weights):
    return jnp.mean(class_weights[labels] * (x - w) ** 2)


def test_class_weights_are_not_cut_although_their_length_divides():
    x, labels = jnp.arange(8.0), jnp.array([0, 1, 2, 3, 3, 2, 1, 0])
    class_weights = jnp.array([1.0, 10.0, 2.0, 5.0])
    split = (True, True, False)
    for told in (split, list(split)):
        small = optaxls.accumulate(class_weighted, 2, split=told)
        agree(class_weighted, small, jnp.array(0.5), x, labels, class_weights)


def test_what_may_be_for_all_examples_is_asked():
    x, labels = jnp.arange(8.0), jnp.zeros(8, int)
    small = optaxls.accumulate(class_weighted, 2)
    cure = r"\(8,\), \(8,\), \(4,\).*loss_fn, 2, split=\(True, True, False\)\)"
    with pytest.raises(ValueError, match=cure):
        small(0.5, x, labels, jnp.ones(4))


def noisy(w, x, key):
    return jnp.mean((x - w) ** 2) + 0.1 * w * jax.random.normal(key)


@pytest.mark.slow
@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_a_key_reaches_every_micro_batch_whole(make_key):
    x, key, w = jnp.arange(6.0), make_key(0), jnp.array(0.5)
    agree(noisy, optaxls.accumulate(noisy, 3, split=(True, False)), w, x, key)


@pytest.mark.parametrize("length", [2, 6])
def test_a_key_of_the_old_kind_is_never_taken_for_data(length):
    """Also where it is as long as the batch."""
    small = optaxls.accumulate(noisy, 2)
    with pytest.raises(ValueError, match=r"random key.*split=\(True, False\)"):
        small(0.5, jnp.arange(float(length)), jax.random.PRNGKey(0))


@pytest.mark.slow
def test_keys_of_examples_are_split_where_that_is_said():
    def per_example_noise(w, x, keys):
        noise = jax.vmap(jax.random.normal)(keys)
        return jnp.mean((x + noise - w) ** 2)

    x, keys, w = jnp.arange(6.0), jax.random.split(jax.random.key(0), 6), jnp.array(0.5)
    agree(per_example_noise, optaxls.accumulate(per_example_noise, 3, split=True),
          w, x, keys)  # fmt: skip
    with pytest.raises(ValueError, match="random key"):
        optaxls.accumulate(per_example_noise, 3)(w, x, keys)


def test_split_is_a_tree_of_the_arguments_or_a_prefix_of_it():
    def tree_loss(w, batch, teacher):
        return jnp.mean((batch["x"] * w - batch["y"] * teacher["w"][0]) ** 2)

    batch = {"x": jnp.arange(6.0), "y": jnp.ones(6)}
    teacher = {"w": jnp.arange(3.0), "b": None}
    for split in ((True, False), ({"x": True, "y": True}, False)):
        small = optaxls.accumulate(tree_loss, 3, split=split)
        agree(tree_loss, small, jnp.array(2.0), batch, teacher)


def test_arguments_that_are_no_arrays_pass_through():
    def loss(w, x, kind, fn, scale, none):
        assert kind == "mean" and none is None
        return scale * jnp.mean(fn(x - w))

    args = (np.arange(6.0, dtype=np.float32), "mean", jnp.square, 2.0, None)
    small = optaxls.accumulate(loss, 3)
    assert small(1.0, *args) == pytest.approx(float(loss(1.0, *args)))


@pytest.mark.parametrize("args", [(), (3.0,), (jax.random.key(0),)])
@pytest.mark.parametrize("split", [None, True])
def test_without_an_array_there_is_nothing_to_split(args, split):
    small = optaxls.accumulate(lambda w, *args: w**2, 2, split=split)
    with pytest.raises(ValueError, match="array to split.*Pass the batch"):
        small(1.0, *args)


@pytest.mark.parametrize("split", [1, (True, None), "x", {"x": 0}])
def test_split_holds_bools(split):
    with pytest.raises(ValueError, match="split must hold bools alone"):
        optaxls.accumulate(loss_fn, 2, split=split)


@pytest.mark.parametrize("split", [(True,), (True, True, True), {"x": True}])
def test_split_has_an_entry_for_each_argument(split):
    x, y, w = data()
    with pytest.raises(ValueError, match="for each of the 2 arguments"):
        optaxls.accumulate(loss_fn, 2, split=split)(w, x, y)


def test_what_is_split_is_equally_long():
    small = optaxls.accumulate(class_weighted, 2, split=True)
    with pytest.raises(ValueError, match=r"same leading axis.*Put False in split"):
        small(0.5, jnp.arange(8.0), jnp.zeros(8, int), jnp.ones(4))


@pytest.mark.parametrize("weight_fn", [1.0, "mask"])
def test_weight_fn_is_a_function(weight_fn):
    with pytest.raises(ValueError, match="weight_fn must be a function or None"):
        optaxls.accumulate(loss_fn, 2, weight_fn=weight_fn)


@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float32])
def test_the_loss_keeps_its_dtype_and_is_summed_in_float32(kind):
    def loss(w, x):
        return jnp.mean(x + w).astype(kind)

    small = optaxls.accumulate(loss, 512)
    found = small(jnp.float32(0), jnp.ones(512))
    assert found.dtype == kind and found == 1.0


@pytest.mark.parametrize("num_micro_batches", [5, 48])
def test_accumulate_says_what_does_not_divide(num_micro_batches):
    x, y, w = data()
    with pytest.raises(ValueError, match=rf"{num_micro_batches}.*\(24, 4\)"):
        optaxls.accumulate(loss_fn, num_micro_batches)(w, x, y)
