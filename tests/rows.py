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
# Variants of another row: a number, or a part that another row runs through the same
# transformations of JAX. Every promise of a step they keep by rows of their own.
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
    "two_metric",
    "spg",
    "projected_ponos",
    "projected_auto",
}


# And the rows that look like another row to jit, vmap, scan and grad.
ALIKE = VARIANTS | {
    "amsgrad_sls_heavy_ball",
    "adam_sps",
    "flipped",
    "svrg",
    "ivon_searched",
    "two_metric",
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
    """The same without those alike, for what is about JAX and not about the rule."""
    return rows(*quick, among=[name for name in RULES if name not in ALIKE])


# Variants of another row, whose promises are slow tests.
VARIANTS = {"ivon_searched", "iblr"}
every_row = rows(*(name for name in RULES if name not in VARIANTS))
each_kind = rows(*KINDS)
