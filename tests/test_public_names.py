"""The public names: all of api.md, with its signatures; each documented."""

import inspect
import math
import re

import pytest

import optaxls
import optaxls.diagnostics
import optaxls.flax
import optaxls.linear


def public(module):
    """Names that a module offers: its own public functions and classes."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__.startswith("optaxls")
    }


NAMES = {f"optaxls.{name}": thing for name, thing in public(optaxls).items()}
NAMES |= {f"optaxls.flax.{name}": t for name, t in public(optaxls.flax).items()}
NAMES |= {
    f"optaxls.diagnostics.{name}": t for name, t in public(optaxls.diagnostics).items()
}
NAMES |= {f"optaxls.linear.{n}": t for n, t in public(optaxls.linear).items()}
FUNCTIONS = {name: t for name, t in NAMES.items() if inspect.isfunction(t)}
# Two-line helpers for the author of a part: an example, but no sections.
HELPERS = {"optaxls.no_memory", "optaxls.keep_memory", "optaxls.keep_state"}
DIRECTIONS = {"optaxls.with_momentum", "optaxls.as_searched"}
SECTIONS = ("Returns", "Cost", "Example", "Reference")

INF = math.inf
NEEDED = inspect.Parameter.empty
# api.md, the parts: names in their order; "=" marks the defaults that it gives.
PARTS = {
    "armijo": ["c"],
    "goldstein": ["c"],
    "zhang_hager": ["c", "decay"],
    "window_armijo": ["c", "window"],
    "smoothed_armijo": ["c", "decay"],
    "wolfe": ["c1", "c2"],
    "always_accept": [],
    "bounded": ["condition"],
    "stateless_condition": ["fn"],
    "constant": ["step_size"],
    "grow": ["initial_step_size", "growth", "steps_per_epoch", "max_step_size"],
    "polyak": ["polyak_c", "lower_bound", "min_step_size", "max_step_size", "memory"],
    "smoothed_polyak": ["polyak_c", "lower_bound"],
    "barzilai_borwein": [],
    "hindsight": ["rate", "tolerance", "decay", "initial_step_size"],
    "cautious": [],
    "capped": ["rule", "max_step_size"],
    "scheduled": ["schedule"],
    "backtracking": ["decrease_factor", "increase_factor", "max_trials"],
    "adaptive_backtracking": ["decrease_factor"],
    "parallel_candidates": ["num_candidates", "decrease_factor", "max_trials"],
    "bracketing": ["factor", "max_trials"],
    "interpolating": ["max_trials", "max_growth"],
    "always": [],
    "first": ["n"],
    "every": ["n"],
    "when_unsteady": [],
    "scale_by_line_search": ["condition", "initial_step", "search"],
    "scale_by_initial_step": ["initial_step"],
    "line_search": ["value_fn", "params", "direction"],
    "scale_by_plane": [],
    "two_directions": ["pair", "step_rule"],
    "scale_by_preconditioned_search": ["step_rule"],
    "scale_by_extragradient": ["initial_step", "search"],
    "tail_averaged": ["step_rule", "power"],
    "decayed": ["step_rule", "weight_decay"],
    "adam_moments": [],
    "with_momentum": ["directions", "outcome"],
    "as_searched": ["directions", "outcome"],
    "keep_state": ["state", "displacement", "report", "params"],
    "heavy_ball": ["momentum"],
    "nesterov": ["momentum"],
    "metrics": ["state"],
    "eval_params": ["opt_state", "params"],
    "make_step": ["loss_fn", "optimizer"],
    "minimize": ["value_fn", "params", "optimizer"],
    "on_subset": ["optimizer", "mask"],
    "accumulate": ["loss_fn", "num_micro_batches"],
    "sign_descent": ["learning_rate", "momentum"],
    "scale_by_newton": [],
    "scale_by_hessian_free": [],
    "adapted_damping": ["initial_damping"],
    "growing_batches": ["batch_size", "growth"],
    "table_bytes": ["params", "num_functions"],
    "snapshot_due": ["opt_state"],
}
KEYWORDS = {
    "scale_by_line_search": {"path": None, "gate": None, "fallback_step": 1e-6}
    | {"uphill": "stop"},
    "line_search": dict.fromkeys(
        ["value", "grad", "condition", "initial_step"], NEEDED
    ),
    "make_step": {"has_aux": False, "extra": None},
    "scale_by_newton": {"damping": 1e-3},
    "scale_by_hessian_free": {"damping": 1e-3, "max_cg_steps": 10, "forcing": 0.5},
    "adapted_damping": {"factor": 1.5},
    "growing_batches": {"dataset_size": NEEDED, "damping": 1e-3},
    "minimize": {"max_steps": 1000, "tolerance": 1e-6},
    "auto": {"weight_decay": 0.0, "rate": 1.0, "tolerance": None, "decay": 0.9},
}
_grown = {"growth": 2.0, "initial_step_size": 1.0, "reset": "grow"}
_newton = {"steps_per_epoch": 1.0, "c": 0.1, "decrease_factor": 0.9, "growth": 1.5}
_newton |= {"reset": "grow", "max_step_size": 1.0, "max_trials": 100}
_sum = {"num_functions": NEEDED, "l2": 0.0, "lipschitz": None}
_sum |= {"initial_lipschitz": 1.0, "weights": None, "prox": None}
_third = _sum | {"step_fraction": 1 / 3}
# api.md, the linear models.
LINEAR = {
    "problem": {"loss": NEEDED, "l2": 0.0, "l1": 0.0, "intercept": True},
    "sag": {"tolerance": 1e-6, "max_passes": 1000, "key": None},
    "saga": {"tolerance": 1e-6, "max_passes": 1000, "key": None},
}
# api.md, the optimizers: every argument by keyword only, with its default.
ALIASES = {
    "sls": {"steps_per_epoch": NEEDED, "c": 0.1, "decrease_factor": 0.9}
    | _grown
    | {"max_step_size": INF, "max_trials": 100},
    "sls_goldstein": {"steps_per_epoch": NEEDED, "c": 0.1, "decrease_factor": 0.9}
    | {"increase_factor": 2.0}
    | _grown
    | {"max_step_size": 10.0},
    "sls_momentum": {"variant": "polyak", "momentum": 0.6, "c": 0.1}
    | {"decrease_factor": 0.9, "initial_step_size": 1.0, "reset": "keep"},
    "sls_extragradient": {"steps_per_epoch": NEEDED, "c": 0.9, "decrease_factor": 0.9},
    "sps": {"c": 0.5, "lower_bound": 0.0, "max_step_size": INF, "growth": None}
    | {"steps_per_epoch": None, "initial_step_size": 1.0, "eps": 1e-8},
    "ponos": {"c": 0.5, "polyak_c": 0.1, "decrease_factor": 0.5, "decay": 1.0}
    | {"min_step_size": 1e-6, "max_step_size": 10.0, "lower_bound": 0.0}
    | {"memory": True, "max_trials": 100},
    "adam_sls": {"steps_per_epoch": NEEDED, "variant": "adam", "b1": 0.0, "b2": 0.99}
    | {"c": 0.1, "decrease_factor": 0.9}
    | _grown
    | {"max_step_size": INF, "momentum": "standard"},
    "adam_sps": {"variant": "adam"},
    "adam_ponos": {"b1": 0.9, "b2": 0.999, "search_b1": 0.0, "c": 0.1}
    | {"polyak_c": 0.1, "decrease_factor": 0.5, "decay": 1.0, "max_step_size": 10.0},
    "newton": {"damping": 1e-3} | _newton,
    "hessian_free": {"damping": 1e-3, "max_cg_steps": 10, "forcing": 0.5} | _newton,
    "stochastic_lbfgs": {"memory_size": 10, "c": 0.1, "decrease_factor": 0.9},
    "lbfgs": {"memory_size": 10, "c1": 1e-4, "c2": 0.9, "max_trials": 20},
    "sag": _sum | {"max_bytes": 2**32},
    "saga": _third | {"max_bytes": 2**32},
    "svrg": _third | {"steps_per_snapshot": None},
    "loopless_svrg": _third | {"snapshot_probability": None, "seed": 0},
    "salsa": {"c": 0.5, "b1": 0.9, "b2": 0.999, "decay": 0.9, "growth": 1.1}
    | {"decrease_factor": 0.8, "initial_step_size": 1.0, "gated": True},
}


def parameters(name):
    return inspect.signature(getattr(optaxls, name)).parameters


@pytest.mark.parametrize("name", PARTS)
def test_parts_have_the_arguments_of_the_interface(name):
    positional = [
        key for key, p in parameters(name).items() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    expected = PARTS[name]
    assert positional[: len(expected)] == expected


@pytest.mark.parametrize("name", KEYWORDS)
def test_keywords_have_the_defaults_of_the_interface(name):
    for key, default in KEYWORDS[name].items():
        parameter = parameters(name)[key]
        assert parameter.kind is parameter.KEYWORD_ONLY
        if default is not None:
            assert parameter.default == default


@pytest.mark.parametrize("name", ALIASES)
def test_optimizers_have_the_signatures_of_the_interface(name):
    given = parameters(name)
    assert all(p.kind is p.KEYWORD_ONLY for p in given.values())
    assert {key: given[key].default for key in ALIASES[name]} == ALIASES[name]
    required = {key for key, p in given.items() if p.default is NEEDED}
    assert required == {k for k, default in ALIASES[name].items() if default is NEEDED}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_models_have_the_signatures_of_the_interface(name):
    given = inspect.signature(getattr(optaxls.linear, name)).parameters
    assert {key: given[key].default for key in LINEAR[name]} == LINEAR[name]
    assert all(given[key].kind is given[key].KEYWORD_ONLY for key in LINEAR[name])
    fields = ("coefficients", "intercept", "objective", "optimality", "num_passes")
    assert optaxls.linear.Fit._fields == (*fields, "converged")


def test_the_defaults_of_the_remaining_rules():
    assert parameters("sign_descent")["momentum"].default == 0.9
    assert parameters("parallel_candidates")["max_trials"].default == 100
    search = parameters("scale_by_line_search")
    assert search["search"].default is not NEEDED
    assert optaxls.flax.TrainState.apply_gradients.__kwdefaults__ == {"replace": None}
    value_fn = inspect.signature(optaxls.flax.value_fn).parameters
    assert list(value_fn) == ["model", "loss_fn", "args", "wrt"]


def test_named_tuples_have_the_promised_fields():
    fields = ("params", "opt_state", "value", "aux", "metrics")
    assert optaxls.StepResult._fields == fields
    assert optaxls.Directions._fields[:3] == ("searched", "applied", "scaling")
    assert set(optaxls.Directions._field_defaults) == {"scaling", "usable", "goes_on"}
    assert optaxls.DirectionPair._fields == ("init", "update", "tell")
    assert optaxls.DirectionPair._field_defaults == {"tell": optaxls.keep_state}
    assert optaxls.Path._fields == ("displace", "predicted_slope", "prox")
    found = {"step_size", "value", "params", "num_trials", "accepted", "memories"}
    assert found | {"grad"} == set(optaxls.LineSearchResult._fields)
    satisfied = {"too_short": -INF, "overshoots": -INF}
    assert optaxls.Verdict._field_defaults == satisfied
    found = ("params", "value", "num_steps", "num_evaluations", "converged", "history")
    assert optaxls.MinimizeResult._fields[:6] == found


def test_nothing_of_optax_is_exported_again():
    import optax

    assert not {"adam", "chain", "scale", "apply_updates"} & set(vars(optaxls))
    shared = set(vars(optax)) & set(public(optaxls))
    assert not {name for name in shared if vars(optax)[name] is vars(optaxls)[name]}


def sections(docstring):
    """Section name -> its text."""
    parts = re.split(r"^(\w+):\s*$|^(\w+):(?= )", docstring, flags=re.MULTILINE)
    named = {}
    for index in range(1, len(parts), 3):
        named[parts[index] or parts[index + 1]] = parts[index + 2]
    return named


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_of_its_own(name):
    docstring = inspect.getdoc(NAMES[name]) or ""
    assert docstring[:1].isupper() or docstring.startswith("``")
    first = docstring.splitlines()[0]
    assert len(first) <= 88
    assert not first.startswith(NAMES[name].__name__ + "(")


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - HELPERS - DIRECTIONS))
def test_every_function_follows_the_house_template(name):
    function = FUNCTIONS[name]
    docstring = inspect.getdoc(function) or ""
    found = sections(docstring)
    assert set(SECTIONS) <= set(found), name
    arguments = [key for key in inspect.signature(function).parameters if key != "name"]
    if arguments:
        documented = set(re.findall(r"(\w+)`{0,2}[,:]", found["Args"]))
        assert set(arguments) <= documented
    assert ">>>" in found["Example"]
    assert "import" in found["Example"], "an example that can be pasted"
    order = [key for key in found if key in ("Args", *SECTIONS)]
    assert order == [key for key in ("Args", *SECTIONS) if key in order]


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - HELPERS - DIRECTIONS))
def test_what_checks_its_arguments_says_so(name):
    function = FUNCTIONS[name]
    source = inspect.getsource(function)
    if "_checks.require" in source or "raise " in source:
        assert "Raises" in sections(inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", sorted(HELPERS | DIRECTIONS))
def test_helpers_say_what_they_do(name):
    assert len(inspect.getdoc(NAMES[name]) or "") > 20


def test_parts_carry_their_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", optaxls.__version__)
