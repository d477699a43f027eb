"""Rows of the contract for what is fast under interpolation or on full batches."""

import optax

import optaxls
from tests.cases import SEARCHED, Case, case


def heavy_ball(
    *, momentum: float = 0.5, growth: float = 1.1
) -> optax.GradientTransformationExtraArgs:
    search = optaxls.scale_by_line_search(
        optaxls.armijo(0.5), optaxls.grow(1.0, growth), name="heavy_ball"
    )
    return optax.chain(optax.scale(-1.0), search, optaxls.heavy_ball(momentum))


def nesterov(*, step_size: float = 0.1) -> optax.GradientTransformationExtraArgs:
    size = optaxls.scale_by_initial_step(optaxls.constant(step_size), name="nesterov")
    return optax.chain(optax.scale(-1.0), size, optaxls.nesterov(0.5))


def flipped(*, c: float = 0.1) -> optax.GradientTransformationExtraArgs:
    search = optaxls.scale_by_line_search(
        optaxls.armijo(c), optaxls.grow(1.0, 1.1), uphill="flip", name="flipped"
    )
    return optax.chain(optax.scale(-1.0), search)


def scale_by_plane(*, c: float = 1e-4) -> optax.GradientTransformationExtraArgs:
    search = optaxls.scale_by_line_search(
        optaxls.armijo(c),
        optaxls.constant(1.0),
        optaxls.backtracking(0.5),
        name="scale_by_plane",
    )
    return optax.chain(optax.scale(-1.0), optaxls.scale_by_plane(), search)


_growth = {"growth_constant": 1.0, "strong_convexity": 1.0}

ROWS: dict[str, Case] = {
    "accelerated_sgd": case(
        optaxls.accelerated_sgd, ("value", "grad"), smoothness=4.0, **_growth
    ),
    "heavy_ball": case(heavy_ball, SEARCHED, True, growth=1.1),
    "nesterov": case(nesterov, ("value",), True),
    "flipped": case(flipped, SEARCHED),
    "multidimensional": case(optaxls.multidimensional_backtracking, SEARCHED),
    "plane_search": case(scale_by_plane, SEARCHED),
    "accelerated_search": case(
        optaxls.accelerated_sgd,
        SEARCHED,
        smoothness=None,
        restart=True,
        growth=1.1,
        **_growth,
    ),
}
