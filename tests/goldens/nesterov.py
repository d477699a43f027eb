"""Ten lines of SLS with textbook Nesterov momentum, to check what ours does instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.goldens.problems import SAMPLE_LOSSES, Problem, as_params


def oracle(kw: dict[str, Any], problem: Problem, steps: int):
    """Trials and step size of each step, and the last iterate."""
    c, beta = kw.get("c", 0.1), kw.get("beta_b", 0.9)
    mu, start = kw.get("momentum", 0.6), kw.get("init_step_size", 1.0)
    loss, gradient, w = _on_vectors(problem)
    eta, y, trials, used = start, w, [], []
    for batch in problem.batch_idx[:steps]:
        f, g = loss(w, batch), gradient(w, batch)
        eta = start if kw.get("reset_option", 0) == 2 else eta
        count = 1 if np.any(g) else 0
        while 0 < count <= 100 and loss(w - eta * g, batch) > f - c * eta * g @ g:
            eta, count = beta * eta, count + 1
        taken = 0.0 if count == 0 else eta
        if count > 100:  # The fallback step is tested, and not taken if it climbs.
            trial = loss(w - 1e-6 * g, batch)
            taken = 1e-6 if trial < f or trial <= f - c * 1e-6 * g @ g else 0.0
        y_old, y = y, w - taken * g
        w = y + mu * (y - y_old)
        trials.append(count)  # With that of the fallback step.
        used.append(taken)
    return np.array(trials), np.array(used), w


def _on_vectors(problem: Problem):
    names, template = tuple(problem.shapes), as_params(problem)

    def loss(w, batch):
        params, position = {}, 0
        for name in names:
            size = template[name].size
            params[name] = w[position : position + size].reshape(template[name].shape)
            position += size
        x = jnp.asarray(problem.features)[batch]
        y = jnp.asarray(problem.labels)[batch]
        return jnp.mean(SAMPLE_LOSSES[problem.pid](params, x, y))

    def in_float64(function):
        def call(w, batch):
            with jax.enable_x64(True):
                return np.asarray(function(w, batch))

        return call

    start = np.concatenate([template[name].ravel() for name in names])
    return in_float64(jax.jit(loss)), in_float64(jax.jit(jax.grad(loss))), start
