"""More of the contract: trees of every kind, transformations of JAX, alias by alias."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from tests.problems import ALIASES, RULES, quadratic, quadratic_params
from tests.rows import each_kind, every_row, programs, rows


def trajectory(loss, optimizer, params, num_steps, transform=lambda step: step):
    """Results of ``num_steps`` steps, by default not jitted; the params first."""
    step = transform(optaxls.make_step(loss, optimizer))
    state = optimizer.init(params)
    results = [optaxls.StepResult(params, state, None, (), {})]
    for _ in range(num_steps):
        results.append(step(results[-1].params, results[-1].opt_state))
    return results


def types(tree):
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


# Transformations of JAX.


@pytest.mark.slow
@programs("ponos", "auto")
def test_donated_steps_of_a_rematerialised_loss_are_the_plain_ones(name):
    optimizer = RULES[name].make()
    plain = trajectory(quadratic, optimizer, quadratic_params(), 4)
    step = jax.jit(
        optaxls.make_step(jax.checkpoint(quadratic), optimizer), donate_argnums=(0, 1)
    )
    params, state = quadratic_params(), optimizer.init(quadratic_params())
    for wanted in plain[1:]:
        given = jax.tree.leaves(params)
        params, state, _, _, report = step(params, state)
        assert all(leaf.is_deleted() for leaf in given)
        chex.assert_trees_all_close(params, wanted.params, rtol=1e-4, atol=1e-5)
        assert report["num_trials"] == wanted.metrics["num_trials"]


@functools.cache
def after_a_step(name):
    """The loss after a step from ``factor`` times the start, in float64."""
    optimizer, start = RULES[name].make(), quadratic_params(jnp.float64)
    # Not at the start itself: a displacement of 0 is a kink of what depends on it.
    state = optimizer.init(jax.tree.map(lambda leaf: leaf + 1, start))

    def fn(factor):
        params = jax.tree.map(lambda leaf: factor * leaf, start)
        value, grad = jax.value_and_grad(quadratic)(params)
        updates, _ = optimizer.update(
            grad,
            state,
            params,
            value=value,
            grad=grad,
            value_fn=quadratic,
            grad_fn=jax.grad(quadratic),
        )
        return quadratic(optax.apply_updates(params, updates))

    return jax.jit(fn)


def slope_of(fn):
    """By differences, in a neighbourhood where no search ends elsewhere."""
    return pytest.approx(float(fn(1.0 + 1e-6) - fn(1.0 - 1e-6)) / 2e-6, rel=1e-5)


@pytest.mark.slow
@programs("sps", "ponos")
def test_a_gradient_through_an_update_is_right_or_refused(name):
    """Right where the loop carries no derivative, never silently wrong."""
    with jax.enable_x64(True):
        fn = after_a_step(name)
        try:
            slope = jax.grad(fn)(1.0)
        except ValueError as error:
            assert RULES[name].searches
            assert "reverse-mode" in str(error).lower()
        else:
            assert float(slope) == slope_of(fn)


@programs("ponos")
def test_forward_mode_goes_through_a_search(name):
    """The derivative at the number of trials that were made."""
    with jax.enable_x64(True):
        fn = after_a_step(name)
        assert float(jax.jvp(fn, (1.0,), (1.0,))[1]) == slope_of(fn)


HYPERPARAMETERS = {
    "auto": ("weight_decay", (0.1, 5.0)),
    "sls": ("c", (0.1, 0.9)),
    "sls_extragradient": ("c", (0.2, 0.9)),
    "sps": ("max_step_size", (0.01, 10.0)),
    "ponos": ("max_step_size", (0.05, 10.0)),
    "adam_sls_momentum": ("b1", (0.1, 0.9)),
    "salsa": ("c", (0.3, 0.7)),
    "stochastic_lbfgs": ("c", (0.1, 0.9)),
    "heavy_ball": ("momentum", (0.1, 0.6)),
    "accelerated_search": ("strong_convexity", (0.5, 2.0)),
    "ivon": ("learning_rate", (0.1, 0.5)),
    "iblr": ("learning_rate", (0.1, 0.5)),
    "lbfgs": ("c2", (0.1, 0.9)),
    "sign_descent": ("learning_rate", (0.01, 0.1)),
    "prox_sgd": ("c", (0.1, 0.9)),
    "owl_qn": ("c", (1e-4, 0.9)),
    "spectral": ("max_step_size", (0.01, 10.0)),
    "sag": ("l2", (0.1, 5.0)),
}


@pytest.mark.slow
@programs("sls", "adam_sls_momentum")
def test_vmap_over_a_hyperparameter_equals_separate_runs(name):
    key, numbers = HYPERPARAMETERS[name]
    case, params = RULES[name], quadratic_params()

    def train(number):
        optimizer = case.make(**{key: number})
        step = optaxls.make_step(quadratic, optimizer)

        def body(carry, _):
            result = step(*carry)
            return (result.params, result.opt_state), result.metrics["num_trials"]

        (end, _), trials = jax.lax.scan(
            body, (params, optimizer.init(params)), length=3
        )
        return end, trials

    ends, trials = jax.jit(jax.vmap(train))(jnp.array(numbers))
    alone = jax.jit(train)
    for index, number in enumerate(numbers):
        wanted, counted = alone(jnp.array(number))
        end = jax.tree.map(lambda leaf, index=index: leaf[index], ends)
        chex.assert_trees_all_close(end, wanted, rtol=2e-3, atol=2e-4)
        assert trials[index].tolist() == counted.tolist()
    assert not np.allclose(ends["b"][0], ends["b"][1], rtol=1e-2)


# Params of every kind.

Z = np.array([1.0 + 2.0j, -0.5 + 0.3j], np.complex64)


def complex_loss(z):
    """Curvatures 1 and 4 around 1 + 1j and 0, with a coupling."""
    bowl = 0.5 * jnp.abs(z[0] - (1 + 1j)) ** 2 + 2.0 * jnp.abs(z[1]) ** 2
    return bowl + 0.3 * jnp.real(z[0] * jnp.conj(z[1]) * (1 + 2j)) + 1.0


def stacked_loss(parts):
    return complex_loss(parts[0] + 1j * parts[1])


# A step size for all coordinates: the complex plane is two real axes.
ISOTROPIC = [name for name, case in ALIASES.items() if "adam" not in name]
ISOTROPIC = [n for n in ISOTROPIC if n[:3] in ("sls", "sps", "pon")]


@pytest.mark.slow
@rows("sls", "sps", "ponos", among=ISOTROPIC)
def test_complex_params_move_as_their_real_and_imaginary_parts(name):
    optimizer = RULES[name].make()
    parts = jnp.stack([jnp.array(Z.real), jnp.array(Z.imag)])
    results = trajectory(complex_loss, optimizer, jnp.array(Z), 3)
    stacked = trajectory(stacked_loss, optimizer, parts, 3)
    for found, wanted in zip(results[1:], stacked[1:], strict=True):
        assert found.params.dtype == jnp.complex64
        whole = wanted.params[0] + 1j * wanted.params[1]
        np.testing.assert_allclose(found.params, whole, rtol=1e-4, atol=1e-5)
        for key in ("step_size", "slope", "value"):
            number = float(wanted.metrics[key])
            assert float(found.metrics[key]) == pytest.approx(number, rel=1e-4)
        assert found.metrics["num_trials"] == wanted.metrics["num_trials"]


PLANE = [name for name in ALIASES if name not in ISOTROPIC]


@pytest.mark.slow
@rows("adam_sls_momentum", "auto", among=PLANE)
def test_preconditioned_rules_descend_in_complex_params(name):
    """Their second moment is that of the modulus, so the plane is one coordinate."""
    results = trajectory(complex_loss, RULES[name].make(), jnp.array(Z), 5)
    assert results[-1].params.dtype == jnp.complex64
    assert results[1].metrics["slope"] < 0
    # The least value of the loss is below 1.
    start = float(complex_loss(jnp.array(Z)))
    assert float(complex_loss(results[-1].params)) < start - 0.05


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    """Leaves of four dtypes, one None."""

    kernel: Any
    scale: Any
    offset: Any
    table: Any
    bias: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    """A dataclass in a dataclass, and metadata that is no leaf."""

    layer: Layer
    head: Any
    name: str = dataclasses.field(default="model", metadata={"static": True})


def mixed_model():
    return Model(
        Layer(
            kernel=jnp.array([[1.0, -2.0], [0.5, 1.0]], jnp.bfloat16),
            scale=jnp.array(1.5, jnp.float32),
            offset=jnp.array([0.5, -0.5], jnp.float64),
            table=jnp.array([1, 0], jnp.int8),
        ),
        head=(jnp.array([2.0, 1.0], jnp.float32), None, {}),
    )


def mixed_loss(model):
    hidden = model.layer.kernel.astype(jnp.float64)[model.layer.table]
    hidden = hidden * model.layer.scale + model.layer.offset
    return 0.5 * jnp.sum(hidden**2) + 0.5 * jnp.sum(model.head[0] ** 2)


@pytest.mark.slow
@programs("sps", "ponos", "adam_sls_momentum", "auto")
def test_a_nested_dataclass_of_mixed_dtypes(name):
    """bf16, f32, f64, a frozen int8 and None: each leaf keeps its dtype, also in the
    state, and what can be trained is."""
    with jax.enable_x64(True):
        model, optimizer = mixed_model(), RULES[name].make()
        results = trajectory(mixed_loss, optimizer, model, 3, jax.jit)
        for result in results[1:]:
            assert types(result.params) == types(model)
            assert types(result.opt_state) == types(results[0].opt_state)
            assert result.params.layer.table.tolist() == [1, 0]
            assert result.params.layer.bias is None and result.params.name == "model"
            assert result.metrics["step_size"].dtype == jnp.float64
        assert mixed_loss(results[-1].params) < mixed_loss(model)
        moved = jax.tree.map(
            lambda old, new: bool(jnp.any(old != new)), model, result.params
        )
        assert jax.tree.leaves(moved) == [True, True, True, False, True]


@pytest.mark.slow
@every_row
def test_make_step_on_an_empty_tree_makes_no_step(name):
    result = trajectory(lambda params: jnp.array(1.0), RULES[name].make(), {}, 1)[1]
    assert result.params == {}
    assert result.metrics["step_size"] == 0 and not result.metrics["accepted"]
    assert result.metrics["num_trials"] == 0


# States.

# What the docstrings promise under "Cost", in copies of the params.
COPIES = dict.fromkeys(RULES, 0) | {
    "auto": 4,
    "turned_auto": 4,
    "spectral": 2,
    "secant": 2,
    "sls_polyak": 1,
    "sls_nesterov": 1,
    "adam_sls": 1,
    "adam_sls_momentum": 2,
    "amsgrad_sls_heavy_ball": 3,
    "adam_sps": 1,
    "adam_ponos": 1,
    "salsa": 2,
    "salsa_ungated": 2,
    "ivon": 2,
    "ivon_searched": 2,
    "sign_descent": 1,
    "accelerated_sgd": 2,
    # The gradient that the search found, and two memories.
    "lbfgs": 3,
    "accelerated_search": 2,
    "heavy_ball": 1,
    "nesterov": 1,
    "plane_search": 1,
    "multidimensional": 1,
    "prox_adam": 2,
    # w, besides the y that is trained.
    "fista": 1,
    "projected_auto": 4,
    "owl_qn": 3,
    "two_metric": 3,
    "pqn": 3,
    # The last params and gradient, and the gradient that the search found.
    "spg": 3,
    # Two memories, each with an axis for the pairs in front.
    "stochastic_lbfgs": 2,
    # The table, with an axis for the functions in front, and two sums of it.
    "sag": 3,
    "svrg": 2,
}


@every_row
def test_map_params_finds_the_copies_of_the_params_and_nothing_else(name):
    optimizer, params = RULES[name].make(), quadratic_params()
    state = optimizer.init(params)
    marked = optax.tree.map_params(
        optimizer,
        lambda leaf, like: like.shape in (leaf.shape, leaf.shape[1:]),
        state,
        params,
        transform_non_params=lambda leaf: None,
    )
    found = jax.tree.leaves(marked)
    assert found == [True] * (COPIES[name] * len(params))
    scalars = optax.tree.map_params(optimizer, lambda leaf: None, state)
    # The losses in spectral's window, a product for each pair of L-BFGS, what was seen
    # of each function of a sum, a key, and the factor of a precision.
    remembering = ("stochastic_lbfgs", "owl_qn", "two_metric", "pqn", "spg")
    most = {"spectral": 4, "lbfgs": 4, "sag": 3, "svrg": 3, "von": 9, "iblr": 9}
    most |= {"ivon": 2, "ivon_searched": 2} | dict.fromkeys(remembering, 10)
    most = most.get(name, 1)
    assert all(leaf.size <= most for leaf in jax.tree.leaves(scalars))


@pytest.mark.slow
@each_kind
def test_a_second_search_in_the_chain_reports_under_its_own_number(name):
    """It searches along the first one's displacement, and leaves its report alone."""
    alone = trajectory(quadratic, RULES[name].make(), quadratic_params(), 1)[1]
    second = optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.constant(0.125), name="second"
    )
    chain = optax.chain(RULES[name].make(), second)
    result = trajectory(quadratic, chain, quadratic_params(), 1)[1]
    for key, number in alone.metrics.items():
        # A direction that is alone in the chain keeps the names of its report.
        found = result.metrics.get(f"{key}_0", result.metrics.get(key))
        assert jnp.array_equal(found, number, equal_nan=True)
    assert result.metrics["step_size_1"] == 0.125
    assert result.metrics["accepted_1"] and result.metrics["num_trials_1"] == 1
    assert "step_size" not in result.metrics
    start = quadratic_params()
    for key in start:
        whole = alone.params[key] - start[key]
        part = result.params[key] - start[key]
        np.testing.assert_allclose(part, whole / 8, rtol=1e-3, atol=1e-6)
