"""BFGS in NumPy, with whole matrices: the oracle of both L-BFGS."""

from collections.abc import Sequence

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def bfgs_direction(pairs: Sequence[Pair], grad: np.ndarray) -> np.ndarray:
    """Minus the inverse Hessian that the pairs imply, times the gradient.

    Args:
        pairs: steps and changes of the gradient, the oldest first.
        grad: the gradient.
    """
    if not pairs:
        return -grad / max(np.linalg.norm(grad), 1)
    size = len(grad)
    logs = [np.log(s @ y / (y @ y)) for s, y in pairs]
    inverse = np.exp(np.mean(logs)) * np.eye(size)
    for s, y in pairs:
        left = np.eye(size) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    return -inverse @ grad
