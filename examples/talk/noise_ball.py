"""Where the data cannot be fit, a constant step ends in a ball whose size is known.

On least squares with noise of deviation sigma the excess loss of SGD settles at a
floor proportional to alpha sigma^2 / B, with the step size alpha and the batch size B;
without noise there is no floor. The floor is also computed exactly, from the equation
that its covariance solves.

python -m examples.talk.noise_ball
"""

import sys
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, LEGEND, ORANGE, SKY, YELLOW, panels
from examples.talk.problems_rates import LeastSquares, descents, examples_drawn

SEEDS = 8
STEPS = 12_000
EVERY = 20
# Records from here on are averaged: long after the slowest setting has settled.
SETTLED = STEPS // 3 // EVERY
STEP_SIZES = (0.01, 0.02, 0.04)
BATCH_SIZES = (1, 4, 16)


class Floor(NamedTuple):
    """What the excess loss settles at.

    Attributes:
        step_size: alpha.
        batch_size: B.
        noise: sigma.
        losses: mean excess loss over the seeds at every record, (records,).
        exact: the stationary mean that the moments' equation gives.
    """

    step_size: float
    batch_size: int
    noise: float
    losses: np.ndarray
    exact: float

    @property
    def height(self) -> float:
        """The mean excess loss once settled."""
        return float(self.losses[SETTLED:].mean())

    @property
    def scaled(self) -> float:
        """The height in units of alpha sigma^2 / B, which hardly varies."""
        unit = self.step_size * self.noise**2 / self.batch_size
        return self.height / unit


