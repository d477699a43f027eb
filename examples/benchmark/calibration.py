"""Does a posterior foretell its own errors? IVON beside Adam, on digits and on text.

    python -m examples.benchmark.calibration
    python -m examples.benchmark.calibration --quick --out runs/calibration

Each seed has its own rows to train, validate and test. Each method has four settings,
all with a cosine and with as many gradients. The one with the least validation loss, on
average over the seeds, is told. Nobody stops early. IVON predicts by the mean of the
probabilities at 64 samples of its posterior, whose ``ess`` is the number of labels that
are trained on.
"""

import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
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

# Inputs and labels; then those to train, to validate and to test.
Pair = tuple[np.ndarray, np.ndarray]
Parts = tuple[Pair, Pair, Pair]

SAMPLES = 64
WORDS, TRAIN_ROWS = 500, 2000


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare the calibration of IVON and Adam."""

    seeds: int = 3
    """Runs of each setting: rows, initial params, batches and noise."""
    quick: bool = False
    """A twentieth of the steps, two settings, one seed."""
    tasks: str = "digits,few_digits,words"
    """Names of tasks, separated by commas."""
    out: Path = Path("runs/calibration")
    """Directory of the table and of the reliability diagram."""


class Task(NamedTuple):
    """A model with its data: inputs and labels to train, validate and test.

    The data have a leading axis of seeds.

    Attributes:
        grids: the settings of each method. Adam: the learning rate; AdamW: it and the
            weight decay; IVON: it, the first curvature and its ``b2``.
        prior_precision: of IVON, like ``clip_radius``.
    """

    model: nn.Module
    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    batch_size: int
    epochs: int
    grids: Mapping[str, Sequence[tuple[float, ...]]]
    prior_precision: float
    clip_radius: float


class Method(NamedTuple):
    """An optimizer for a task, a number of steps, a setting and a key.

    With ``samples`` it trains a posterior, which has so many to predict by.
    """

    make: Callable[..., optax.GradientTransformation]
    samples: int


def _stacked(splits: Sequence[Any]) -> Parts:
    """The parts of a task: inputs and labels, each with a leading axis of seeds."""
    return jax.tree.map(lambda *seeds: np.stack(seeds), *splits)


def _digits(seeds: int, train_rows: int) -> Parts:
    """Scikit-learn's digits; those not trained on validate and test by halves."""
    x, y = datasets.load_digits(return_X_y=True)
    x, y = x.astype(np.float32) / 16, y.astype(np.int32)
    splits = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(y))
        split = np.split(order, [train_rows, (train_rows + len(y)) // 2])
        splits.append([(x[rows], y[rows]) for rows in split])
    return _stacked(splits)


def digits(seeds: int) -> Task:
    """Half of the digits train."""
    grids = {
        "Adam": [(rate,) for rate in (1e-3, 3e-3, 1e-2, 3e-2)],
        "AdamW": list(itertools.product((1e-2, 3e-2), (0.03, 0.1))),
        "IVON": list(itertools.product((2.0,), (1.0, 2.0), (0.998, 0.999))),
    }
    parts = _digits(seeds, 897)
    return Task(MLP((128, 128, 10)), *parts, 64, 75, grids, 0.3, float("inf"))


def few_digits(seeds: int) -> Task:
    """200 digits train."""
    grids = {
        "Adam": [(rate,) for rate in (1e-3, 3e-3, 1e-2, 3e-2)],
        "AdamW": list(itertools.product((1e-2, 3e-2), (0.1, 0.3))),
        "IVON": list(itertools.product((1.0, 2.0), (1.0, 3.0))),
    }
    parts = _digits(seeds, 200)
    return Task(MLP((128, 128, 10)), *parts, 40, 150, grids, 0.3, float("inf"))


def words(seeds: int) -> Task:
    """The next word of Python's help, of which little is read: one block of attention.

    2000 of 5469 rows train, so that Adam fits too much and a run is short.
    """
    corpus = texts.load(WORDS, 12)
    splits = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        train = rng.permutation(corpus.train)[:TRAIN_ROWS]
        held_out = np.array_split(rng.permutation(corpus.test), 2)
        splits.append([(rows[:, :-1], rows[:, 1:]) for rows in (train, *held_out)])
    model = TextAttention(WORDS, 48, tied=True)
    grids = {
        "Adam": [(rate,) for rate in (3e-4, 1e-3, 3e-3, 1e-2)],
        "AdamW": list(itertools.product((3e-3, 1e-2), (0.3, 1.0))),
        "IVON": list(itertools.product((5.0, 10.0), (0.01, 0.02))),
    }
    return Task(model, *_stacked(splits), 32, 20, grids, 10.0, 0.03)


def _cosine(steps: int, rate: Any) -> optax.Schedule:
    shape = optax.cosine_decay_schedule(1.0, steps)
    return lambda count: rate * shape(count)


def _adam(task: Task, steps: int, key: Any, rate: Any, decay: Any = 0.0) -> Any:
    del task, key
    return optax.adamw(_cosine(steps, rate), weight_decay=decay)


def _ivon(
    task: Task, steps: int, key: Any, rate: Any, first: Any, b2: float = 0.99999
) -> Any:
    return optaxls.ivon(
        ess=task.train[1][0].size, prior_precision=task.prior_precision,
        learning_rate=_cosine(steps, rate), hessian_init=first, b2=b2,
        clip_radius=task.clip_radius, key=key,
    )  # fmt: skip


TASKS = {"digits": digits, "few_digits": few_digits, "words": words}
METHODS = {"Adam": Method(_adam, 0), "AdamW": Method(_adam, 0)}
METHODS["IVON"] = Method(_ivon, SAMPLES)


def _logits(task: Task, params: Any, x: Any) -> Any:
    return task.model.apply(params, x)


def _loss(task: Task, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    logits = _logits(task, params, x)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _probabilities(task: Task, points: Any, x: np.ndarray) -> jax.Array:
    """The mean over params with a leading axis of the predicted probabilities."""

    def add(total: jax.Array, params: Any) -> tuple[jax.Array, None]:
        return total + jax.nn.softmax(_logits(task, params, x)), None

    count = len(jax.tree.leaves(points)[0])
    shape = jax.eval_shape(
        lambda: task.model.apply(jax.tree.map(lambda w: w[0], points), x)
    )
    return jax.lax.scan(add, jnp.zeros(shape.shape), points)[0] / count


def _trainer(task: Task, method: Method, steps: int) -> Callable[..., Any]:
    """``(keys, batches, parts, *setting) -> [probabilities to validate, to test]``."""
    loss = functools.partial(_loss, task)

    def train(key: jax.Array, batches: jax.Array, parts: Any, *setting: Any) -> Any:
        (x, y), *held_out = parts
        params = task.model.init(key, x[:1])
        optimizer = method.make(task, steps, key, *setting)
        make = optaxls.make_vi_step if method.samples else optaxls.make_step
        step = make(loss, optimizer)

        def body(carry: Any, rows: jax.Array) -> Any:
            return step(*carry, x[rows], y[rows])[:2], None

        start = params, optimizer.init(params)
        (params, state), _ = jax.lax.scan(body, start, batches)
        points = jax.tree.map(lambda w: w[None], params)
        if method.samples:
            points = optaxls.posterior_sample(state, params, method.samples)
        return [_probabilities(task, points, inputs) for inputs, _ in held_out]

    def train_all(keys: Any, batches: Any, parts: Any, *setting: Any) -> Any:
        return jax.vmap(lambda *seed: train(*seed, *setting))(keys, batches, parts)

    return jax.jit(train_all)


def _race(task: Task, name: str, settings: Settings) -> Row:
    """The runs of one method on one task: the best setting, scored on the test rows."""
    epochs = max(task.epochs // 20, 1) if settings.quick else task.epochs
    seeds, size = task.train[1].shape[:2]
    orders = [epochs_of(size, task.batch_size, epochs, seed) for seed in range(seeds)]
    batches = jnp.asarray(np.stack(orders))
    keys = jax.random.split(jax.random.key(1), seeds)
    run = _trainer(task, METHODS[name], batches.shape[1])
    parts = jax.tree.map(jnp.asarray, (task.train, task.valid, task.test))
    found, grid = {}, task.grids[name]
    for setting in grid[:2] if settings.quick else grid:
        valid, test = map(np.asarray, run(keys, batches, parts, *setting))
        loss = scores(valid, task.valid[1]).loss
        print(f"  {setting}: validation loss {loss:.4f}", file=sys.stderr, flush=True)
        found[setting] = loss if np.isfinite(loss) else np.inf, test
    best = min(found, key=lambda setting: found[setting][0])
    test, labels = found[best][1], task.test[1]
    each = tuple(scores(*pair) for pair in zip(test, labels, strict=True))
    return Row(best, each, scores(test, labels))


def run(settings: Settings) -> dict[str, dict[str, Row]]:
    """Trains all, writes table and diagram."""
    found: dict[str, dict[str, Row]] = {}
    for name in settings.tasks.split(","):
        task = TASKS[name](1 if settings.quick else settings.seeds)
        found[name] = {}
        for method in METHODS:
            print(f"{name}, {method}", file=sys.stderr, flush=True)
            found[name][method] = _race(task, method, settings)
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
