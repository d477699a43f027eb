"""What the programs on meshes of devices train: a row for each optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls
from optaxls import prox
from tests.contract.finite_sum_rows import ROWS as FINITE_SUMS
from tests.contract.finite_sum_rows import at_one_function

EPOCH = {"steps_per_epoch": 10}
LASSO = prox.l1(1e-3)


def searched(*directions):
    search = optaxls.scale_by_line_search(optaxls.armijo(1e-4), optaxls.constant(1.0))
    return optax.chain(*directions, search)


def accelerated_search():
    known = {"growth_constant": 2.0, "strong_convexity": 0.1}
    return optaxls.accelerated_sgd(smoothness=None, restart=True, **known)


def projected_sls():
    path = optaxls.along_projection(prox.box(-0.3, 0.3))
    return optaxls.sls(path=path, **EPOCH)


def along_one_coordinate():
    return searched(optaxls.scale_by_greedy_coordinate(), optax.scale(-1.0))


def along_a_pair():
    return searched(optaxls.scale_by_greedy_pair(-1.0, 1.0), optax.scale(-1.0))


OPTIMIZERS = {
    "auto": lambda: optaxls.auto(),
    "sls": lambda: optaxls.sls(**EPOCH),
    "sls_goldstein": lambda: optaxls.sls_goldstein(**EPOCH),
    "sls_momentum": lambda: optaxls.sls_momentum(),
    "sls_extragradient": lambda: optaxls.sls_extragradient(**EPOCH),
    "sps": lambda: optaxls.sps(max_step_size=1.0),
    "ponos": lambda: optaxls.ponos(),
    "adam_sls": lambda: optaxls.adam_sls(b1=0.9, **EPOCH),
    "adam_sps": lambda: optaxls.adam_sps(max_step_size=0.1),
    "adam_ponos": lambda: optaxls.adam_ponos(),
    "salsa": lambda: optaxls.salsa(),
    "lbfgs": lambda: optaxls.lbfgs(),
    "sign_descent": lambda: optaxls.sign_descent(1e-2),
    "hessian_free": lambda: optaxls.hessian_free(),
    "stochastic_lbfgs": lambda: optaxls.stochastic_lbfgs(memory_size=4),
    "accelerated_search": accelerated_search,
    "plane_search": lambda: searched(optax.scale(-1.0), optaxls.scale_by_plane()),
    # Steps far longer, which it takes at first else, make rounding count.
    "multidimensional": lambda: optaxls.multidimensional_backtracking(
        initial_step_size=1.0
    ),
} | {name: row.make for name, row in FINITE_SUMS.items()}
# Those that came later: their families, of which CI runs a row of each, and the rest.
LATER = {
    "prox_sgd": lambda: optaxls.prox_sgd(LASSO, **EPOCH),
    "spg": lambda: optaxls.spg(LASSO),
    "along_one_coordinate": along_one_coordinate,
    "ivon": lambda: optaxls.ivon(ess=128.0),
    "prox_adam": lambda: optaxls.prox_adam(LASSO, **EPOCH),
    "projected_sls": projected_sls,
    "fista": lambda: optaxls.fista(LASSO),
    "owl_qn": lambda: optaxls.owl_qn(1e-3, memory_size=4),
    "pqn": lambda: optaxls.pqn(LASSO, memory_size=4, inner_steps=5),
    "two_metric": lambda: optaxls.two_metric(-0.3, 0.3, memory_size=4),
    "along_a_pair": along_a_pair,
    "saga": lambda: at_one_function(optaxls.saga(num_functions=3)),
    "loopless_svrg": lambda: at_one_function(optaxls.loopless_svrg(num_functions=3)),
    "vogn": lambda: optaxls.vogn(ess=128.0),
    "newton": lambda: optaxls.newton(),
    "von": lambda: optaxls.von(ess=128.0),
    "iblr": lambda: optaxls.iblr(ess=128.0),
}
FAMILIES = ("prox_sgd", "along_one_coordinate", "ivon", "sag")
POSTERIORS = {"ivon", "vogn", "von", "iblr"}
# These put all params into one vector, most of them for a matrix: for few params.
VECTORS = {"newton", "von", "iblr", "along_a_pair"}


def loss_fn(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["a"]) @ params["b"] - y) ** 2)


def problem(dtype, few: bool = False):
    """An MLP on 128 samples; every size divides by eight."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)  # noqa: E731
    inputs, hidden, outputs = (8, 8, 8) if few else (32, 64, 16)
    scale = inputs**0.5 if few else 6
    params = {"a": draw(inputs, hidden) / scale, "b": draw(hidden, outputs) / 8}
    return params, draw(128, inputs), draw(128, outputs)


def make_step(name: str, optimizer, loss=loss_fn):
    """The training step that suits the optimizer of this name."""
    if name in POSTERIORS:
        return jax.jit(optaxls.make_vi_step(loss, optimizer, num_samples=2))
    return jax.jit(optaxls.make_step(loss, optimizer))
