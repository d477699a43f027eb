"""Five rules once more, in NumPy and float64: what the combinator tests compare with.

A rule's ``step(x, updates, value, grad, loss)`` gives the step size and the
displacement for incoming ``updates`` (gradients, changed by what stands before the
rule) while ``value``, ``grad`` and ``loss`` are the batch's own.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray], float]


def backtrack(first: float, factor: float, accepted: Callable[[float], bool]):
    """The first accepted of ``first * factor**j``, and the number of trials."""
    step_size, num_trials = first, 1
    while not accepted(step_size):
        step_size, num_trials = step_size * factor, num_trials + 1
        assert num_trials < 500
    return step_size, num_trials


@dataclasses.dataclass
class Sls:
    """Armijo, c = 0.1; backtracking by 0.9 from 2^(1/10) times the last step."""

    c: float = 0.1
    level: float = 1.0

    def direction(self, updates: np.ndarray) -> np.ndarray:
        return -updates

    def step(self, x, updates, value, grad, loss: Loss):
        d = self.direction(updates)
        slope = grad @ d
        if slope >= 0:
            return 0.0, np.zeros_like(d)
        self.level, _ = backtrack(
            self.level * 2**0.1,
            0.9,
            lambda eta: loss(x + eta * d) <= value + self.c * eta * slope,
        )
        return self.level, self.level * d


@dataclasses.dataclass
class AdamSls(Sls):
    """The same along -g / sqrt(v), b2 = 0.99, no momentum."""

    count: int = 0
    second_moment: np.ndarray | float = 0.0

    def direction(self, updates):
        self.count += 1
        self.second_moment = 0.99 * self.second_moment + 0.01 * updates**2
        unbiased = self.second_moment / (1 - 0.99**self.count)
        return -updates / (np.sqrt(unbiased) + 1e-8)


@dataclasses.dataclass
class Sps:
    """The Polyak step, c = 0.5."""

    c: float = 0.5

    def step(self, x, updates, value, grad, loss: Loss):
        steepness = grad @ updates
        step_size = value / (self.c * steepness + 1e-8) if steepness > 0 else 0.0
        return step_size, -step_size * updates


@dataclasses.dataclass
class Ponos:
    """Zhang-Hager with decay 1, c = 0.5, from the Polyak step with c_p = 0.1."""

    c: float = 0.5
    level: int = 0
    mean_value: float = 0.0
    num_values: int = 0

    def step(self, x, updates, value, grad, loss: Loss):
        slope = -(grad @ updates)
        self.num_values += 1
        self.mean_value += (value - self.mean_value) / self.num_values
        if slope >= 0:
            return 0.0, np.zeros_like(updates)
        reference = max(self.mean_value, value)
        first = 0.5**self.level * value / (-0.1 * slope + 1e-8)
        step_size, num_trials = backtrack(
            float(np.clip(first, 1e-6, 10.0)),
            0.5,
            lambda eta: loss(x - eta * updates) <= reference + self.c * eta * slope,
        )
        self.level = max(self.level + num_trials - 2, 0)
        return step_size, -step_size * updates


@dataclasses.dataclass
class Salsa:
    """Its first nine steps, all of them searched and applied as tested."""

    c: float = 0.5
    level: float = 1.0
    count: int = 1
    second_moment: np.ndarray | float = 0.0
    decrease: float = 0.0
    steepness: float = 0.0

    def step(self, x, updates, value, grad, loss: Loss):
        self.count += 1
        assert self.count <= 10
        self.second_moment = 0.999 * self.second_moment + 0.001 * updates**2
        unbiased = self.second_moment / (1 - 0.999**self.count)
        d = -updates / (np.sqrt(unbiased) + 1e-8)
        if grad @ d >= 0:
            return 0.0, np.zeros_like(d)
        steepness = 0.9 * self.steepness - 0.1 * (grad @ d)

        def decrease(eta):
            return 0.9 * self.decrease + 0.1 * (value - loss(x + eta * d))

        self.level, _ = backtrack(
            1.1 * self.level,
            0.8,
            lambda eta: decrease(eta) >= self.c * eta * steepness,
        )
        self.decrease, self.steepness = decrease(self.level), steepness
        return self.level, self.level * d


RULES = {
    "sls": Sls,
    "ponos": Ponos,
    "sps": Sps,
    "adam_sls": AdamSls,
    "salsa": Salsa,
}
