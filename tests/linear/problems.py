"""Problems of the solvers' tests, and their minima as SciPy finds them in float64."""

import functools

import numpy as np
import scipy.optimize
from sklearn.datasets import load_breast_cancer

# Loss and slope of a prediction, written anew from the formulas.
_LOSSES = {
    "logistic": (
        lambda z, y: np.logaddexp(0, -y * z),
        lambda z, y: -y / (1 + np.exp(np.minimum(y * z, 700))),
    ),
    "squared": (lambda z, y: (z - y) ** 2 / 2, lambda z, y: z - y),
    "huber": (
        lambda z, y: np.where(abs(z - y) <= 1, (z - y) ** 2 / 2, abs(z - y) - 0.5),
        lambda z, y: np.clip(z - y, -1, 1),
    ),
}


def data(loss, n=60, d=4, seed=0):
    """Columns of unlike size and far from 0, and targets that no model fits."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.geomspace(2, 0.3, d) + np.linspace(-3, 3, d)
    z = x @ rng.standard_normal(d) + 1 + rng.standard_normal(n)
    return x, np.where(z > np.median(z), 1.0, -1.0) if loss == "logistic" else z


def objective(v, x, y, loss, l2=0.0, l1=0.0, weights=None):
    """The objective and the gradient of its smooth part, at coefficients, intercept."""
    weights = np.ones(len(y)) if weights is None else weights
    weights = weights / weights.sum()
    value, slope = _LOSSES[loss]
    w, z = v[:-1], x @ v[:-1] + v[-1]
    slopes = weights * slope(z, y)
    gradient = np.append(slopes @ x + l2 * w, slopes.sum())
    total = weights @ value(z, y) + l2 / 2 * w @ w + l1 * np.abs(w).sum()
    return total, gradient


def minimum(x, y, loss, l2=0.0, weights=None):
    """Coefficients and intercept, by SciPy, without L1."""
    fun = functools.partial(objective, loss=loss, l2=l2, weights=weights)
    found = scipy.optimize.minimize(
        lambda v: fun(v, x, y),
        np.zeros(x.shape[1] + 1),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-11, "maxiter": 5000},
    )
    return found.x


@functools.cache
def breast_cancer():
    """Standardised, with a column of ones that is penalised too, and the minimum."""
    x, y = load_breast_cancer(return_X_y=True)
    x = np.c_[(x - x.mean(0)) / x.std(0), np.ones(len(y))]
    y, l2 = 2.0 * y - 1, 1 / len(y)
    w = np.zeros(x.shape[1])
    # Newton's method: from 0 it converges on this problem without a search.
    for _ in range(30):
        slopes = -y / (1 + np.exp(y * (x @ w)))
        gradient = slopes @ x / len(y) + l2 * w
        share = np.abs(slopes) * (1 - np.abs(slopes)) / len(y)
        hessian = (x.T * share) @ x + l2 * np.eye(len(w))
        w = w - np.linalg.solve(hessian, gradient)
    assert np.abs(gradient).max() < 1e-12
    least = np.mean(np.logaddexp(0, -y * (x @ w))) + l2 / 2 * w @ w
    return x, y, l2, least
