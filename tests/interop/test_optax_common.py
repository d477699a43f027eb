"""optax's own tests of contributed optimizers, run from its wheel on ours.

The file is executed as it is but for its table of optimizers. Its tests hand the
objective only to an optimizer called "sophia", so that is what ours are called there;
the adapter makes of it the arguments that ``make_step`` would pass.
"""

import ast
import functools
import importlib.util
import pathlib
import types
from typing import Any

import jax
import optax
import pytest

import optaxls

# One of each kind: the contract makes the same promises of every optimizer.
OPTIMIZERS = {
    "sls": {"steps_per_epoch": 10.0},
    # With momentum: without it the first moment is left out of the state, which an
    # injected (traced) b1 cannot decide, so that the states would differ by it.
    "adam_sls": {"steps_per_epoch": 10.0, "b1": 0.9},
    "auto": {},
}


def adapted(name: str, **hyperparameters) -> optax.GradientTransformationExtraArgs:
    """One of ours, fed from the objective alone."""
    optimizer = getattr(optaxls, name)(**hyperparameters)

    def update(updates, state, params: Any = None, *, obj_fn: Any = None, **extra):
        return optimizer.update(
            updates,
            state,
            params,
            value=obj_fn(params),
            grad=updates,
            value_fn=obj_fn,
            grad_fn=jax.grad(obj_fn),
            **extra,
        )

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def factory_of(name: str):
    """A factory whose signature ``inject_hyperparams`` can read."""
    return functools.wraps(getattr(optaxls, name))(functools.partial(adapted, name))


@functools.cache
def common_tests(name: str) -> type:
    """``ContribTest`` of optax, expanded over one of our optimizers."""
    spec = importlib.util.find_spec("optax.contrib._common_test")
    assert spec is not None and spec.origin is not None
    origin = spec.origin
    tree = ast.parse(pathlib.Path(origin).read_text())
    row = {"opt_name": "sophia", "opt_kwargs": OPTIMIZERS[name]}
    rows = (row | {"wrapper_name": None, "wrapper_kwargs": None},)
    # The tables are filled in several statements; the last of them win.
    tables = ("_ALL_OPTIMIZERS_UNDER_TEST", "_MAIN_OPTIMIZERS_UNDER_TEST")
    last: dict[str, ast.Assign] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id in tables:
                last[node.targets[0].id] = node
    assert sorted(last) == sorted(tables)
    for node in last.values():
        node.value = ast.Name("_OURS", ast.Load())
    module = types.ModuleType("optax_common_tests")
    module.__dict__["_OURS"] = rows
    code = compile(ast.fix_missing_locations(tree), origin, "exec")
    exec(code, module.__dict__)
    module.__dict__["_get_opt_factory"] = lambda _: factory_of(name)
    return module.__dict__["ContribTest"]


def cases():
    """Every (optimizer, test method) of the expanded class."""
    names = [n for n in dir(common_tests("sls")) if n.startswith("test")]
    return [(name, test) for name in OPTIMIZERS for test in names]


@pytest.mark.slow(one_in=5)
@pytest.mark.parametrize(("name", "test"), cases())
def test_common(name, test):
    case = common_tests(name)(test)
    result = case.run()
    problems = result.failures + result.errors
    assert not problems, "\n".join(text for _, text in problems)
