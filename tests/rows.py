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
# One of each family: what jit, vmap, scan and grad make of its step. CI runs the first
# five, and those that a test wants quick; the others are long.
IN_CI = ("ponos", "auto", "stochastic_lbfgs", "sag", "prox_sgd")
FAMILIES = dict.fromkeys(
    (
        *IN_CI,
        *KINDS,
        "lbfgs",
        "heavy_ball",
        "accelerated_search",
        "owl_qn",
        "ivon",
        "iblr",
    )
)
# The same optimizer as another row, by other arguments: long tests.
SETTINGS = {
    "sls_keep",
    "sls_restart",
    "sls_polyak",
    "sps_smoothed",
    "ponos_forgetful",
    "salsa_ungated",
    "own_condition",
    "guarded",
    "hessian_free_adapted",
    "projected_ponos",
    "projected_auto",
}
# And optimizers whose step is built like that of another row: slow tests.
VARIANTS = SETTINGS | {
    "adam_sls",
    "nesterov",
    "accelerated_sgd",
    "prox_adam",
    "svrg",
    "ivon_searched",
    "von",
    "iblr",
    "pqn",
}


def rows(*quick: str, among=RULES, long=SETTINGS):
    """Parametrises ``name``: those named are quick, all others slow or long."""
    assert set(quick) <= set(among)

    def marks(name: str):
        if name in quick:
            return ()
        return pytest.mark.long if name in long else pytest.mark.slow

    params = [pytest.param(name, marks=marks(name)) for name in among]
    return pytest.mark.parametrize("name", params)


def programs(*quick: str):
    """A row of each family, for what is about JAX and not about the rule."""
    return rows(*quick, among=FAMILIES, long=set(FAMILIES) - set(IN_CI))


every_row = rows(*(name for name in RULES if name not in VARIANTS))
each_kind = programs(*KINDS)
