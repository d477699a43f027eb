"""Steps timed in turns, so that a busy machine slows all of them alike."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from examples.benchmark.cost_models import Task
from examples.benchmark.cost_steps import Contender

# A turn is at least this long, lest the clock be what is measured.
_TURN_SECONDS = 0.015
_WARM_UP = 3

# A model that knows its one batch by heart makes searches that nobody would see.
_LIFE = 200


class Ratio(NamedTuple):
    """The median of paired ratios of times, and its quartiles over the rounds."""

    median: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.lower:.2f}-{self.upper:.2f})"


class Times(NamedTuple):
    """Seconds a step of each contender, one number a round."""

    seconds: dict[str, np.ndarray]

    def ratio(self, name: str, to: str) -> Ratio:
        """How much longer a step of `name` takes than one of `to`."""
        ratios = self.seconds[name] / self.seconds[to]
        lower, median, upper = np.percentile(ratios, (25, 50, 75))
        return Ratio(float(median), float(lower), float(upper))


class Runner:
    """One contender on one task; its training goes on from turn to turn."""

    def __init__(self, contender: Contender, task: Task):
        self.name = contender.name
        self._task = task
        self._step = contender.jitted(task)
        self._start = contender.start
        self.restart()
        self.run(_WARM_UP)

    def restart(self) -> None:
        """Trains a new model from here on."""
        self.carry = jax.block_until_ready(self._start(self._task, self._task.params()))
        self._age = 0

    def run(self, steps: int) -> float:
        """Trains for so many steps, anew if the model is old; seconds a step."""
        if self._age + steps > _LIFE:
            self.restart()
        self._age += steps
        start = time.perf_counter()
        for _ in range(steps):
            self.carry, _ = self._step(self.carry, self._task.batch)
        jax.block_until_ready(self.carry)
        return (time.perf_counter() - start) / steps

    def state(self) -> Any:
        """What stands beside the params."""
        return self.carry[1]

    def programs(self) -> int:
        """How many programs XLA has compiled for the step so far."""
        return self._step._cache_size()


def in_turns(runners: Sequence[Runner], rounds: int) -> Times:
    """Times all of them, in a new order every round."""
    # The same number of steps for all, or their turns would not be comparable.
    steps = max(1, round(_TURN_SECONDS / runners[0].run(_WARM_UP)))
    order = np.random.default_rng(0)
    seconds = {runner.name: np.zeros(rounds) for runner in runners}
    for number in range(rounds):
        for place in order.permutation(len(runners)):
            runner = runners[place]
            seconds[runner.name][number] = runner.run(steps)
    return Times(seconds)
