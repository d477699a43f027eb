"""Rules made of the bare parts that no alias uses: rows of the contract table."""

import optax

import optaxls

Optimizer = optax.GradientTransformationExtraArgs


def _searched(name, condition, initial_step, search, **given) -> Optimizer:
    rule = optaxls.scale_by_line_search(
        condition, initial_step, search, name=name, **given
    )
    return optax.chain(optax.scale(-1.0), rule)


def spectral(*, c: float = 1e-4, max_step_size: float = 1e3) -> Optimizer:
    return _searched(
        "spectral",
        optaxls.window_armijo(c, 4),
        optaxls.barzilai_borwein(0.1, max_step_size=max_step_size),
        optaxls.parallel_candidates(4, 0.5),
    )


def bracketed(*, c: float = 0.5, max_step_size: float = 0.25) -> Optimizer:
    return _searched(
        "bracketed",
        optaxls.armijo(c),
        optaxls.capped(optaxls.constant(1.0), max_step_size),
        optaxls.bracketing(2.0),
        gate=optaxls.first(1),
    )


def smoothed(*, c: float = 0.3, growth: float = 1.2) -> Optimizer:
    return _searched(
        "smoothed",
        optaxls.smoothed_armijo(c, 0.5),
        optaxls.grow(1.0, growth),
        optaxls.adaptive_backtracking(0.9),
        gate=optaxls.every(2),
        path=optaxls.along_direction,
    )


def guarded(*, polyak_c: float = 1.0, growth: float = 2.0) -> Optimizer:
    return _searched(
        "guarded",
        optaxls.always_accept(),
        optaxls.smoothed_polyak(polyak_c, growth=growth),
        optaxls.backtracking(0.5),
    )


def own_condition(*, factor: float = 0.9) -> Optimizer:
    return _searched(
        "own_condition",
        optaxls.stateless_condition(
            lambda origin, trial: trial.value - factor * origin.value
        ),
        optaxls.polyak(0.1, max_step_size=10.0),
        optaxls.backtracking(0.5),
    )


def secant(*, initial_step_size: float = 0.1) -> Optimizer:
    rule = optaxls.barzilai_borwein(initial_step_size)
    return optax.chain(
        optax.scale(-1.0), optaxls.scale_by_initial_step(rule, name="secant")
    )
