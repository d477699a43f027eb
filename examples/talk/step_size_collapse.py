"""Where step sizes collapse: an Armijo test that takes rounding errors for the loss.

Near the end of training the decrease that Armijo asks for is smaller than the rounding
error of the loss. A test that ignores this rejects trial after trial by chance, each
one shortens the step, and the next search starts from there. A factorization that can
be fitted exactly shows it.

    python -m examples.talk.step_size_collapse
"""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk import pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main

C = 0.1
# Steps that work here are above 0.1.
COLLAPSED = 1e-4


class Course(NamedTuple):
    """A run: the loss by epoch; step size and trials of every step."""

    loss: np.ndarray
    step_size: np.ndarray
    trials: np.ndarray

    @property
    def last_step(self) -> float:
        """The median step size of the last tenth."""
        return float(np.median(self.step_size[-len(self.step_size) // 10 :]))

    @property
    def last_trials(self) -> float:
        """The mean number of trials in the last tenth."""
        return float(self.trials[-len(self.trials) // 10 :].mean())


def naive_armijo(c: float) -> optaxls.Condition:
    """Armijo to the last bit, as it is usually written.

    Our search forgives an excess within the rounding error whatever the condition; an
    infinite one lies outside of any error.
    """

    def excess(origin: optaxls.Origin, trial: optaxls.Trial) -> jax.Array:
        promised = c * trial.linear_change
        return jnp.where(trial.value <= origin.value + promised, -1.0, jnp.inf)

    return optaxls.stateless_condition(excess)


def train(condition: optaxls.Condition) -> Course:
    """Trains the factorization by SLS with that condition."""
    problem = problems.factorization(10)
    first = optaxls.grow(1.0, problem.growth, problem.steps_per_epoch)
    search = optaxls.scale_by_line_search(condition, first, optaxls.backtracking(0.9))
    optimizer = optax.chain(optax.scale(-1), search)
    lanes = problems.train_lanes(problem, lambda _: optimizer)
    return Course(lanes.loss[0], lanes.metrics["step_size"][0], lanes.trials[0])


def draw(courses: dict[str, Course]) -> Figure:
    """Step sizes, losses and trials."""
    figure, (left, middle, right) = pictures.panels(
        ["Step size", "Loss", "Trials a step"], height=2.6
    )
    styles = (
        (pictures.ORANGE, "-", 1.5), (pictures.SKY, "--", 1.2),
        (pictures.BLUE, "-", 1.2),
    )  # fmt: skip
    for (name, course), (colour, line, width) in zip(
        courses.items(), styles, strict=True
    ):
        style = {"color": colour, "ls": line, "lw": width}
        epochs = len(course.loss) - 1
        per_epoch = len(course.trials) // epochs
        by_epoch = course.step_size.reshape(epochs, per_epoch)
        steps = np.median(by_epoch, axis=1)
        left.plot(np.arange(1, epochs + 1), steps, **style)
        middle.plot(course.loss, label=name, **style)
        trials = course.trials.reshape(epochs, per_epoch).mean(1)
        right.plot(np.arange(1, epochs + 1), trials, **style)
    for axes in (left, middle, right):
        axes.set(yscale="log", xlabel="epochs")
    left.set_ylabel("step size, median of an epoch")
    middle.set_ylabel("loss of all data")
    right.set_ylabel("trials, mean of an epoch")
    middle.legend(loc="upper right", **pictures.LEGEND)
    return figure


def measure() -> Claim:
    """Three runs; about 15 seconds."""
    naive, ours = train(naive_armijo(C)), train(optaxls.armijo(C))
    with jax.enable_x64(True):
        double = train(naive_armijo(C))
    collapsed = np.flatnonzero(naive.step_size < COLLAPSED)
    per_epoch = len(naive.step_size) // (len(naive.loss) - 1)
    epoch = int(collapsed[0]) // per_epoch if len(collapsed) else len(naive.loss) - 1
    courses = {"naive": naive, "naive, float64": double, "optaxls": ours}
    return Claim(
        title="Step sizes that collapse",
        says="Step sizes of line searches can collapse late in training; one cause is "
        "rounding: in float32 an exact Armijo test fails by chance near the lowest "
        "loss, which a search that knows the rounding error of its loss avoids.",
        checks=(
            at_most("exact Armijo, last steps' size", naive.last_step, COLLAPSED),
            at_least("our Armijo, last steps' size", ours.last_step, 0.1),
            at_least("our Armijo, smallest step", float(ours.step_size.min()), 0.1),
            at_most("our Armijo, trials a step at the end", ours.last_trials, 2),
            at_least("exact Armijo in float64, last steps", double.last_step, 0.1),
        ),
        findings=(
            f"The exact test's step first falls below {COLLAPSED:g} in epoch "
            f"{epoch + 1}, where the loss is {naive.loss[epoch]:.2g}, and stays near "
            f"{naive.last_step:.2g}: steps so short that they leave the rounded loss "
            "as it is pass the test, longer ones fail it.",
            "With float64 the same test keeps its steps at "
            f"{double.last_step:.2g}: the cause is rounding, not the loss.",
            f"The losses reached hardly differ ({naive.loss[-1]:.2g} and "
            f"{ours.loss[-1]:.2g}): this collapse comes at the rounding level, and "
            "leaves a search that can hardly move on when the data change.",
            "Our search forgives the rounding error of a loss as such; where a loss "
            "near 0 is computed from larger numbers, as softmax losses are, its steps "
            "can collapse as well (python -m examples.talk.step_cap).",
            "Rounding is one cause of collapsing steps, not the only one.",
        ),
        figure=draw(courses),
        source="Vaswani et al., Painless Stochastic Gradient, 2019, arXiv:1905.09997; "
        "Galli, Rauhut, Schmidt 2023, arXiv:2306.12747",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "step_size_collapse"))
