"""From a reference's configuration to our optimizer.

``case_for(config, steps_per_epoch)`` gives the optimizer as a ``Case``, or a sentence
that says why the configuration is not covered.
"""

import math
from typing import Any

import optax

import optaxls
from tests.goldens import ponos_configs, rules, wrappers
from tests.goldens.replay import Case

RESET = {0: "keep", 1: "grow", 2: "restart"}


def _renamed(kw: dict[str, Any], names: dict[str, str]) -> dict[str, float]:
    return {ours: kw[theirs] for theirs, ours in names.items() if theirs in kw}


def _sls(kw: dict[str, Any], cls: str, steps_per_epoch: float) -> Case:
    names = {
        "c": "c",
        "beta_b": "decrease_factor",
        "gamma": "growth",
        "init_step_size": "initial_step_size",
        "momentum": "momentum",
        "beta_f": "increase_factor",
        "eta_max": "max_step_size",
    }
    numbers = _renamed(kw, names)
    if cls == "SlsAcc":
        reset = RESET[kw.get("reset_option", 0)]
        choices = {"variant": kw["acceleration_method"], "reset": reset}
        return Case(optaxls.sls_momentum, numbers, choices)
    numbers["steps_per_epoch"] = steps_per_epoch
    choices = {"reset": RESET[kw.get("reset_option", 1)]}
    if cls == "SlsEg":
        return Case(optaxls.sls_extragradient, numbers, choices)
    if kw.get("line_search_fn") == "goldstein":
        if not kw.get("bound_step_size", True):
            numbers["max_step_size"] = math.inf
        return Case(optaxls.sls_goldstein, numbers, choices)
    return Case(optaxls.sls, numbers, choices)


def moving_bound_sps(c: Any, steps_per_epoch: Any) -> wrappers.Optimizer:
    return wrappers.with_moving_bound(optaxls.sps(c=c, eps=0.0), steps_per_epoch)


def centralized_sps(**kwargs: Any) -> wrappers.Optimizer:
    return optax.chain(optax.centralize(), optaxls.sps(**kwargs))


def _sps(config: dict[str, Any], steps_per_epoch: float) -> Case:
    kw, ada = config["kw"], config["f"] == "ada_sps"
    mode = kw.get("adapt_flag", "smooth_iter")
    numbers = {"c": kw.get("c", 0.1 if ada else 0.5)}
    if mode == "moving_lb":
        return Case(moving_bound_sps, numbers | {"steps_per_epoch": steps_per_epoch})
    numbers["eps"] = 0.0 if ada else kw.get("eps", 1e-8)
    if mode == "smooth_iter":  # Ignores f* and the bound.
        numbers["growth"] = kw.get("gamma", 2.0)
        numbers["initial_step_size"] = kw.get("init_step_size", 1.0)
        numbers["steps_per_epoch"] = steps_per_epoch
    else:
        numbers["lower_bound"] = config.get("fstar", 0.0)
    eta_max = kw.get("eta_max", 10.0 if ada else None)
    if mode == "constant" and eta_max is not None:
        numbers["max_step_size"] = eta_max
    centralizes = kw.get("centralize_grad") or kw.get("centralize_grad_norm")
    return Case(centralized_sps if centralizes else optaxls.sps, numbers)


def adam_sls_each_epoch(
    *, initial_step_size, steps_per_epoch, c, decrease_factor, b2, variant
) -> wrappers.Optimizer:
    """AdaSLS with its reset 3."""
    rule = rules.restart_each_epoch(initial_step_size, steps_per_epoch)
    search = optaxls.scale_by_line_search(
        optaxls.armijo(c), rule, optaxls.backtracking(decrease_factor)
    )
    return optaxls.scale_by_preconditioned_search(
        search, variant=variant, b1=0.0, b2=b2
    )


def _shifted_grad_sqnorm(origin: optaxls.Origin) -> Any:
    """``sum_j g_j (g_j + 1e-8)``, the measure ``pp_lipschitz``."""
    return origin.grad_sqnorm + 1e-8 * optax.tree.sum(origin.grad)


def lipschitz_adam_sls(
    *, steps_per_epoch, growth, initial_step_size, c, decrease_factor, b2, variant
) -> wrappers.Optimizer:
    """Searched along the plain gradient, applied along the preconditioned one."""
    condition = rules.measured(optaxls.armijo(c), _shifted_grad_sqnorm)
    rule = optaxls.grow(initial_step_size, growth, steps_per_epoch)
    return optax.chain(
        optax.scale(-1.0),
        optaxls.scale_by_line_search(
            condition, rule, optaxls.backtracking(decrease_factor)
        ),
        wrappers.precondition_updates(variant, b2),
    )


def fixed_adam(*, learning_rate, b2, b1, variant, first_count=0) -> wrappers.Optimizer:
    return optaxls.scale_by_preconditioned_search(
        optaxls.scale_by_initial_step(optaxls.constant(learning_rate)),
        variant=variant,
        b1=b1,
        b2=b2,
        first_count=first_count,
    )


