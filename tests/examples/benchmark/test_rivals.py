"""Optimizers of other authors, against loops by hand that follow their formulas."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import optaxls
from examples.benchmark import contenders, registry, rivals, roles
from examples.benchmark.tasks import TASKS
from tests.examples.benchmark.tiny_task import tiny_task

ADDED = (
    "gen",
    "gen_linear",
    "muon_authors",
    "distance_adaptive_muon",
    "ademamix",
    "nadamw",
    "schedule_free_warm_up",
)


@pytest.fixture(autouse=True)
def doubles():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def singles(doubles: None):
    with jax.enable_x64(False):
        yield


def run(optimizer: Any, params: Any, gradients: Any) -> tuple[list[Any], Any]:
    """The params after each gradient, and the last state."""
    state, points = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        points.append(params)
    return points, state


def test_ademamix_takes_the_steps_of_a_loop_by_hand():
    steps, w, m, slow, v = 8, 2.0, 0.0, 0.0, 0.0
    gradients = np.random.default_rng(0).normal(size=10)
    points, _ = run(rivals.ademamix(steps), jnp.array(w), jnp.asarray(gradients))
    for k, g in enumerate(gradients):
        share = min(k / steps, 1)
        lives = [np.log(0.5) / np.log(decay) for decay in (0.9, 0.9999)]
        b3 = 0.5 ** (1 / ((1 - share) * lives[0] + share * lives[1]))
        m, v, slow = (
            0.9 * m + 0.1 * g,
            0.999 * v + 0.001 * g**2,
            b3 * slow + (1 - b3) * g,
        )
        first, second = m / (1 - 0.9 ** (k + 1)), v / (1 - 0.999 ** (k + 1))
        w -= 1e-3 * (first + 5 * share * slow) / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(points[k], w, rtol=1e-9)
    assert b3 == pytest.approx(0.9999, rel=1e-12)


@pytest.mark.slow
def test_nadamw_warms_up_and_ends_at_zero():
    steps, b1, b2, w, m, v = 100, 0.93266073836, 0.9955159689799007, 2.0, 0.0, 0.0
    gradients = np.random.default_rng(0).normal(size=steps + 1)
    points, _ = run(rivals.nadamw(steps), jnp.array(w), jnp.asarray(gradients))
    for k, g in enumerate(gradients):
        cosine = 0.5 + 0.5 * np.cos(np.pi * (k - 2) / (steps - 2))
        size = 0.0017486387539278373 * (k / 2 if k < 2 else cosine)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        ahead = b1 * m / (1 - b1 ** (k + 2)) + (1 - b1) * g / (1 - b1 ** (k + 1))
        adam = ahead / (np.sqrt(v / (1 - b2 ** (k + 1))) + 1e-8)
        w -= size * (adam + 0.08121616522670176 * w)
        np.testing.assert_allclose(points[k], w, rtol=1e-7)
    assert points[0] == 2.0 and points[-1] == points[-2]


def test_schedule_free_weighs_its_average_as_the_authors_do():
    steps, b2 = 200, 0.9955159689799007
    gradients = np.random.default_rng(0).normal(size=6)
    optimizer = rivals.schedule_free_warm_up(steps)
    points, state = run(optimizer, jnp.array(2.0), jnp.asarray(gradients))
    x = y = z = 2.0
    v = total = 0.0
    for k, g in enumerate(gradients, 1):
        size = 0.0025 * min(k / 3, 1)
        v = b2 * v + (1 - b2) * g**2
        adam = g / (np.sqrt(v / (1 - b2**k)) + 1e-8)
        z -= size * (adam + 0.08121616522670176 * y)
        weight = k**0.75 * size**2
        total += weight
        x += weight / total * (z - x)
        y = 0.1 * z + 0.9 * x
        np.testing.assert_allclose(points[k - 1], y, rtol=1e-9)
    at = optax.contrib.schedule_free_eval_params(state, points[-1])
    np.testing.assert_allclose(at, x, rtol=1e-9)


def orthogonalized(matrix: np.ndarray) -> np.ndarray:
    """Five steps of the quintic iteration, made on the singular values."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / (np.linalg.norm(values) + 1e-8)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


def two_layers(rng: np.random.Generator) -> Any:
    shapes = {"Dense_0": (3, 5), "Dense_1": (5, 2)}
    return {
        name: {"kernel": jnp.asarray(rng.normal(size=shape))}
        for name, shape in shapes.items()
    }


@pytest.mark.slow
def test_muon_steps_along_matrices_and_adam_along_the_head():
    rng = np.random.default_rng(0)
    params, *gradients = (two_layers(rng) for _ in range(3))
    (first, second), _ = run(rivals.muon(), params, gradients)
    g = [np.asarray(gradient["Dense_0"]["kernel"]) for gradient in gradients]
    w, moved = (p["Dense_0"]["kernel"] for p in (params, first))
    scale = np.sqrt(5 / 3)
    by_hand = w - 0.02 * (scale * orthogonalized(g[0]) + 0.01 * w)
    np.testing.assert_allclose(moved, by_hand, rtol=1e-6)
    momentum = 0.95 * 0.05 * g[0] + 0.05 * g[1]
    ahead = 0.95 * momentum / (1 - 0.95**3) + 0.05 * g[1] / (1 - 0.95**2)
    by_hand = moved - 0.02 * (scale * orthogonalized(ahead) + 0.01 * moved)
    np.testing.assert_allclose(second["Dense_0"]["kernel"], by_hand, rtol=1e-6)
    head, g = params["Dense_1"]["kernel"], gradients[0]["Dense_1"]["kernel"]
    by_hand = head - 3e-4 * (g / (jnp.abs(g) + 1e-10) + 0.01 * head)
    np.testing.assert_allclose(first["Dense_1"]["kernel"], by_hand, rtol=1e-9)


