"""A step size for each coordinate, found by a search, beside diagonal AdaGrad.

Badly scaled features make logistic regression ill-conditioned. A step size for each
coordinate cures that, if it is the right one. Multidimensional backtracking searches
for it with a guarantee; AdaGrad's comes from past gradients.

python -m examples.talk.coordinate_step_sizes
"""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn import datasets

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels

STEPS = 1000
AT = 200
EXAMPLES, FEATURES = 1000, 20
# Of AdaGrad, from far too short to far too long; the best at each step is shown.
LEARNING_RATES = np.geomspace(1e-3, 1e3, 13)


class Task(NamedTuple):
    """Logistic regression: inputs, labels of -1 and 1, weight of the penalty."""

    inputs: np.ndarray
    labels: np.ndarray
    penalty: float

    def loss(self, w: jax.Array) -> jax.Array:
        """The training loss."""
        margins = jnp.asarray(self.labels) * (jnp.asarray(self.inputs) @ w)
        return jnp.mean(jnp.logaddexp(0, -margins)) + self.penalty / 2 * w @ w


def synthetic(smallest: float) -> Task:
    """Features of scales 1 to `smallest`, labels drawn from the model itself."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, FEATURES))
    chance = 1 / (1 + np.exp(-x.sum(axis=1)))
    labels = np.where(rng.random(EXAMPLES) < chance, 1.0, -1.0)
    return Task(x * np.geomspace(1, smallest, FEATURES), labels, 0.0)


def tasks() -> dict[str, Task]:
    """The problems, by name."""
    inputs, benign = datasets.load_breast_cancer(return_X_y=True)
    raw = np.c_[inputs, np.ones(len(inputs))]
    return {
        "scales 1 to 0.01": synthetic(1e-2),
        "scales 1 to 0.001": synthetic(1e-3),
        "breast cancer, as it comes": Task(raw, 2.0 * benign - 1, 1 / len(raw)),
    }


def least_of(task: Task) -> float:
    """The minimum, by Newton steps with a search."""
    losses, _ = run(task, optaxls.newton(damping=0.0, c=1e-4, decrease_factor=0.5), 60)
    return float(losses.min())


def run(task: Task, optimizer: Any, steps: int) -> tuple[np.ndarray, Any]:
    """The loss before each step of a run on full batches, and the last state."""
    step = optaxls.make_step(task.loss, optimizer)
    start = jnp.zeros(task.inputs.shape[1])

    def body(carry, _):
        result = step(*carry)
        return result[:2], result.value

    begun = (start, optimizer.init(start))
    (_, state), losses = jax.jit(lambda: jax.lax.scan(body, begun, length=steps))()
    return np.asarray(losses), state


def adagrad(task: Task, steps: int) -> np.ndarray:
    """The losses of AdaGrad with each learning rate, `(rates, steps)`."""

    def one(rate):
        step = optaxls.make_step(task.loss, optax.adagrad(rate))
        start = jnp.zeros(task.inputs.shape[1])

        def body(carry, _):
            result = step(*carry)
            return result[:2], result.value

        begun = (start, optax.adagrad(rate).init(start))
        return jax.lax.scan(body, begun, length=steps)[1]

    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(LEARNING_RATES)))


class Compared(NamedTuple):
    """Distances from the minimum, as shares of the first, `(STEPS,)` each; and cuts."""

    gaps: dict[str, np.ndarray]
    num_cuts: int


def compared(task: Task) -> Compared:
    """Four methods on one problem."""
    least = least_of(task)
    ours, state = run(task, optaxls.multidimensional_backtracking(), STEPS)
    searched = optaxls.adam_sls(steps_per_epoch=1, variant="adagrad", c=0.5)
    losses = {
        "multidimensional backtracking": ours,
        "AdaGrad, best of 13 step sizes": adagrad(task, STEPS).min(axis=0),
        "AdaGrad with a line search": run(task, searched, STEPS)[0],
        "one step size, line search": run(
            task, optaxls.sls(steps_per_epoch=1, c=0.5), STEPS
        )[0],
    }
    gaps = {
        name: (curve - least) / (curve[0] - least) for name, curve in losses.items()
    }
    return Compared(gaps, int(optax.tree.get(state, "num_cuts")))


def draw(found: dict[str, Compared]) -> Figure:
    """Distance from the minimum, by steps."""
    figure, panes = panels(list(found))
    for axes, of_one in zip(panes, found.values(), strict=True):
        for (name, gap), color in zip(
            of_one.gaps.items(), (BLUE, ORANGE, GREEN, BLACK), strict=True
        ):
            axes.semilogy(np.maximum(gap, 1e-16), color=color, label=name)
        axes.set_ylim(1e-10, 2)
        axes.set_xlabel("steps")
    panes[0].set_ylabel("distance from the minimum")
    panes[2].legend(loc="lower left", **LEGEND)
    return figure


def measure() -> Claim:
    """Multidimensional backtracking against AdaGrad, in float64."""
    with jax.enable_x64(True):
        found = {name: compared(task) for name, task in tasks().items()}

    def against(name: str) -> float:
        ours, tuned, searched, _ = (gap[AT] for gap in found[name].gaps.values())
        return float(max(ours, 0) / min(tuned, searched))

    first, second, third = found
    said = f"{AT} steps: distance / that of the better AdaGrad"
    checks: tuple[Check, ...] = (
        at_most(f"{first}, {said}", against(first), 1e-6),
        at_most(f"{second}, {said}", against(second), 1e-6),
        at_most(f"{third}, {said}", against(third), 1.0),
    )
    told = "; ".join(
        f"{name}: "
        + ", ".join(f"{gap[AT]:.1e} ({method})" for method, gap in of_one.gaps.items())
        for name, of_one in found.items()
    )
    raw = found[third].gaps["multidimensional backtracking"]
    return Claim(
        title="A step size for each coordinate",
        says="Searching for a step size of each coordinate, with hypergradients that"
        " tell which ones are too long, competes with the best fixed ones; diagonal"
        " AdaGrad does not on badly scaled problems.",
        checks=checks,
        findings=(
            f"Distances from the minimum after {AT} steps: {told}.",
            "Where features are correlated as well, no step sizes of coordinates help"
            f" much: on breast cancer as it comes {raw[-1]:.1e} of the distance is left"
            f" after {STEPS} steps.",
            "Cuts of the ellipsoid in all: "
            + ", ".join(f"{of_one.num_cuts} ({name})" for name, of_one in found.items())
            + ". Each costs a gradient. Most follow the growth after every accepted"
            " first trial.",
        ),
        figure=draw(found),
        source="Kunstner, Portella, Schmidt, Harvey 2023 (arXiv:2306.02527)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "coordinate_step_sizes"))
