"""The PoNoS classes: stand-alone, experiment, and under Adam's preconditioner."""

import math
from typing import Any

import optax

import optaxls
from tests.goldens import rules, wrappers
from tests.goldens.replay import Case, Data

EXPERIMENT_NAMES = {
    "c": "c",
    "beta_b": "decrease_factor",
    "zhang_eta": "decay",
    "init_step_size": "initial_step_size",
    "max_eta": "max_step_size",
    "eta_max": "max_step_size",
    "c_step": "polyak_c",
}


def _condition(name: str, c: Any, decay: Any, window: int, epoch: int, data: Any):
    if name == "trueNM":
        return rules.per_sample_window(c, window, epoch, data)
    if name == "zhangNM_armijo" and window > 0:
        return rules.windowed_zhang_hager(c, decay, window)
    conditions = {
        "armijo": lambda: optaxls.armijo(c),
        "NM_armijo": lambda: optaxls.window_armijo(c, max(window, 0) + 1),
        "zhangNM_armijo": lambda: optaxls.zhang_hager(c, decay),
    }
    return conditions[name]()


def _first_step(
    reset: Any,
    steps_per_epoch: Any,
    *,
    polyak_c: Any,
    decrease_factor: Any,
    initial_step_size: Any,
    max_step_size: Any,
):
    """``SlsPolyak``'s averaging modes ("mode_..") and ``Sls``' reset options."""
    polyak = (polyak_c, 0.0, 1e-6, max_step_size)
    return {
        "mode_0": lambda: optaxls.polyak(*polyak),
        "mode_13": lambda: optaxls.polyak(*polyak, memory=decrease_factor),
        "mode_2000": lambda: optaxls.smoothed_polyak(
            polyak_c, 0.0, 1.0, 2.0, steps_per_epoch, 1e-6, max_step_size
        ),
        1: lambda: optaxls.grow(initial_step_size, 2.0, steps_per_epoch),
        11: lambda: optaxls.grow(
            initial_step_size, 2.0, steps_per_epoch, max_step_size
        ),
        2: lambda: optaxls.constant(initial_step_size),
        3: lambda: rules.same_first_order_change(initial_step_size),
        4: lambda: rules.twice_normalised_decrease(
            initial_step_size, polyak_c, max_step_size
        ),
    }[reset]()


def experiment(
    *,
    condition: str,
    reset: Any,
    window: int,
    period: int,
    searches: bool,
    steps_per_epoch: Any,
    epoch: int,
    c: Any = 0.1,
    decay: Any = 1.0,
    polyak_c: Any = 0.2,
    decrease_factor: Any = 0.9,
    initial_step_size: Any = 1.0,
    max_step_size: Any = 10.0,
    data: Data | None = None,
) -> wrappers.Optimizer:
    """The experiment classes ``SlsPolyak`` and ``Sls``, put together from parts."""
    rule = _first_step(
        reset,
        steps_per_epoch,
        polyak_c=polyak_c,
        decrease_factor=decrease_factor,
        initial_step_size=initial_step_size,
        max_step_size=max_step_size,
    )
    if not searches:
        return optax.chain(optax.scale(-1.0), optaxls.scale_by_initial_step(rule))
    gate = optaxls.always()
    if period > 1:
        rule, gate = rules.reuse_between(rule, period), optaxls.every(period)
    search = optaxls.scale_by_line_search(
        _condition(condition, c, decay, window, epoch, data),
        rule,
        optaxls.backtracking(decrease_factor),
        gate=gate,
    )
    return optax.chain(optax.scale(-1.0), search)


def _experiment(config: dict[str, Any], steps_per_epoch: float) -> Case:
    kw, epoch = config["kw"], int(steps_per_epoch)
    default_reset = 0 if config["f"] == "ponos_pol" else 1
    reset = kw.get("averaging_mode", kw.get("reset_option", default_reset))
    if config["f"] == "ponos_pol":
        reset = f"mode_{reset}"
    window = kw.get("NM_window", 10)
    choices = {
        "condition": kw["line_search_fn"],
        "reset": reset,
        "window": epoch if window == "epoch" else window,
        "period": kw.get("sls_every", 1),
        "searches": kw.get("do_line_search", True),
        "epoch": epoch,
    }
    numbers = {
        kw_ours: kw[key] for key, kw_ours in EXPERIMENT_NAMES.items() if key in kw
    }
    numbers["steps_per_epoch"] = steps_per_epoch
    if config["f"] == "ponos_sls":
        numbers.setdefault("polyak_c", 0.1)
    return Case(experiment, numbers, choices, kw["line_search_fn"] == "trueNM")


