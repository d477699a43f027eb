"""Every number out of range: a ValueError with its name, its value and the range."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import optaxls

LOSS_BOUND = ("lower_bound", [math.nan, math.inf, "0", None], "(-inf, inf)")
POSITIVE = [0, -1, 0.0, math.nan, math.inf, "1", None, True]
CAP = [0, -1.0, math.nan, "1", None]
OPEN = [0, 1, -0.5, 1.5, math.nan, "0.5", None, True]
WEIGHT = [-0.1, 1, 1.0, math.nan, "0", None]
COUNT = [0, -1, 1.5, 2.0, math.nan, "3", None, True]
EPS = [-1e-9, math.inf, math.nan, None]
GROWTH = [0.99, 0, -1, math.inf, math.nan, "2"]

C = ("c", OPEN, "(0, 1)")
DECREASE = ("decrease_factor", OPEN, "(0, 1)")
TRIALS = ("max_trials", COUNT, ">= 1")
LARGEST = ("max_step_size", CAP, "(0, inf]")
FIRST = ("initial_step_size", POSITIVE, "(0, inf)")
EPOCH = ("steps_per_epoch", POSITIVE, "(0, inf)")
RATE = ("growth", GROWTH, "[1, inf)")
SMALLEST = ("min_step_size", EPS, "[0, inf)")
POLYAK_C = ("polyak_c", POSITIVE, "(0, inf)")
B1, B2 = ("b1", WEIGHT, "[0, 1)"), ("b2", WEIGHT, "[0, 1)")
RESET = ("reset", ["Grow", "", 1, None], "'keep'")
VARIANT = ("variant", ["Adam", "", None, 3], "'")
FALLBACK = ("fallback_step", [-1e-6, math.inf, math.nan, "0"], "[0, inf)")
DAMPING = ("damping", EPS, "[0, inf)")
CG = ("max_cg_steps", COUNT, ">= 1")
MEMORY = ("memory_size", COUNT, ">= 1")
FORCING = ("forcing", WEIGHT, "[0, 1)")
FUNCTIONS = ("num_functions", COUNT, ">= 1")
FINITE_SUM = [
    FUNCTIONS,
    ("l2", EPS, "[0, inf)"),
    ("lipschitz", POSITIVE[:4] + ["1", True], "(0, inf)"),
    ("initial_lipschitz", POSITIVE, "(0, inf)"),
]
THIRD = ("step_fraction", [0, -1, 1.5, math.nan, "1"], "(0, 1]")
TABLE = ("max_bytes", [0, -1, math.nan, "1"], "(0, inf]")
GROWING = [EPOCH, RATE, FIRST, LARGEST, RESET]

# None finds these itself.
_GIVEN = [0, -1, 0.0, math.nan, math.inf, "1", True]
HINDSIGHT = [
    ("rate", POSITIVE, "(0, inf)"),
    ("tolerance", [0, 0.3, -0.1, math.nan, "0.1", True], "(0, 0.25]"),
    ("decay", WEIGHT, "[0, 1)"),
]
NEWTON = [DAMPING, C, DECREASE, TRIALS, EPOCH, RATE, RESET, LARGEST]

_ip = functools.partial
_constant = optaxls.constant(1.0)

NOT_WEIGHTS = [-1.0, math.nan, math.inf, "1"]

RULES = {
    "armijo": (optaxls.armijo, [C]),
    "goldstein": (optaxls.goldstein, [("c", [0, 0.5, 0.7, math.nan], "(0, 0.5)")]),
    "zhang_hager": (
        optaxls.zhang_hager,
        [C, ("decay", [-0.1, 1.1, math.nan, "1"], "[0, 1]")],
    ),
    "window_armijo": (optaxls.window_armijo, [C, ("window", COUNT, ">= 1")]),
    "smoothed_armijo": (optaxls.smoothed_armijo, [C, ("decay", WEIGHT, "[0, 1)")]),
    "constant": (optaxls.constant, [("step_size", POSITIVE, "(0, inf)")]),
    "grow": (optaxls.grow, [FIRST, RATE, EPOCH, LARGEST]),
    "polyak": (
        optaxls.polyak,
        [
            POLYAK_C,
            LOSS_BOUND,
            SMALLEST,
            LARGEST,
            ("eps", EPS, "[0, inf)"),
            ("memory", [0, 1, -1, math.nan, "x"], "(0, 1)"),
        ],
    ),
    "smoothed_polyak": (
        optaxls.smoothed_polyak,
        [
            POLYAK_C,
            LOSS_BOUND,
            ("initial_step_size", CAP, "(0, inf]"),
            RATE,
            EPOCH,
            SMALLEST,
            LARGEST,
            ("eps", EPS, "[0, inf)"),
        ],
    ),
    "barzilai_borwein": (
        optaxls.barzilai_borwein,
        [FIRST, ("min_step_size", POSITIVE, "(0, inf)")]
        + [("max_step_size", POSITIVE, "(0, inf)")],
    ),
    "hindsight": (
        optaxls.hindsight,
        [*HINDSIGHT, ("initial_step_size", _GIVEN, "(0, inf)")]
        + [("max_relative_length", _GIVEN, "(0, inf)")],
    ),
    "auto": (optaxls.auto, [*HINDSIGHT, ("weight_decay", EPS, "[0, inf)")]),
    "capped": (_ip(optaxls.capped, _constant), [LARGEST]),
    "backtracking": (
        optaxls.backtracking,
        [DECREASE, ("increase_factor", GROWTH, "[1, inf)"), TRIALS, LARGEST],
    ),
    "adaptive_backtracking": (
        optaxls.adaptive_backtracking,
        [DECREASE, TRIALS, LARGEST, ("min_factor", OPEN, "(0, 1)")],
    ),
    "parallel_candidates": (
        optaxls.parallel_candidates,
        [("num_candidates", COUNT, ">= 1"), DECREASE, TRIALS],
    ),
    "bracketing": (
        optaxls.bracketing,
        [("factor", [1, 1.0, 0.5, math.inf, math.nan, "2"], "(1, inf)"), TRIALS],
    ),
    "interpolating": (
        optaxls.interpolating,
        [TRIALS, ("max_growth", [1, 0.5, math.inf, math.nan, "2"], "(1, inf)")],
    ),
    "wolfe": (
        optaxls.wolfe,
        [("c1", OPEN, "(0, 1)"), ("c2", [*OPEN, 1e-5], "1)")],
    ),
    "first": (optaxls.first, [("n", COUNT, ">= 1")]),
    "every": (optaxls.every, [("n", COUNT, ">= 1")]),
    "when_unsteady": (
        optaxls.when_unsteady,
        [
            ("max_period", COUNT, ">= 1"),
            ("warmup", [-1, 0.5, None], ">= 0"),
            ("slow_decay", WEIGHT, "[0, 1)"),
            ("fast_decay", WEIGHT, "[0, 1)"),
        ],
    ),
    "scale_by_line_search": (
        _ip(optaxls.scale_by_line_search, optaxls.armijo(), _constant),
        [FALLBACK],
    ),
    "scale_by_extragradient": (
        _ip(optaxls.scale_by_extragradient, _constant),
        [C, FALLBACK],
    ),
    "scale_by_preconditioned_search": (
        _ip(
            optaxls.scale_by_preconditioned_search,
            optaxls.scale_by_initial_step(_constant),
        ),
        [B1, B2, VARIANT, ("eps", [0, -1, math.nan], "(0, inf)")]
        + [("first_count", [-1, 0.5], ">= 0"), ("search_b1", [0.5, 1.0], "0.9")],
    ),
    "sls": (optaxls.sls, [C, DECREASE, TRIALS, *GROWING]),
    "sls_goldstein": (
        optaxls.sls_goldstein,
        [("c", [0, 0.5, 1], "(0, 0.5)"), DECREASE, *GROWING]
        + [("increase_factor", GROWTH, "[1, inf)")],
    ),
    "sls_momentum": (
        optaxls.sls_momentum,
        [C, DECREASE, FIRST, RESET, VARIANT, ("momentum", WEIGHT, "[0, 1)")]
        + [("reset", ["grow"], "'restart'")],
    ),
    "sls_extragradient": (optaxls.sls_extragradient, [C, DECREASE, TRIALS, *GROWING]),
    "sps": (
        optaxls.sps,
        [("c", POSITIVE, "(0, inf)"), LOSS_BOUND, LARGEST]
        + [("eps", EPS, "[0, inf)"), ("growth", GROWTH[:-1], "[1, inf)")],
    ),
    "ponos": (
        optaxls.ponos,
        [C, POLYAK_C, DECREASE, ("decay", [-0.1, 1.1], "[0, 1]"), SMALLEST, LARGEST]
        + [LOSS_BOUND, TRIALS],
    ),
    "adam_sls": (
        optaxls.adam_sls,
        [C, B1, B2, DECREASE, VARIANT, *GROWING]
        + [("momentum", ["polyak", 0.9], "'heavy_ball'")],
    ),
    "adam_sps": (
        optaxls.adam_sps,
        [("c", POSITIVE, "(0, inf)"), B1, B2, VARIANT, LOSS_BOUND, LARGEST],
    ),
    "adam_ponos": (
        optaxls.adam_ponos,
        [C, B1, B2, POLYAK_C, DECREASE, SMALLEST, LARGEST, LOSS_BOUND, TRIALS, VARIANT]
        + [("search_b1", [0.5], "0.9"), ("decay", [-1, 2], "[0, 1]")],
    ),
    "salsa": (
        optaxls.salsa,
        [C, B1, B2, ("decay", WEIGHT, "[0, 1)"), RATE, DECREASE, FIRST],
    ),
    "sign_descent": (
        _ip(optaxls.sign_descent, momentum=0.5),
        [("learning_rate", POSITIVE, "(0, inf)")],
    ),
    "sign_descent_momentum": (
        _ip(optaxls.sign_descent, 0.1),
        [("momentum", WEIGHT, "[0, 1)")],
    ),
    "scale_by_newton": (optaxls.scale_by_newton, [DAMPING]),
    "scale_by_hessian_free": (optaxls.scale_by_hessian_free, [DAMPING, CG, FORCING]),
    "lbfgs_pairs": (optaxls.lbfgs_pairs, [MEMORY]),
    "newton": (optaxls.newton, NEWTON),
    "hessian_free": (optaxls.hessian_free, [CG, FORCING, *NEWTON]),
    "adapted_damping": (
        optaxls.adapted_damping,
        [("initial_damping", POSITIVE, "(0, inf)"), ("min_damping", POSITIVE, "(0, ")]
        + [("factor", [1, 1.0, 0.5, math.inf, math.nan], "(1, inf)")]
        + [("max_damping", POSITIVE, "(0, inf)")],
    ),
    "growing_batches": (
        _ip(optaxls.growing_batches, 5, dataset_size=9),
        [("growth", GROWTH, "[1, inf)"), DAMPING],
    ),
    "growing_batches_sizes": (
        _ip(optaxls.growing_batches, batch_size=5, dataset_size=9),
        [("batch_size", COUNT, ">= 1"), ("dataset_size", COUNT, ">= 1")],
    ),
    "lbfgs": (optaxls.lbfgs, [MEMORY, ("c1", OPEN, "(0, 1)"), TRIALS]),
    "minimize": (
        _ip(optaxls.minimize, jnp.sum, jnp.ones(2), optaxls.lbfgs()),
        [("max_steps", COUNT, ">= 1"), ("tolerance", EPS, "[0, inf)")],
    ),
    "stochastic_lbfgs": (optaxls.stochastic_lbfgs, [MEMORY, C, DECREASE, TRIALS]),
    "accelerated_sgd": (
        _ip(
            optaxls.accelerated_sgd,
            growth_constant=2.0,
            smoothness=1.0,
            strong_convexity=0.1,
        ),
        [
            ("growth_constant", GROWTH, "[1, inf)"),
            ("smoothness", [0, -1.0, math.nan, math.inf, "1", True], "(0, inf)"),
            ("strong_convexity", EPS, "[0, inf)"),
            ("restart", ["gradient", None, 2], "False"),
        ],
    ),
    "sag": (_ip(optaxls.sag, num_functions=3), [*FINITE_SUM, TABLE]),
    "saga": (_ip(optaxls.saga, num_functions=3), [*FINITE_SUM, THIRD, TABLE]),
    "svrg": (
        _ip(optaxls.svrg, num_functions=3),
        [*FINITE_SUM, THIRD, ("steps_per_snapshot", [0, 1.5, "2", True], ">= 1")],
    ),
    "loopless_svrg": (
        _ip(optaxls.loopless_svrg, num_functions=3),
        [*FINITE_SUM, THIRD, ("seed", [-1, 0.5, None], ">= 0")]
        + [("snapshot_probability", [0, 1.5, math.nan, "1"], "(0, 1]")],
    ),
    "table_bytes": (_ip(optaxls.table_bytes, jnp.ones(2)), [FUNCTIONS]),
    "scale_by_plane": (optaxls.scale_by_plane, [("max_newton_steps", COUNT, ">= 1")]),
    "multidimensional_backtracking": (
        optaxls.multidimensional_backtracking,
        [FIRST, RATE, DECREASE, TRIALS],
    ),
    "heavy_ball": (optaxls.heavy_ball, [("momentum", WEIGHT, "[0, 1)")]),
    "nesterov": (optaxls.nesterov, [("momentum", WEIGHT, "[0, 1)")]),
    "accelerated_search": (
        _ip(optaxls.accelerated_sgd, growth_constant=2.0, smoothness=None),
        [FIRST, DECREASE, RATE],
    ),
    "prox_sgd": (
        _ip(optaxls.prox_sgd, optaxls.prox.l1(0.1), steps_per_epoch=1.0),
        [C, DECREASE, RATE, FIRST, TRIALS],
    ),
    "prox_adam": (
        _ip(optaxls.prox_adam, optaxls.prox.l1(0.1), steps_per_epoch=1.0),
        [C, B1, B2, DECREASE, RATE, FIRST],
    ),
    "fista": (
        _ip(optaxls.fista, optaxls.prox.l1(0.1)),
        [FIRST, DECREASE, TRIALS, ("slack", GROWTH, "[1, inf)")],
    ),
    "owl_qn": (
        _ip(optaxls.owl_qn, weight=0.1),
        [("weight", NOT_WEIGHTS, "[0, inf)"), MEMORY, C, TRIALS],
    ),
    "two_metric": (_ip(optaxls.two_metric, 0.0, 1.0), [MEMORY, C, TRIALS]),
    "spg": (
        _ip(optaxls.spg, optaxls.prox.nonnegative()),
        [C, TRIALS, FIRST, ("window", COUNT, ">= 1")],
    ),
    "pqn": (
        _ip(optaxls.pqn, optaxls.prox.nonnegative()),
        [MEMORY, C, TRIALS, ("inner_steps", COUNT, ">= 1")],
    ),
    "grow_when_slack": (
        optaxls.grow_when_slack,
        [FIRST, RATE, ("slack", GROWTH, "[1, inf)")],
    ),
    "prox.l1": (optaxls.prox.l1, [("weight", NOT_WEIGHTS, "[0, inf)")]),
    "prox.l2": (optaxls.prox.l2, [("weight", NOT_WEIGHTS, "[0, inf)")]),
    "prox.nuclear": (optaxls.prox.nuclear, [("weight", NOT_WEIGHTS, "[0, inf)")]),
    "prox.group_l2": (
        _ip(optaxls.prox.group_l2, axis=0),
        [("weight", NOT_WEIGHTS, "[0, inf)")],
    ),
    "prox.l1_ball": (
        optaxls.prox.l1_ball,
        [("radius", [0, -1.0, math.nan, "1"], "(0, inf]")],
    ),
    "accumulate": (
        _ip(optaxls.accumulate, lambda params: 0.0),
        [("num_micro_batches", COUNT, ">= 1")],
    ),
}
NEEDS_EPOCH = {"sls", "sls_goldstein", "sls_extragradient", "adam_sls", "sps"}


@pytest.mark.parametrize("rule", RULES)
def test_a_value_out_of_range_is_named(rule):
    factory, checks = RULES[rule]
    arguments = {"steps_per_epoch": 1.0} if rule in NEEDS_EPOCH else {}
    for name, values, allowed in checks:
        for value in values:
            with pytest.raises(ValueError) as caught:
                factory(**(arguments | {name: value}))
            message = str(caught.value)
            assert message.startswith(f"{name} must")
            assert repr(value) in message and allowed in message


def test_smoothed_sps_says_that_it_needs_an_epoch():
    for factory in (optaxls.sps, optaxls.adam_sps):
        with pytest.raises(ValueError, match="steps_per_epoch.*growth = 2.0"):
            factory(growth=2.0)


@pytest.mark.parametrize("value", [2.0, np.float32(2.0), np.float64(2.0), np.int64(2)])
def test_numpy_numbers_are_checked_too(value):
    with pytest.raises(ValueError, match="c must lie in"):
        optaxls.armijo(value)


def test_arrays_are_not_checked_since_tracers_cannot_be():
    array: Any = jnp.array(2.0)
    assert optaxls.armijo(array).init(array) == ()
    with pytest.raises(ValueError, match="c must lie in"):
        optaxls.armijo(2.0)


BOUNDARIES = [
    (optaxls.zhang_hager, {"decay": 0}),
    (optaxls.zhang_hager, {"decay": 1}),
    (optaxls.grow, {"growth": 1, "max_step_size": math.inf}),
    (optaxls.smoothed_armijo, {"decay": 0}),
    (optaxls.polyak, {"min_step_size": 0, "eps": 0, "lower_bound": -1e9}),
    (optaxls.smoothed_polyak, {"initial_step_size": math.inf}),
    (optaxls.when_unsteady, {"warmup": 0, "max_period": 1}),
    (optaxls.backtracking, {"max_trials": np.int32(1), "increase_factor": 1}),
    (optaxls.sign_descent, {"learning_rate": 1e-30, "momentum": 0}),
]


@pytest.mark.parametrize("factory,arguments", BOUNDARIES)
def test_closed_ends_are_allowed(factory, arguments):
    assert isinstance(factory(**arguments), tuple) or callable(factory(**arguments))
