"""Rows of the contract for what is fast under interpolation or on full batches."""

import optaxls
from tests.cases import SEARCHED, Case, case

_growth = {"growth_constant": 1.0, "strong_convexity": 1.0}

ROWS: dict[str, Case] = {
    "accelerated_sgd": case(
        optaxls.accelerated_sgd, ("value", "grad"), smoothness=4.0, **_growth
    ),
    "accelerated_search": case(
        optaxls.accelerated_sgd, SEARCHED, smoothness=None, restart=True, **_growth
    ),
}
