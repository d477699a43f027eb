"""A loss that only a simulator can tell: many searched steps for each of its runs.

A cannon must hit targets at different distances, in a wind that slows the ball. The
simulation is plain NumPy behind ``jax.pure_callback``, with slopes by finite
differences: JAX sees neither. A small network learns to aim. Each call of the simulator
gives it targets, towards which it makes up to 20 searched steps without the simulator.
"""

import jax
import jax.numpy as jnp
import numpy as np

import optaxls

GRAVITY, DRAG, SECONDS = 9.81, 0.05, 0.02


def landing(aims):
    """Where balls land that are shot with these (speed, angle) pairs, in metres."""
    speed, angle = np.exp(aims[:, 0]), aims[:, 1]
    place = np.zeros((len(aims), 2))
    velocity = np.stack([speed * np.cos(angle), speed * np.sin(angle)], axis=1)
    landed = np.full(len(aims), np.nan)
    for _ in range(500):
        fast = np.linalg.norm(velocity, axis=1, keepdims=True)
        velocity = velocity - SECONDS * (DRAG * fast * velocity + [0.0, GRAVITY])
        before, place = place, place + SECONDS * velocity
        # Between the last point above the ground and the first one below it.
        share = before[:, 1] / np.maximum(before[:, 1] - place[:, 1], 1e-9)
        hit = before[:, 0] + share * (place[:, 0] - before[:, 0])
        landed = np.where((place[:, 1] < 0) & np.isnan(landed), hit, landed)
    return np.where(np.isnan(landed), place[:, 0], landed)


class Simulator:
    """Counts its calls; each shoots three balls for an example."""

    def __init__(self):
        self.calls = 0

    def __call__(self, aims, targets):
        """The mean squared error over two, and its gradient in the aims."""
        self.calls += 1
        aims, targets = np.asarray(aims, float), np.asarray(targets, float)
        miss = landing(aims) - targets
        shifts = 1e-4 * np.eye(2)
        slopes = [(landing(aims + d) - targets - miss) / 1e-4 for d in shifts]
        grad = miss[:, None] * np.stack(slopes, axis=1) / len(aims)
        return np.float32(np.mean(miss**2) / 2), grad.astype(np.float32)


def loss_from(simulator):
    """The simulator as a function that JAX differentiates: one call gives both."""

    def both(aims, targets):
        shapes = (jax.ShapeDtypeStruct((), aims.dtype), aims)
        return jax.pure_callback(simulator, shapes, aims, targets)

    @jax.custom_vjp
    def loss(aims, targets):
        return both(aims, targets)[0]

    def backward(grad, cotangent):
        return cotangent * grad, None

    loss.defvjp(both, backward)
    return loss


def predict(params, targets):
    """A network from distances to aims: the log of a speed, and an angle."""
    x = (targets[:, None] - 20) / 10
    for weights, biases in params[:-1]:
        x = jnp.tanh(x @ weights + biases)
    weights, biases = params[-1]
    return x @ weights + biases + jnp.array([2.7, 0.7])


def network(sizes=(1, 16, 16, 2)):
    """Its params."""
    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    return [
        (jax.random.normal(key, (n, m)) / np.sqrt(n) * 0.5, jnp.zeros(m))
        for key, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]


def train(inner_steps, calls):
    """Returns the root of the mean squared miss at each call, in metres."""
    simulator = Simulator()
    optimizer = optaxls.sls(steps_per_epoch=1, decrease_factor=0.5)
    step = jax.jit(optaxls.make_surrogate_step(
        predict, loss_from(simulator), optimizer,
        # An aim of one unit more moves the landing by about 20 m; 1/20^2 is its step.
        inner_steps=inner_steps, step_size=1 / 400,
    ))  # fmt: skip
    targets = jnp.linspace(10.0, 30.0, 32)
    params = network()
    state = optimizer.init(params)
    misses = []
    for _ in range(calls):
        params, state, loss, _, _ = step(params, state, targets)
        misses.append(float(np.sqrt(2 * loss)))
    assert simulator.calls == calls
    needed = next((k for k, miss in enumerate(misses) if miss < 0.5), None)
    told = f"{misses[0]:.2f} m at first, {misses[-1]:.2f} m after {calls} calls"
    print(f"{inner_steps} inner steps: {told}, below 0.5 m after {needed}")
    return misses


def main(calls=40):
    """Compares one step for each call of the simulator with up to twenty."""
    return {inner_steps: train(inner_steps, calls) for inner_steps in (1, 20)}


if __name__ == "__main__":
    main()
