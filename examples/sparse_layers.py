"""Flax linen: a layer that picks its inputs, one without negative weights, one of
fixed length; and a picture of the inputs in use over training."""

from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import linen as nn
from sklearn.datasets import load_digits

import optaxls
from optaxls import prox


class Network(nn.Module):
    """Three dense layers, each with a penalty or a constraint of its own."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(64, name="inputs")(x))
        x = nn.relu(nn.Dense(32, name="parts")(x))
        return nn.Dense(10, name="classes")(x)


def constraints(weight):
    """For each kernel its own; biases are free.

    All weights of an input go to 0 together. Weights between the hidden layers only
    add. The weights of a class have the length 3.
    """
    return prox.by_part(
        {
            "inputs": {"kernel": prox.group_l2(weight, axis=1), "bias": None},
            "parts": {"kernel": prox.nonnegative(), "bias": None},
            "classes": {
                "kernel": prox.row_normalised(axis=0, length=3.0),
                "bias": None,
            },
        }
    )


def used(params):
    """The length of the weights of each input; 0 for those that are not in use."""
    return np.linalg.norm(params["inputs"]["kernel"], axis=1)


def draw(lengths, losses, path):
    """The inputs in use after each epoch, and at the end as an image."""
    lengths = np.array(lengths)
    figure, (rows, counts, image) = plt.subplots(1, 3, figsize=(11, 3.4))
    rows.imshow(lengths.T > 0, aspect="auto", cmap="Greys", interpolation="nearest")
    rows.set(xlabel="epoch", ylabel="pixel", title="black: pixel in use")
    counts.plot((lengths > 0).sum(1), color="black")
    counts.set(xlabel="epoch", ylabel="pixels in use", title="size of the support")
    loss = counts.twinx()
    loss.semilogy(losses, color="tab:red")
    loss.set_ylabel("loss with penalty", color="tab:red")
    picture = image.imshow(lengths[-1].reshape(8, 8), cmap="magma")
    image.set(title="length of weights at the end", xticks=[], yticks=[])
    figure.colorbar(picture)
    figure.tight_layout()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(epochs=40, batch_size=50, weight=0.02, path="runs/sparse_layers.png"):
    """Trains on scikit-learn's digits; returns accuracy and params."""
    x, y = load_digits(return_X_y=True)
    x, rng = np.asarray(x / 16, np.float32), np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:1500], order[1500:]

    model = Network()
    params = model.init(jax.random.key(0), x[:1])["params"]

    def loss_fn(params, x, y):
        logits: Any = model.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    # The penalty is no part of the loss: the path adds it where it is tested.
    optimizer = optaxls.prox_sgd(
        constraints(weight), steps_per_epoch=len(train) / batch_size
    )
    step = jax.jit(optaxls.make_step(loss_fn, optimizer))
    state = optimizer.init(params)
    lengths, losses = [used(params)], []
    for epoch in range(epochs):
        values = []
        for rows in rng.permutation(train).reshape(-1, batch_size):
            params, state, _, _, metrics = step(params, state, x[rows], y[rows])
            values.append(metrics["value"])
        lengths.append(used(params))
        losses.append(np.mean(values))
        if epoch % 10 == 9 or epoch == epochs - 1:
            print(
                f"epoch {epoch + 1}: loss with penalty {losses[-1]:.3f}, "
                f"{(lengths[-1] > 0).sum()} of 64 pixels in use, "
                f"step size {metrics['step_size']:.2f}"
            )
    logits: Any = model.apply({"params": params}, x[test])
    found = logits.argmax(-1)
    accuracy = float(np.mean(found == y[test]))
    print(f"accuracy {accuracy:.1%}")
    if path:
        draw(lengths, losses, path)
    return accuracy, params


if __name__ == "__main__":
    main()
