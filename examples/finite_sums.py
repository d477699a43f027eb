"""The last digits on a fixed data set: SAG over mini-batches that Grain delivers.

The sum has a function for each mini-batch, which holds the same examples in all epochs.
Grain draws mini-batches at random, and yields the number of each with its examples. In
passes over permutations SAG could diverge. Nobody chooses a step size: a search finds
the smoothness. Adam, in the same loop, is for comparison; with a constant step it comes
to rest at a distance from the minimum.
"""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import optaxls

BATCH_SIZE = 16
L2 = 1e-3


def batches():
    """The digits as fixed mini-batches, (112, 16, ...)."""
    x, y = load_digits(return_X_y=True)
    num = len(y) // BATCH_SIZE
    x = np.asarray(x / 16, np.float32)[: num * BATCH_SIZE]
    y = y[: num * BATCH_SIZE]
    return x.reshape(num, BATCH_SIZE, -1), y.reshape(num, BATCH_SIZE)


def pipeline(x, y, epochs):
    """Yields (index, x, y) of mini-batches that are drawn at random."""
    steps = grain.MapDataset.range(epochs * len(x)).seed(0)
    drawn = steps.random_map(lambda _, rng: np.int32(rng.integers(len(x))))
    return drawn.map(lambda index: (index, x[index], y[index]))


def loss_fn(params, index, x, y):
    """Mean cross-entropy of a linear classifier on one mini-batch."""
    del index
    logits = x @ params["w"] + params["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def penalised_loss(params, index, x, y):
    """The same with the penalty in the loss: the bias is not penalised."""
    return loss_fn(params, index, x, y) + L2 / 2 * jnp.sum(params["w"] ** 2)


def largest_gradient(params, x, y):
    """The largest entry of the gradient of the whole loss: 0 at the minimum."""
    grads = jax.grad(penalised_loss)(params, 0, x.reshape(-1, 64), y.reshape(-1))
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(grads))


def train(loss, optimizer, epochs):
    """Trains, and returns the largest entry of the gradient at the end."""
    x, y = batches()
    params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
    state = optimizer.init(params)
    # ``extra`` tells the optimizer which function the loss is of.
    step = optaxls.make_step(
        loss, optimizer, extra=lambda params, index, x, y: {"index": index}
    )
    step = jax.jit(step, donate_argnums=(0, 1))
    for index, images, labels in pipeline(x, y, epochs):
        params, state, *_ = step(params, state, index, images, labels)
    return largest_gradient(params, x, y)


def main(epochs=30):
    """Trains with SAG and with Adam; returns how far each is from the minimum."""
    x, _ = batches()
    # The penalty is in the step, where it costs nothing, and not in the loss.
    sag = optaxls.sag(num_functions=len(x), l2={"w": L2, "b": 0.0})
    size = optaxls.table_bytes({"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}, len(x))
    print(f"the table of {len(x)} gradients takes {size / 1e6:.1f} MB")
    found = {
        "SAG": train(loss_fn, sag, epochs),
        "Adam": train(penalised_loss, optax.adam(1e-2), epochs),
    }
    for name, largest in found.items():
        print(f"{name}: largest entry of the gradient {largest:.1e}")
    return found


if __name__ == "__main__":
    main()