def _adasls(kw: dict[str, Any], steps_per_epoch: float) -> Case:
    variant = kw.get("base_opt", "adagrad")
    heavy_ball = kw.get("mom_type") == "heavy_ball"
    b1 = kw.get("momentum", 0.0)
    if not heavy_ball and variant in ("adagrad", "rmsprop"):
        b1 = 0.0  # The reference ignores it.
    choices: dict[str, Any] = {"variant": variant, "b1": b1}
    if heavy_ball:
        choices["momentum"] = "nesterov"
    numbers = {"b2": kw.get("beta", 0.99)}
    method, first = kw.get("step_size_method", "sls"), kw.get("init_step_size", 1.0)
    if method == "fixed_step_size":
        return Case(fixed_adam, numbers | {"learning_rate": first}, choices)
    numbers["c"] = kw.get("c", 0.1)
    if "eta_max" in kw:
        numbers["max_step_size"] = kw["eta_max"]
    if method == "sps":
        if kw["adapt_flag"] == "smooth_iter":
            numbers |= {"growth": 2.0, "steps_per_epoch": steps_per_epoch}
        return Case(optaxls.adam_sps, numbers, choices)
    numbers |= {
        "decrease_factor": kw.get("beta_b", 0.9),
        "growth": kw.get("gamma", 2.0),
        "initial_step_size": first,
        "steps_per_epoch": steps_per_epoch,
    }
    reset = kw.get("reset_option", 1)
    if reset == 3:
        del numbers["growth"], choices["b1"]
        return Case(adam_sls_each_epoch, numbers, choices)
    if kw.get("pp_norm_method") == "pp_lipschitz":
        del choices["b1"]
        if reset == 0:
            numbers["growth"] = 1.0
        return Case(lipschitz_adam_sls, numbers, choices)
    return Case(optaxls.adam_sls, numbers, choices | {"reset": RESET[reset]})


def decayed_salsa(weight_decay: Any, **kwargs: Any) -> wrappers.Optimizer:
    return wrappers.with_shrunk_params(optaxls.salsa(**kwargs), weight_decay)


def _salsa(kw: dict[str, Any]) -> Case:
    b1, b2, decay = kw.get("momentum", (0.9, 0.999, 0.9))
    numbers = {"b2": b2, "decay": decay, "c": kw.get("c", 0.5)}
    numbers["initial_step_size"] = kw.get("init_step_size", 1.0)
    choices = {"b1": b1, "gated": kw.get("speed_up", True)}
    choices["search_b1"] = b1 if kw.get("use_mv") else 0.0
    if "weight_decay" in kw:
        numbers["weight_decay"] = kw["weight_decay"]
        return Case(decayed_salsa, numbers, choices)
    return Case(optaxls.salsa, numbers, choices)


def sign_family(*, learning_rate, momentum, cls: str, norm: int) -> wrappers.Optimizer:
    """Kunstner's classes: a direction of optax or of the user, a step of ours."""
    directions = {
        "PlainSGD": optax.identity(),
        "NormalizedSGD": wrappers.normalized(norm, per_tensor=False),
        "BlockNormalizedSGD": wrappers.normalized(norm, per_tensor=True),
        "RescaledSignDescent": wrappers.normalized(norm, per_tensor=False, sign=True),
        "ClippedGD": wrappers.clipped(0.5),
    }
    return wrappers.with_learning_rate(directions[cls], learning_rate, momentum)


def signum(*, learning_rate, momentum) -> wrappers.Optimizer:
    """Momentum first, then the sign."""
    return optax.chain(
        optax.ema(momentum, debias=False),
        optax.scale_by_sign(),
        optax.scale(-1.0),
        optaxls.scale_by_initial_step(optaxls.constant(learning_rate)),
    )


def _sign(kw: dict[str, Any], cls: str) -> Case | str:
    numbers = {"learning_rate": kw["lr"]}
    if cls == "ModifiedAdam":
        variant = "amsgrad" if kw.get("amsgrad") else "adam"
        choices = {"variant": variant, "b1": 0.9}
        if not kw.get("use_bias_correction", True):
            choices["first_count"] = 10**6  # The corrections are 1 by then.
        return Case(fixed_adam, numbers | {"b2": 0.999}, choices)
    numbers["momentum"] = kw["momentum"]
    if cls == "SignSGD":
        return Case(optaxls.sign_descent, numbers)
    if cls == "Signum":
        return Case(signum, numbers)
    default = 2 if cls == "NormalizedSGD" else 1
    return Case(sign_family, numbers, {"cls": cls, "norm": kw.get("norm", default)})


def case_for(config: dict[str, Any], steps_per_epoch: float) -> Case | str:
    """The optimizer of one configuration, or why it is not covered."""
    tag, kw = config["f"], config["kw"]
    if "error" in config and "stable_steps" not in config:
        return "the reference raises"
    if tag in ("sls", "adasls_sls"):
        return _sls(kw, config["cls"], steps_per_epoch)
    if tag in ("sps", "ada_sps"):
        return _sps(config, steps_per_epoch)
    if tag == "adasls":
        return _adasls(kw, steps_per_epoch)
    if tag == "salsa":
        return _salsa(kw)
    if tag == "sign":
        return _sign(kw, config["cls"])
    if tag in ("momo", "momoadam", "lbfgs"):
        return "no such optimizer in optaxls yet"
    return ponos_configs.case_for(config, steps_per_epoch)
