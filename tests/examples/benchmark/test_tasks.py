"""The losses of tasks are what their names say, and validation rows are others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from examples.benchmark import arrays, networks
from examples.benchmark import tasks_densities as densities
from examples.benchmark import tasks_diffusion as diffusion
from examples.benchmark import tasks_embeddings as embeddings
from examples.benchmark import tasks_images as images
from examples.benchmark import tasks_vectors as vectors
from examples.benchmark.task import FAMILIES, Task
from examples.benchmark.tasks import QUICK, TASKS, of_half
from examples.common import text

MADE = {name: make() for name, make in TASKS.items()}
KEY = jax.random.key(0)


def test_names_and_families():
    assert len(MADE) == 46
    assert all(name == task.name for name, task in MADE.items())
    assert {task.family for task in MADE.values()} == set(FAMILIES)
    assert set(QUICK) <= set(MADE)


@pytest.mark.slow
def test_the_halves_share_no_task():
    choose, report = of_half("choose"), of_half("report")
    assert not set(choose) & set(report)
    assert sorted([*choose, *report]) == sorted(of_half("all"))
    assert not any(MADE[name].held_out for name in choose)
    assert 20 <= len(report) <= 25


@pytest.mark.parametrize("task", MADE.values(), ids=list(MADE))
def test_no_validation_row_is_trained_on(task: Task):
    train, valid = (
        {row.tobytes() for row in np.asarray(part).reshape(len(part), -1)}
        for part in (task.split.x_train, task.split.x_valid)
    )
    # Short texts repeat, and so do pairs and irises.
    few = 0.2 if task.family in ("text", "embeddings") else 0.05
    assert len(train & valid) <= few * len(valid)
    assert task.num_steps % 20 == 0 and len(task.split.x_train) >= task.batch_size


def test_the_large_task_has_a_million_params():
    params = jax.eval_shape(MADE["text_large"].init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) > 1_000_000
    assert MADE["text_large"].num_steps == 5000 and MADE["text_large"].large


@pytest.mark.slow
def test_losses_of_points():
    rates, counts = jnp.array([[0.5, 1.0, 4.0]]), jnp.array([[0.0, 1.0, 3.0]])
    expected = -scipy.stats.poisson.logpmf(counts, rates).mean()
    found = vectors.poisson(jnp.log(rates), counts)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    # The minimizer of the pinball loss is the quantile: nine of ten lie below it.
    sample = jnp.arange(100.0)[:, None]
    guesses = jnp.arange(0.0, 100.0, 0.5)
    means = [
        jnp.mean(vectors.pinball(jnp.full_like(sample, g), sample)) for g in guesses
    ]
    assert 89 <= guesses[np.argmin(means)] <= 90
    assert images.huber(jnp.array([[3.0]]), jnp.array([[0.0]])) == 2.5
    margins, labels = jnp.array([[0.5], [0.5], [2.0]]), jnp.array([1, 0, 1])
    np.testing.assert_allclose(vectors.hinge(margins, labels), [0.5, 1.5, 0])
    outputs, target = jnp.array([[1.0, np.log(4.0)]]), jnp.array([[2.0]])
    expected = -scipy.stats.norm.logpdf(2, 1, 2)
    found = densities.learned_variance(outputs, target)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_products_of_embeddings():
    factors = networks.Factors((2, 2), 2)
    params = {
        "rows": {"embedding": jnp.eye(2)},
        "columns": {"embedding": 2 * jnp.eye(2)},
    }
    pairs = jnp.array([[0, 0], [0, 1]])
    products = jnp.asarray(factors.apply({"params": params}, pairs))
    assert products.tolist() == [[2.0], [0.0]]


def test_a_penalty_is_trained_and_not_validated():
    task = MADE["hinge_svm"]
    variables = task.init(KEY)
    x, y = map(jnp.asarray, task.split[:2])
    squares = sum(jnp.sum(w**2) for w in jax.tree.leaves(variables["params"]))
    penalty = task.mean_loss(variables, x, y) - task.problem.valid_loss(variables, x, y)
    np.testing.assert_allclose(penalty, 0.5 * vectors.Penalised.penalty * squares, 1e-4)


def test_data_have_the_noise_that_they_tell_of():
    split = arrays.overlap()
    x, y = (np.concatenate(parts) for parts in (split[0::2], split[1::2]))
    assert abs(np.mean((x[:, 0] > 1) != y) - scipy.stats.norm.cdf(-1)) < 0.03
    entries = arrays.ratings()
    assert len(entries.x_train) + len(entries.x_valid) == pytest.approx(2400, rel=0.05)
    assert arrays.digit_values().y_train.max() == 9
    assert arrays.spirals().y_train.mean() == pytest.approx(0.5, abs=0.02)
    clean, noisy = arrays.teacher(0.0), arrays.teacher(0.3)
    np.testing.assert_array_equal(noisy.y_valid, clean.y_valid)
    assert np.std(noisy.y_train - clean.y_train) == pytest.approx(0.3, rel=0.05)


def test_denoising_rows_mix_data_and_noise():
    split = MADE["diffusion_roll"].split
    time = split.x_train[:, -1:]
    early = time[:, 0] < 0.01
    clean = split.x_train[:, :-1] - np.sin(0.5 * np.pi * time) * split.y_train
    clean = clean / np.cos(0.5 * np.pi * time)
    radius = np.linalg.norm(clean[early], axis=1)
    assert 0.4 < radius.min() and radius.max() < 2.0
    late = time[:, 0] > 0.99
    assert np.abs(split.x_train[late, :-1] - split.y_train[late]).max() < 0.05


@pytest.mark.long
def test_a_flow_is_a_density():
    model = networks.Flow(couplings=2, width=4)
    variables = model.init(KEY, jnp.zeros((1, 2)))
    line = jnp.linspace(-8, 8, 161)
    points = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    total = jnp.sum(jnp.exp(jnp.asarray(model.apply(variables, points)))) * 0.01
    assert total == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_the_process_has_the_densities_of_scipy():
    task = MADE["gaussian_process"]
    x, y, x_valid, y_valid = map(np.asarray, task.split)
    variables = {"params": {"scales": jnp.zeros(2), "signal": 0.3, "noise": -1.0}}

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        away = ((a[:, None] - b) ** 2).sum(-1)
        return np.exp(0.6 - 0.5 * away)

    own = covariance(x, x) + np.exp(-2.0) * np.eye(120)
    expected = -scipy.stats.multivariate_normal.logpdf(y, np.zeros(120), own) / 120
    found = task.mean_loss(variables, jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    cross = covariance(x_valid, x) @ np.linalg.inv(own)
    mean = cross @ y
    variance = np.exp(0.6) + np.exp(-2) - (cross * covariance(x_valid, x)).sum(1)
    expected = -scipy.stats.norm.logpdf(y_valid, mean, np.sqrt(variance)).mean()
    found = task.problem.valid_loss(
        variables, jnp.asarray(x_valid), jnp.asarray(y_valid)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    trap = {"params": {"scales": 3 * jnp.ones(2), "signal": 3.0, "noise": -9.0}}
    assert jnp.isnan(task.mean_loss(trap, jnp.asarray(x), jnp.asarray(y)))


def test_the_equation_is_that_of_its_solution():
    split = densities.points()
    step = 1e-3
    x = np.linspace(0.1, 0.9, 9)
    around = [densities._solution(x + d) for d in (-step, 0.0, step)]
    second = (around[0] - 2 * around[1] + around[2]) / step**2
    order = np.argsort(split.x_train[:, 0])
    given = np.interp(x, split.x_train[order, 0], split.y_train[order, 0])
    np.testing.assert_allclose(given, second, atol=0.2)


@pytest.mark.long
def test_views_find_each_other():
    """Vectors that do not tell images apart cost log(batch); orthogonal ones less."""
    task = MADE["contrastive"]
    problem = task.problem
    assert isinstance(problem, embeddings.Contrastive)
    x = jnp.asarray(task.split.x_train[:128])
    same = jax.tree.map(jnp.zeros_like, task.init(KEY))
    loss = task.mean_loss(same, x, jnp.zeros(128))
    np.testing.assert_allclose(loss, np.log(64), rtol=1e-5)
    apart = embeddings.Contrastive(networks.MLP((64,)), 64)
    eye = {"params": {"Dense_0": {"kernel": jnp.eye(64), "bias": jnp.zeros(64)}}}
    found, _ = apart.loss(eye, 1e4 * jnp.eye(64), jnp.zeros(64), KEY)
    np.testing.assert_allclose(found, np.log(1 + 63 * np.exp(-5)), rtol=1e-3)


@pytest.mark.long
def test_fine_tuning_begins_with_features_and_without_classes():
    task = MADE["fine_tuning"]
    problem = task.problem
    assert isinstance(problem, images.FineTuned)
    first, again = (problem.init(KEY, problem.x[:1])["params"] for _ in range(2))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), first, again))
    fresh = images.Pointwise.init(problem, jax.random.split(KEY)[0], problem.x[:1])
    assert (first["Dense_2"]["kernel"] == fresh["params"]["Dense_2"]["kernel"]).all()
    assert (first["Dense_0"]["kernel"] != fresh["params"]["Dense_0"]["kernel"]).any()
    labels = np.concatenate([task.split.y_train, task.split.y_valid])
    assert set(labels) == set(range(5))


@pytest.mark.long
def test_dropout_is_drawn_in_training_only():
    task = MADE["batch_norm_dropout"]
    variables = task.init(KEY)
    x, y = (jnp.asarray(part[:64]) for part in task.split[:2])
    one, statistics = task.problem.loss(variables, x, y, jax.random.key(1))
    other, _ = task.problem.loss(variables, x, y, jax.random.key(2))
    assert one != other and set(statistics) == {"batch_stats"}
    changed = jax.tree.map(
        lambda a, b: bool((a != b).any()), statistics["batch_stats"],
        variables["batch_stats"],
    )  # fmt: skip
    assert all(jax.tree.leaves(changed))
    assert task.mean_loss(variables, x, y) == task.mean_loss(variables, x, y)


def test_characters_and_source():
    corpus = text.characters(96, 24)
    assert all(len(mark) == 1 for mark in corpus.vocabulary[1:])
    assert {"e", "E", "\n", " "} <= set(corpus.vocabulary)
    names = ("heapq", "csv", "cmd", "shlex", "bdb", "textwrap")
    read = text.source(names, 200, 24)
    words = "".join(read.vocabulary[n] for n in read.train[:, :-1].ravel() if n)
    # Every fifth by name is held out: bdb and textwrap.
    assert "heappush" in words and "TextWrapper" not in words
    tokens = text.source(names, 200, 24, words=True).vocabulary
    assert "self" in tokens and "def" in tokens


def test_swiss_rolls_are_drawn_from_a_seed():
    first, again = diffusion.roll(), diffusion.roll()
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert len(first.x_train) == 128_000
