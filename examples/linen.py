"""Flax linen: a network with batch norm and dropout, and no step size to choose."""

import jax
import numpy as np
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import optaxls
from optaxls.flax import TrainState


class Network(nn.Module):
    """Two layers with batch norm and dropout between them."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(128)(x)
        # With this momentum the statistics of an epoch forget what was before.
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(10)(nn.Dropout(0.1, deterministic=not train)(x))


class State(TrainState):
    """The library's `TrainState`, with the running statistics of batch norm."""

    batch_stats: dict


@jax.jit
def train_step(state, x, y, key):
    """One step; what an optimizer evaluates sees the gradient's dropout mask."""

    def loss_fn(params):
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            x,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), changed["batch_stats"]

    (value, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        state.params
    )
    # The statistics are those of the gradient's forward pass. A trial's are dropped.
    state = state.apply_gradients(
        grads=grads,
        value=value,
        value_fn=loss_fn,
        replace={"batch_stats": batch_stats},
    )
    return state, value


@jax.jit
def evaluated(state, batches):
    """The variables to evaluate and to keep: averaged params, and their statistics.

    An average has other activations than the params had. So the running
    statistics come from training batches.
    """
    params = optaxls.eval_params(state.opt_state, state.params)

    def of_batch(batch_stats, x):
        variables = {"params": params, "batch_stats": batch_stats}
        _, changed = state.apply_fn(
            variables,
            x,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        return changed["batch_stats"], None

    batch_stats, _ = jax.lax.scan(of_batch, state.batch_stats, batches)
    return {"params": params, "batch_stats": batch_stats}


@jax.jit
def predict(state, variables, x):
    """Classes, with the running statistics and without dropout."""
    return state.apply_fn(variables, x, train=False).argmax(-1)


def main(epochs=10, batch_size=50):
    """Trains on scikit-learn's digits; returns the accuracy on held-out ones."""
    x, y = load_digits(return_X_y=True)
    x, rng = np.asarray(x / 16, np.float32), np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:1500], order[1500:]

    model = Network()
    variables = model.init(jax.random.key(0), x[:1], train=False)
    state = State.create(apply_fn=model.apply, tx=optaxls.auto(), **variables)
    accuracy = 0.0
    for epoch in range(epochs):
        for rows in rng.permutation(train).reshape(-1, batch_size):
            key = jax.random.fold_in(jax.random.key(1), state.step)
            state, value = train_step(state, x[rows], y[rows], key)
        variables = evaluated(state, x[train].reshape(-1, batch_size, x.shape[1]))
        accuracy = float(np.mean(predict(state, variables, x[test]) == y[test]))
        step_size = optaxls.metrics(state.opt_state)["step_size"]
        print(
            f"epoch {epoch + 1}: loss {value:.3f}, step size {step_size:.2e},"
            f" accuracy {accuracy:.1%}"
        )
    return accuracy


if __name__ == "__main__":
    main()
