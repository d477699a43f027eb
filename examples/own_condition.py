"""A rule of your own: a condition from one function, composed with what is there.

A line search asks of every trial step whether it is good enough. Here a step is good
enough if the loss of the batch falls by a given share. The search, the first trial,
the guards against NaN and the metrics are the library's. The Armijo condition, in the
same place, is for comparison.
"""

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import optaxls


def relative_decrease(share):
    """The condition that a step takes away at least this share of the loss.

    The function gets the point where the step starts and a trial. What it returns is
    in units of the loss; at most 0 means that the trial is accepted.
    """
    return optaxls.stateless_condition(
        lambda origin, trial: trial.value - (1 - share) * origin.value
    )


def searched(condition):
    """Gradient descent with a step size that the condition accepts."""
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(
            condition,
            # Where to start: the Polyak step, at most 10.
            optaxls.polyak(0.1, max_step_size=10.0),
            # How to go on from a trial that is rejected: half as long.
            optaxls.backtracking(decrease_factor=0.5, max_trials=20),
        ),
    )


def loss_fn(params, x, y):
    """Mean cross-entropy of a network with one hidden layer."""
    logits = jax.nn.relu(x @ params["in"]) @ params["out"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def train(optimizer, epochs, batch_size=50):
    """Trains on scikit-learn's digits.

    Returns:
        The loss of all digits at the end, and the mean number of trials of a step.
    """
    x, y = load_digits(return_X_y=True)
    x, rng = np.asarray(x / 16, np.float32), np.random.default_rng(0)
    params = {
        "in": 0.1 * rng.standard_normal((64, 128), np.float32),
        "out": 0.1 * rng.standard_normal((128, 10), np.float32),
    }
    state = optimizer.init(params)
    step = jax.jit(optaxls.make_step(loss_fn, optimizer))
    trials = []
    for _ in range(epochs):
        for rows in rng.permutation(len(y))[:1750].reshape(-1, batch_size):
            params, state, _, _, told = step(params, state, x[rows], y[rows])
            trials.append(told["num_trials"])
    return float(loss_fn(params, x, y)), float(np.mean(trials))


def main(epochs=10):
    """Trains with either condition; returns the final losses by name."""
    conditions = {
        "a tenth of the loss": relative_decrease(0.1),
        "Armijo": optaxls.armijo(c=0.1),
    }
    losses = {}
    for name, condition in conditions.items():
        losses[name], trials = train(searched(condition), epochs)
        print(f"{name}: loss {losses[name]:.4f}, {trials:.2f} trials a step")
    return losses


if __name__ == "__main__":
    main()
