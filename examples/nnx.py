"""Flax NNX: a line search, with batch norm and dropout in the model."""

import jax
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import optaxls
from optaxls.flax import value_fn


class Network(nnx.Module):
    """Two layers with batch norm and dropout between them."""

    def __init__(self, rngs):
        self.first = nnx.Linear(64, 128, rngs=rngs)
        self.norm = nnx.BatchNorm(128, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.norm(self.first(x)))
        return self.last(self.dropout(x))


def loss_fn(model, x, y):
    """Mean cross-entropy of a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    """One step; the model's dropout key and statistics move once, not per trial."""
    # Before the gradient, so that the trials see its dropout mask.
    trials = value_fn(model, loss_fn, x, y)
    value, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads, value=value, grad=grads, value_fn=trials)
    return value


@nnx.jit
def predict(model, x):
    """Classes."""
    return model(x).argmax(-1)


def main(epochs=10, batch_size=50):
    """Trains on scikit-learn's digits; returns the accuracy on held-out ones."""
    x, y = load_digits(return_X_y=True)
    x, rng = np.asarray(x / 16, np.float32), np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:1500], order[1500:]

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optaxls.ponos(), wrt=nnx.Param)
    accuracy = 0.0
    for epoch in range(epochs):
        model.train()
        for rows in rng.permutation(train).reshape(-1, batch_size):
            value = train_step(model, optimizer, x[rows], y[rows])
        model.eval()
        accuracy = float(np.mean(predict(model, x[test]) == y[test]))
        found = optaxls.metrics(optimizer.opt_state)
        print(
            f"epoch {epoch + 1}: loss {value:.3f}, step size"
            f" {float(found['step_size']):.2e}, accuracy {accuracy:.1%}"
        )
    return accuracy


if __name__ == "__main__":
    main()
