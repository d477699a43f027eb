"""The rows of the contract's table that a test runs through.

A promise that costs a compiled program for each optimizer is tested quickly for one
optimizer of each kind, and for all the others by the slow tests.
"""

import pytest

from tests.problems import RULES

# Searched and grown; non-monotone; untested; a gradient for a loss; two directions;
# gated; in wrappers, searched once; no search at all; a window and parallel trials.
KINDS = (
    "sls",
    "ponos",
    "sps",
    "sls_extragradient",
    "adam_sls_momentum",
    "salsa",
    "auto",
    "sign_descent",
    "spectral",
)
# One of each family: what jit, vmap, scan and grad make of its step.
FAMILIES = (
    *KINDS,
    "lbfgs",
    "stochastic_lbfgs",
    "heavy_ball",
    "accelerated_search",
    "sag",
    "ivon",
    "prox_sgd",
    "owl_qn",
)
# Variants of another row: by a number, or by a part that another row has. Every promise
# that costs a program of their own is tested slowly.
VARIANTS = {
    "sls_keep",
    "sls_restart",
    "sls_polyak",
    "sps_smoothed",
    "ponos_forgetful",
    "adam_sls",
    "salsa_ungated",
    "own_condition",
    "guarded",
    "hessian_free_adapted",
    "nesterov",
    "accelerated_sgd",
    "prox_adam",
    "projected_ponos",
    "projected_auto",
    "svrg",
    "ivon_searched",
    "iblr",
    "pqn",
}


def rows(*quick: str, among=RULES):
    """Parametrises ``name``: those named are quick, all others slow."""
    assert set(quick) <= set(among)
    params = [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow)
        for name in among
    ]
    return pytest.mark.parametrize("name", params)


def programs(*quick: str):
    """A row of each family, for what is about JAX and not about the rule."""
    return rows(*quick, among=FAMILIES)


every_row = rows(*(name for name in RULES if name not in VARIANTS))
each_kind = rows(*KINDS)
each_family = programs(*KINDS)