@pytest.mark.slow
def test_the_distance_come_so_far_sets_the_step():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    params = {"hidden": jnp.zeros((2, 2)), "bias": jnp.ones(1)}
    gradients = [{"hidden": jnp.asarray(turn), "bias": jnp.ones(1)}] * 40
    points, _ = run(rivals.distance_adaptive_muon(), params, gradients)
    # All singular values are equal and stay so; those of a direction are `length`.
    length = np.linalg.norm(orthogonalized(turn), 2)
    distance, sizes = 0.0, []
    for k, point in enumerate(points, 1):
        size = distance / np.sqrt(k) if k > 1 else 1e-3 * length
        sizes.append(min(0.02, size))
        distance += sizes[-1]
        by_hand = -distance / length * orthogonalized(turn)
        np.testing.assert_allclose(point["hidden"], by_hand, rtol=1e-6)
    assert sizes[1] < sizes[0] < sizes[-1] == 0.02
    assert points[0]["bias"] == pytest.approx(1 - 3e-4 * 1.01)


def test_embeddings_heads_first_convolutions_and_vectors_are_not_hidden():
    def hidden(name: str) -> set[str]:
        params = jax.eval_shape(TASKS[name]().init, jax.random.key(0))
        paths, _ = jax.tree_util.tree_flatten_with_path(roles.labels(params))
        return {
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, label in paths
            if label == "hidden"
        }

    assert hidden("digits_mlp") == {f"params/Dense_{k}/kernel" for k in (0, 1)}
    assert hidden("digits_cnn") == {"params/Conv_1/kernel"}
    assert hidden("cancer_kernel") == set()
    block = "params/Attention_0/"
    heads = {f"MultiHeadDotProductAttention_0/{n}" for n in ("query", "key", "value")}
    dense = {"MultiHeadDotProductAttention_0/out", "Dense_0", "Dense_1"}
    assert hidden("text_transformer") == {f"{block}{n}/kernel" for n in heads | dense}


def test_a_kernel_is_a_matrix_of_inputs_times_outputs():
    tree = {
        "Conv_1": {"kernel": jnp.zeros((3, 3, 8, 16))},
        "query": {"kernel": jnp.zeros((32, 2, 16))},
        "out": {"kernel": jnp.zeros((2, 16, 24))},
    }
    matrices = jax.tree.map(roles.matrix, tree, roles.inputs(tree))
    shapes = [leaf.shape for leaf in jax.tree.leaves(matrices)]
    assert shapes == [(72, 16), (32, 24), (32, 32)]
    assert roles.axes(tree)["Conv_1"]["kernel"] == ((0, 1, 2), (3,))


@pytest.mark.long
@pytest.mark.usefixtures("singles")
@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("task", [tiny_task(), TASKS["least_squares"]()])
def test_each_trains_in_a_compiled_loop(task, name):
    (contender,) = registry.named([name])
    optimizer = contender.make(jnp.nan, task)
    step = optaxls.make_step(task.mean_loss, optimizer)
    data = jnp.asarray(task.split.x_train), jnp.asarray(task.split.y_train)
    params = task.init(jax.random.key(0))

    @jax.jit
    def train(params: Any) -> Any:
        def one(carry: Any, _: Any) -> Any:
            result = step(*carry, *data)
            return (result.params, result.opt_state), result.value

        return jax.lax.scan(one, (params, optimizer.init(params)), None, 12)

    (last, state), losses = train(params)
    at = contender.evaluate_at(state, last)
    assert task.mean_loss(at, *data) < losses[0]


@pytest.mark.parametrize(
    "factory, defaults",
    [
        (
            optax.contrib.schedule_free_adamw,
            {"learning_rate": 0.0025, "b1": 0.9, "b2": 0.999, "warmup_steps": None},
        ),
        (
            optax.contrib.momo_adam,
            {"learning_rate": 1e-2, "b1": 0.9, "b2": 0.999, "lower_bound": 0.0},
        ),
    ],
)
def test_the_defaults_of_optax_are_those_of_the_authors(factory, defaults):
    parameters = inspect.signature(factory).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


def test_names_are_unique():
    names = [c.name for c in contenders.PEERS]
    assert len(set(names)) == len(names) and set(ADDED) < set(names)


def test_hyperball_turns_matrices_as_our_path_does():
    """Its grid takes the formula with a difference, `along_sphere` one without."""
    rng = np.random.default_rng(0)
    w, d = ({"m": rng.standard_normal((3, 2)), "v": rng.standard_normal(2)},) * 2
    d = jax.tree.map(lambda leaf: jnp.asarray(leaf[::-1], jnp.float32), d)
    w = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), w)
    tx = rivals.keep_lengths()
    found, _ = tx.update(optax.tree.scale(0.3, d), tx.init(w), w)
    rule = optaxls.scale_by_initial_step(
        optaxls.constant(0.3), path=optaxls.along_sphere()
    )
    grad = jax.tree.map(jnp.negative, d)
    ours, _ = rule.update(d, rule.init(w), w, value=jnp.array(1.0), grad=grad)
    for a, b in zip(*map(jax.tree.leaves, (found, ours)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