def problem(noise: float) -> LeastSquares:
    """1000 examples in 10 features; the noise is the same draw, scaled."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 10))
    y = x @ rng.standard_normal(10) + noise * rng.standard_normal(1000)
    return LeastSquares(x, y)


def exact_floor(task: LeastSquares, step_size: float, batch_size: int) -> float:
    """The stationary mean excess loss of SGD whose rows are drawn with replacement.

    With e the error, g_i = x_i x_i'e - r_i x_i, E e = 0 and the r_i of the minimum,
    C = E e e' solves C = C - a (HC + CH) + a^2 E g g', where
    E g g' = (1/B) E (x x' C x x' + r^2 x x') + (1 - 1/B) H C H. Linear in C.
    """
    x, identity = task.x, np.eye(task.x.shape[1])
    hessian = x.T @ x / len(x)
    residual = task.y - x @ np.linalg.lstsq(x, task.y, rcond=None)[0]
    pairs = np.einsum("ni,nj->nij", x, x).reshape(len(x), -1)
    share = step_size**2 / batch_size
    operator = (
        step_size * (np.kron(hessian, identity) + np.kron(identity, hessian))
        - share * pairs.T @ pairs / len(x)
        - (step_size**2 - share) * np.kron(hessian, hessian)
    )
    covariance = np.linalg.solve(operator, share * pairs.T @ residual**2 / len(x))
    return float(np.trace(hessian @ covariance.reshape(hessian.shape)) / 2)


def floor(step_size: float, batch_size: int, noise: float) -> Floor:
    """Runs of SGD from zero; the floor is what is left long after."""
    task = problem(noise)
    with jax.enable_x64(True):
        losses = descents(
            task.example_loss,
            optax.sgd,
            np.full(SEEDS, step_size),
            np.zeros((SEEDS, task.x.shape[1])),
            examples_drawn(len(task.x), SEEDS, STEPS, batch_size),
            full_loss=task.full_loss,
            every=EVERY,
        )
    # Without noise the minimum is 0, and what lstsq leaves of it is rounding.
    excess = losses.mean(0) - (task.least() if noise else 0.0)
    exact = exact_floor(task, step_size, batch_size) if noise else 0.0
    return Floor(step_size, batch_size, noise, excess, exact)


def draw(by_step: list[Floor], by_batch: list[Floor], noiseless: Floor) -> Figure:
    """The curves for three step sizes and without noise; all floors in one unit."""
    figure, (left, right) = panels(
        ["falls to a floor, or through it", "the floor, measured and exact"]
    )
    steps = np.arange(STEPS // EVERY + 1) * EVERY
    for found, color in zip(by_step, (SKY, BLUE, YELLOW), strict=True):
        left.semilogy(steps, found.losses, color=color, lw=0.8,
                      label=f"α = {found.step_size}")  # fmt: skip
    left.semilogy(steps, noiseless.losses, color=ORANGE,
                  label=f"no noise, α = {noiseless.step_size}")  # fmt: skip
    left.legend(loc="lower right", **LEGEND)
    # The rest is more of the same.
    left.set_xlim(0, 1500)
    left.set_ylim(1e-8, 10)
    left.set_xlabel("steps of SGD, one example each")
    left.set_ylabel("loss above its minimum")
    floors = by_step + by_batch[1:]
    labels = [f"α {found.step_size}\nB {found.batch_size}" for found in floors]
    where = np.arange(len(floors))
    right.plot(where, [found.height for found in floors], "o", color=BLUE, ms=7,
               label="measured")  # fmt: skip
    right.plot(where, [found.exact for found in floors], "_", color=BLACK, ms=16,
               mew=1.5, label="exact")  # fmt: skip
    right.set_yscale("log")
    right.margins(x=0.1, y=0.15)
    right.set_xticks(where, labels)
    right.legend(loc="upper right", **LEGEND)
    right.set_ylabel("settled loss above its minimum")
    return figure


def _within(statement: str, measured: float, low: float, high: float) -> Check:
    held = low <= measured <= high
    return Check(f"{statement} in [{low:.4g}, {high:.4g}]", f"{measured:.4g}", held)


def _ratios(floors: list[Floor]) -> list[float]:
    return [
        after.height / before.height
        for before, after in zip(floors, floors[1:], strict=False)
    ]


def measure() -> Claim:
    """Floors while one of step size, batch size and noise changes."""
    by_step = [floor(step_size, 1, 1.0) for step_size in STEP_SIZES]
    by_batch = [by_step[0]] + [floor(0.01, size, 1.0) for size in BATCH_SIZES[1:]]
    unit, weak, strong = by_step[0], floor(0.01, 1, 0.1), floor(0.01, 1, 2.0)
    noiseless = floor(0.04, 1, 0.0)
    by_noise = strong.height / unit.height
    first, second = _ratios(by_step)
    fewer, fewest = (1 / ratio for ratio in _ratios(by_batch))
    distinct = [*by_step, *by_batch[1:], weak, strong]
    off = max(abs(found.height / found.exact - 1) for found in distinct)
    scaled = [found.scaled for found in distinct]
    return Claim(
        title="The size of the noise ball",
        says="Where the data cannot be fit, SGD with a constant step stops falling at a"
        " floor that is proportional to the step size and to the variance of the noise"
        " and inversely proportional to the batch size.",
        checks=(
            _within("step size 0.01 to 0.02: the floor, times", first, 1.8, 2.5),
            _within("step size 0.02 to 0.04: the floor, times", second, 1.8, 2.5),
            _within("batch size 1 to 4: the floor, divided by", fewer, 3.3, 4.8),
            _within("batch size 4 to 16: the floor, divided by", fewest, 3.3, 4.8),
            _within("noise times 2: the floor, times", by_noise, 3.96, 4.04),
            at_most("no noise: the last loss", float(noiseless.losses[-1]), 1e-20),
        ),
        findings=(
            f"In units of (step size) x (noise variance) / (batch size) the floors lie"
            f" between {min(scaled):.2f} and {max(scaled):.2f}.",
            f"They agree with the exact stationary value, computed without running"
            f" SGD, to {100 * off:.1f} %.",
            "Longer steps pay a little more than in proportion, because the noise of"
            f" the step's own error adds to the data's: {first:.2f} and {second:.2f}"
            " instead of 2 for each doubling.",
        ),
        figure=draw(by_step, by_batch, noiseless),
        source="Vaswani, Bach, Schmidt 2019 (arXiv:1810.07288);"
        " Schmidt, Le Roux 2013 (arXiv:1308.6370)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "noise_ball"))
