"""Does a posterior foretell its own errors? IVON beside Adam, on digits and on text.

    python -m examples.benchmark.calibration
    python -m examples.benchmark.calibration --quick --out runs/calibration

Some rows validate, others test. Each method has four settings, all with a cosine. The
one with the least validation loss, on average over the seeds, is told. IVON predicts by
the mean of the probabilities at 64 samples of its posterior.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from sklearn import datasets

import optaxls
from examples.benchmark import calibration_report
from examples.benchmark.calibration_report import Row, scores
from examples.benchmark.networks import MLP, TextAttention
from examples.common import text as texts
from examples.common.command_line import read
from examples.common.errors import exit_code
from examples.common.shuffling import epochs_of

SAMPLES = 64
WORDS = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare the calibration of IVON and Adam."""

    seeds: int = 3
    """Runs of each setting: initial params, batches and noise."""
    quick: bool = False
    """A twentieth of the steps, two settings, one seed."""
    tasks: str = "digits,words"
    """Names of tasks, separated by commas."""
    out: Path = Path("runs/calibration")
    """Directory of the table and of the reliability diagram."""


class Task(NamedTuple):
    """A model with its data: inputs and labels to train, validate and test."""

    model: nn.Module
    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    batch_size: int
    epochs: int


class Method(NamedTuple):
    """An optimizer by its settings, and whether it trains a posterior."""

    make: Callable[..., optax.GradientTransformation]
    grid: Sequence[tuple[float, ...]]
    samples: int


def digits() -> Task:
    """Half of scikit-learn's digits, in an order that is always the same."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order].astype(np.float32) / 16, y[order].astype(np.int32)
    train, valid, test = np.split(np.arange(len(y)), [897, 1347])
    parts = [(x[rows], y[rows]) for rows in (train, valid, test)]
    return Task(MLP((128, 128, 10)), *parts, batch_size=64, epochs=75)


def words() -> Task:
    """The next word of Python's help: one block of attention."""
    corpus = texts.load(WORDS, 12)
    order = np.random.default_rng(0).permutation(len(corpus.test))
    valid, test = np.array_split(corpus.test[order], 2)
    parts = [(rows[:, :-1], rows[:, 1:]) for rows in (corpus.train, valid, test)]
    model = TextAttention(WORDS, 48, tied=True)
    return Task(model, *parts, batch_size=32, epochs=8)


def _cosine(steps: int, rate: Any) -> optax.Schedule:
    shape = optax.cosine_decay_schedule(1.0, steps)
    return lambda count: rate * shape(count)


def _adam(decay: float, steps: int, examples: int, rate: Any) -> Any:
    del examples
    return optax.adamw(_cosine(steps, rate), weight_decay=decay)


def _ivon(steps: int, examples: int, rate: Any, first: Any, key: Any) -> Any:
    return optaxls.ivon(
        ess=examples, learning_rate=_cosine(steps, rate), hessian_init=first,
        key=key,
    )  # fmt: skip


TASKS = {"digits": digits, "words": words}
RATES = [(rate,) for rate in (1e-3, 3e-3, 1e-2, 3e-2)]
METHODS = {
    "Adam": Method(functools.partial(_adam, 0.0), RATES, 0),
    "AdamW, weight decay 0.1": Method(functools.partial(_adam, 0.1), RATES, 0),
    "IVON": Method(_ivon, [(r, h) for r in (0.1, 0.3) for h in (1.0, 4.0)], SAMPLES),
}


def _loss(task: Task, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    logits = task.model.apply(params, x)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _probabilities(task: Task, points: Any, x: np.ndarray) -> jax.Array:
    """The mean over params with a leading axis of the predicted probabilities."""

    def add(total: jax.Array, params: Any) -> tuple[jax.Array, None]:
        return total + jax.nn.softmax(task.model.apply(params, x)), None

    count = len(jax.tree.leaves(points)[0])
    shape = jax.eval_shape(
        lambda: task.model.apply(jax.tree.map(lambda w: w[0], points), x)
    )
    return jax.lax.scan(add, jnp.zeros(shape.shape), points)[0] / count


def _trainer(task: Task, method: Method, steps: int) -> Callable[..., Any]:
    """``(seed, batches, *setting) -> probabilities`` for validation and test rows."""
    loss = functools.partial(_loss, task)
    x, y = map(jnp.asarray, task.train)

    def train(key: jax.Array, batches: jax.Array, *setting: Any) -> Any:
        params = task.model.init(key, x[:1])
        if method.samples:
            optimizer = method.make(steps, y.size, *setting, key)
            step = optaxls.make_vi_step(loss, optimizer)
        else:
            optimizer = method.make(steps, y.size, *setting)
            step = optaxls.make_step(loss, optimizer)

        def body(carry: Any, rows: jax.Array) -> Any:
            return step(*carry, x[rows], y[rows])[:2], None

        start = params, optimizer.init(params)
        (params, state), _ = jax.lax.scan(body, start, batches)
        points = jax.tree.map(lambda w: w[None], params)
        if method.samples:
            points = optaxls.posterior_sample(state, params, method.samples)
        return [_probabilities(task, points, p[0]) for p in (task.valid, task.test)]

    return jax.jit(jax.vmap(train, in_axes=(0, 0, *[None] * len(method.grid[0]))))


def _race(task: Task, method: Method, settings: Settings) -> Row:
    """The runs of one method on one task: the best setting, scored on the test rows."""
    epochs = max(task.epochs // 20, 1) if settings.quick else task.epochs
    seeds = 1 if settings.quick else settings.seeds
    orders = [
        epochs_of(len(task.train[0]), task.batch_size, epochs, seed)
        for seed in range(seeds)
    ]
    batches = jnp.asarray(np.stack(orders))
    keys = jax.random.split(jax.random.key(1), seeds)
    run = _trainer(task, method, batches.shape[1])
    found = {}
    for setting in method.grid[:2] if settings.quick else method.grid:
        valid, test = run(keys, batches, *setting)
        losses = [scores(p, task.valid[1]).loss for p in np.asarray(valid)]
        loss = float(np.mean(losses))
        print(f"  {setting}: validation loss {loss:.4f}", file=sys.stderr, flush=True)
        found[setting] = loss if np.isfinite(loss) else np.inf, np.asarray(test)
    best = min(found, key=lambda setting: found[setting][0])
    return Row(best, tuple(scores(p, task.test[1]) for p in found[best][1]))


def run(settings: Settings) -> dict[str, dict[str, Row]]:
    """Trains all, writes table and diagram."""
    found: dict[str, dict[str, Row]] = {}
    for name in settings.tasks.split(","):
        task, found[name] = TASKS[name](), {}
        for method in METHODS:
            print(f"{name}, {method}", file=sys.stderr, flush=True)
            found[name][method] = _race(task, METHODS[method], settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    table = calibration_report.table(found)
    (settings.out / "calibration.md").write_text(table, encoding="utf-8")
    calibration_report.save(found, settings.out / "calibration.png")
    print(table)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    return exit_code(lambda: run(read(Settings, arguments)))


if __name__ == "__main__":
    sys.exit(main())
