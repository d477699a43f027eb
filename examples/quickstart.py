"""A plain optax loop in which nobody chooses a step size."""

import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

import optaxls

optimizer = optaxls.auto()


@jax.jit
def step(params, state, x, y):
    def loss_fn(params):
        logits = jax.nn.relu(x @ params[0]) @ params[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    value, grad = jax.value_and_grad(loss_fn)(params)
    updates, state = optimizer.update(grad, state, params, value=value, grad=grad)
    return optax.apply_updates(params, updates), state, value


def main(epochs=25, batch_size=50):
    rng, (x, y) = np.random.default_rng(0), load_digits(return_X_y=True)
    x, order = np.asarray(x / 16, "f"), rng.permutation(len(y))
    params = [0.1 * rng.standard_normal(s, "f") for s in [(64, 128), (128, 10)]]
    state = optimizer.init(params)
    for epoch in range(epochs):
        for batch in rng.permutation(order[:1500]).reshape(-1, batch_size):
            params, state, value = step(params, state, x[batch], y[batch])
        first, last = optaxls.eval_params(state, params)  # the params to keep
        logits = np.maximum(x[order[1500:]] @ first, 0) @ last
        accuracy = np.mean(np.argmax(logits, -1) == y[order[1500:]])
        print(f"epoch {epoch + 1}: loss {value:.3f}, accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
