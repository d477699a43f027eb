"""One bad batch in the middle of training a small network: every optimizer recovers.

The measure: the best training loss seen after ``LONG`` epochs, the bad batch being the
first of epoch ``AT``, is at most 1.1 times the best of the undisturbed run after
``SHORT`` epochs. Best, because losses jump from epoch to epoch by more than a tenth,
undisturbed as well; ``LONG - SHORT`` epochs are what a bad batch may cost.

A batch of one has the loss and gradient of its 64 copies, so that it stands for the
all-equal batch too. Worse is one image under all labels, which nothing can fit.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests.faults.nasty_losses import ROWS
from tests.problems import ALIASES, GOOD, INF, NAN, Fault

datasets = pytest.importorskip("sklearn.datasets")

BATCH, STEPS, AT, SHORT, LONG = 64, 10, 5, 15, 30
NUM_EXAMPLES = BATCH * STEPS
FAULTS = {
    "undisturbed": GOOD,
    "nan_batch": Fault(NAN, NAN, NAN),
    "inf_gradient": Fault(grad=INF),
    "exploding_1e6": Fault(1e6, 1e6, 1e6),
    "exploding_1e12": Fault(1e12, 1e12, 1e12),
    "batch_of_one": GOOD,
    "one_image_all_labels": GOOD,
}
# With reset="keep" a step can only shrink, and that batch is a reason to shrink: all
# later steps are a few times shorter, as published.
NEVER_GROWS = ("sls_keep", "sls_polyak", "sls_nesterov")
# The maximum in AMSGrad keeps what that batch put there, and a step of L-BFGS goes as
# far as that batch wants: over seeds, a fifth to six times the undisturbed best.
TAKES_LONG = ("amsgrad_sls_heavy_ball", "stochastic_lbfgs")
# Some defaults do not train this network, with or without a bad batch.
TUNED: dict[str, Any] = {
    "sps": functools.partial(optaxls.sps, max_step_size=1.0),
    "adam_sps": functools.partial(optaxls.adam_sps, max_step_size=0.03),
    "sign_descent": functools.partial(optaxls.sign_descent, 0.001),
}


def digits() -> tuple[Any, Any]:
    data = datasets.load_digits()
    images = data.data[:NUM_EXAMPLES].astype(np.float32) / 16
    return images, data.target[:NUM_EXAMPLES]


def init(key: jax.Array) -> dict[str, jax.Array]:
    keys = jax.random.split(key)
    return {
        "w1": jax.random.normal(keys[0], (64, 16)) * 32**-0.5,
        "b1": jnp.zeros(16),
        "w2": jax.random.normal(keys[1], (16, 10)) * 0.25,
        "b2": jnp.zeros(10),
    }


def loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(images @ params["w1"] + params["b1"])
    logits = hidden @ params["w2"] + params["b2"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.mean(losses)


@functools.cache
def schedule() -> tuple[Any, Fault]:
    """Batches and faults, leading axes (epoch, step, lane); a lane for each fault."""
    images, labels = digits()
    rng = np.random.default_rng(0)
    order = [rng.permutation(NUM_EXAMPLES) for _ in range(LONG)]
    index = np.stack(order).reshape(LONG, STEPS, 1, BATCH).repeat(len(FAULTS), 2)
    target = index.copy()
    bad = {name: lane for lane, name in enumerate(FAULTS)}
    for name in ("batch_of_one", "one_image_all_labels"):
        index[AT, 0, bad[name]] = index[AT, 0, bad[name], 0]
    target[AT, 0, bad["batch_of_one"]] = index[AT, 0, bad["batch_of_one"]]
    numbers = np.tile(np.array(GOOD, np.float32), (LONG, STEPS, len(FAULTS), 1))
    numbers[AT, 0] = np.array(list(FAULTS.values()), np.float32)
    return (images[index], labels[target]), Fault(*np.moveaxis(numbers, -1, 0))


def training_step(optimizer: Any, carry: Any, batch: Any, fault: Fault) -> Any:
    params, state = carry
    value, grad = jax.value_and_grad(loss)(params, *batch)
    grad = jax.tree.map(lambda leaf: leaf * fault.grad, grad)

    def value_fn(at: Any) -> jax.Array:
        return loss(at, *batch) * fault.trial

    updates, state = optimizer.update(
        grad, state, params, value=value * fault.value, grad=grad, value_fn=value_fn,
        grad_fn=jax.grad(value_fn),
    )  # fmt: skip
    return optax.apply_updates(params, updates), state


def losses(name: str) -> dict[str, np.ndarray]:
    """Loss of all examples after each epoch, for each fault."""
    optimizer = TUNED.get(name, ALIASES[name].make)()
    images, labels = digits()
    params = init(jax.random.key(0))
    lanes = len(FAULTS)
    carry = (params, optimizer.init(params))
    carry = jax.tree.map(lambda leaf: jnp.stack([leaf] * lanes), carry)
    step = jax.vmap(functools.partial(training_step, optimizer))

    def epoch(carry: Any, inputs: Any) -> Any:
        carry, _ = jax.lax.scan(lambda c, x: (step(c, *x), None), carry, inputs)
        return carry, jax.vmap(loss, (0, None, None))(carry[0], images, labels)

    train = jax.jit(lambda carry, inputs: jax.lax.scan(epoch, carry, inputs))
    history = np.asarray(train(carry, schedule())[1])
    return dict(zip(FAULTS, history.T, strict=True))


RUN = [
    name
    for name in ROWS
    if name in ALIASES
    and name != "newton"  # a matrix of 1210 times 1210, for each of seven lanes
]


@pytest.mark.slow(one_in=5)
@pytest.mark.parametrize("name", RUN)
def test_training_recovers_from_a_bad_batch(name):
    lanes = losses(name)
    undisturbed = lanes.pop("undisturbed")
    target = undisturbed[:SHORT].min()
    # Something is learned after the bad batch, and all lanes are one until then.
    assert target < 0.5 * undisturbed[AT - 1]
    for lane in lanes.values():
        np.testing.assert_allclose(lane[:AT], undisturbed[:AT], rtol=1e-3)
    if name in NEVER_GROWS + TAKES_LONG:
        del lanes["one_image_all_labels"]
    best = {fault: float(lane.min() / target) for fault, lane in lanes.items()}
    assert max(best.values()) <= 1.1, best