def _stand_alone(kw: dict[str, Any]) -> Case:
    names = {
        "c": "c",
        "c_p": "polyak_c",
        "delta": "decrease_factor",
        "zhang_xi": "decay",
        "max_eta": "max_step_size",
    }
    numbers = {ours: kw[theirs] for theirs, ours in names.items() if theirs in kw}
    return Case(optaxls.ponos, numbers, {"memory": kw.get("save_backtracks", True)})


def _decrease_test(condition: str, decrease: str, c: Any, b1: float, b2: float):
    """Armijo's or Zhang and Hager's test with one of the reference's measures."""
    test = optaxls.armijo(c) if condition == "armijo" else optaxls.zhang_hager(c)
    if decrease == "grad_norm":
        return rules.measured(test, lambda origin: origin.grad_sqnorm)
    if decrease == "adam":
        return rules.measured(test, lambda origin: origin.direction_sqnorm)
    if decrease == "pp_armijo" and b1:
        return rules.judge_by_preconditioned_norm(test, b2)
    return test  # Along the searched direction both are minus the slope.


def preconditioned(
    *,
    condition: str,
    reset: int,
    decrease: str,
    polyak_norm: str,
    variant: str,
    b1: float,
    steps_per_epoch: Any,
    c: Any = 0.1,
    polyak_c: Any = 0.2,
    decrease_factor: Any = 0.9,
    initial_step_size: Any = 1.0,
    max_step_size: Any = math.inf,
    b2: float = 0.999,
) -> wrappers.Optimizer:
    """PoNoS_prec; with ``b1`` searched along the momentum direction too."""
    first = {
        200: lambda: optaxls.polyak(polyak_c, max_step_size=max_step_size),
        213: lambda: optaxls.polyak(
            polyak_c, max_step_size=max_step_size, memory=decrease_factor
        ),
        2000: lambda: optaxls.smoothed_polyak(
            polyak_c,
            0.0,
            initial_step_size,
            2.0,
            steps_per_epoch,
            max_step_size=max_step_size,
        ),
        20: lambda: optaxls.constant(initial_step_size),
        11: lambda: optaxls.grow(initial_step_size, 2.0, steps_per_epoch, 10.0),
    }[reset]()
    if reset in (2000, 20):
        return optaxls.scale_by_preconditioned_search(
            optaxls.scale_by_initial_step(first), variant=variant, b1=b1, b2=b2
        )
    if polyak_norm == "pp_armijo" and b1:
        first = rules.propose_by_preconditioned_norm(first, b2)
    search = optaxls.scale_by_line_search(
        _decrease_test(condition, decrease, c, b1, b2),
        first,
        optaxls.backtracking(decrease_factor),
    )
    return optaxls.scale_by_preconditioned_search(
        search, variant=variant, b1=b1, b2=b2, search_b1=b1
    )


def _preconditioned(config: dict[str, Any], steps_per_epoch: float) -> Case:
    kw = config["kw"]
    choices = {
        "condition": kw["line_search_fn"],
        "reset": kw["reset_option"],
        "decrease": kw["suff_decr"],
        "polyak_norm": kw.get("pp_norm_method", "pp_armijo"),
        "variant": kw.get("base_opt", "adam"),
        "b1": config["m2"],
    }
    numbers = {ours: kw[key] for key, ours in EXPERIMENT_NAMES.items() if key in kw}
    return Case(preconditioned, numbers | {"steps_per_epoch": steps_per_epoch}, choices)


def case_for(config: dict[str, Any], steps_per_epoch: float) -> Case | str:
    """The optimizer of one configuration of these classes."""
    if config["f"] == "ponos":
        return _stand_alone(config["kw"])
    if config["f"] == "ponos_ada":
        return _preconditioned(config, steps_per_epoch)
    return _experiment(config, steps_per_epoch)
