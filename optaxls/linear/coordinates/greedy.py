"""Greedy coordinate descent for linear models, on a working set that grows."""

import bisect
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optaxls.linear import _driver
from optaxls.linear._losses import LOSSES
from optaxls.linear._optimality import Point, Slopes, evaluated_with_slopes
from optaxls.linear.coordinates._model import minimised, model_of
from optaxls.linear.coordinates._search import searched_step
from optaxls.linear.fits import Fit
from optaxls.linear.problems import Problem

# Sizes of working sets: the first one, and these times a power of two. Each that occurs
# is one more program to compile, and a set that is too large costs by its square.
_FIRST_SIZE = 64
_SIZES = (256, 320, 384, 448)
# The matrix of the model holds the square of this many numbers.
_LARGEST = 2048


class _Place(NamedTuple):
    """Coefficients and intercept, and what holds there.

    Attributes:
      coefficients: ``(d,)``.
      intercept: scalar.
      point: objective and residual.
      slopes: predictions, and the gradient of the mean loss.
      moved: whether the last step was one.
    """

    coefficients: jax.Array
    intercept: jax.Array
    point: Point
    slopes: Slopes
    moved: jax.Array


def _arrived(
    problem: Problem, coefficients: jax.Array, intercept: jax.Array, moved: Any
) -> _Place:
    found = evaluated_with_slopes(problem, coefficients, intercept)
    return _Place(coefficients, intercept, *found, moved)


def _violations(problem: Problem, place: _Place) -> jax.Array:
    """The steepest slope of the objective along each coefficient, ``(d,)``."""
    coefficients = place.coefficients
    slopes = place.slopes.coefficients + problem.l2 * coefficients
    at_zero = jnp.maximum(jnp.abs(slopes) - problem.l1, 0)
    beside = jnp.abs(slopes + problem.l1 * jnp.sign(coefficients))
    return jnp.where(coefficients == 0, at_zero, beside)


def _wanted(problem: Problem, place: _Place) -> jax.Array:
    """How many coefficients the working set should hold, int32.

    These are all that are not 0, and those that should not be 0, half as many at most.
    """
    support = place.coefficients != 0
    size = jnp.sum(support, dtype=jnp.int32)
    wrong = ~support & (_violations(problem, place) > 0)
    return size + jnp.minimum(size // 2, jnp.sum(wrong, dtype=jnp.int32))


def _working_set(problem: Problem, place: _Place, size: int) -> jax.Array:
    """All coefficients that are not 0, and then the largest violations."""
    support = place.coefficients != 0
    # If they leave too little room for others, violations alone decide.
    roomy = (_wanted(problem, place) <= size) | (4 * jnp.sum(support) <= 3 * size)
    ranks = jnp.where(support & roomy, jnp.inf, _violations(problem, place))
    return jax.lax.top_k(ranks, size)[1]


def _advanced(problem: Problem, place: _Place, size: int) -> _Place:
    """One model, its minimum, and a step towards it."""
    loss, old = LOSSES[problem.loss], place.coefficients
    places = _working_set(problem, place, size)
    model = model_of(problem, old, place.slopes, places)
    changes = minimised(model, problem.l1) - model.start
    shift = model.shift - model.means @ changes
    change = jnp.zeros_like(old).at[places].set(changes)
    predicted = changes @ model.features + shift

    def value_fn(step_size: jax.Array) -> jax.Array:
        predictions = place.slopes.predictions + step_size * predicted
        losses = loss.value(predictions, problem.targets)
        at = old + step_size * change
        penalty = 0.5 * problem.l2 * jnp.sum(at**2)
        penalty += problem.l1 * jnp.sum(jnp.abs(at))
        return jnp.mean(problem.weights * losses) + penalty

    # Not the difference of two sums, which rounding would hide near the minimum.
    same = old * (old + change) > 0
    grown = jnp.where(
        same, jnp.sign(old) * change, jnp.abs(old + change) - jnp.abs(old)
    )
    smooth = (place.slopes.coefficients + problem.l2 * old) * change
    slope = jnp.sum(smooth + problem.l1 * grown) + place.slopes.intercept * shift
    step_size = searched_step(value_fn, place.point.objective, slope)
    return _arrived(
        problem,
        old + step_size * change,
        place.intercept + step_size * shift,
        step_size > 0,
    )


@jax.jit
def _started(problem: Problem) -> tuple[_driver.Progress, jax.Array]:
    zero = jnp.zeros((), problem.features.dtype)
    place = _arrived(problem, jnp.zeros_like(problem.features[0]), zero, True)
    progress = _driver.begun(place, place.point.optimality)
    return progress, _wanted(problem, place)


class _Size(NamedTuple):
    """The size of a working set, and how many may be wanted: ``least < n <= most``."""

    size: int
    least: int
    most: int


@functools.partial(jax.jit, static_argnames="size")
def _with_sets_of(
    problem: Problem,
    progress: _driver.Progress,
    tolerance: jax.Array,
    max_passes: jax.Array,
    *,
    size: _Size,
) -> tuple[_driver.Progress, jax.Array, jax.Array]:
    """Steps until the end, or until the working set should have another size.

    Returns how large, and whether it is the end.
    """

    def fits(place: _Place) -> jax.Array:
        wanted = _wanted(problem, place)
        return place.moved & (wanted > size.least) & (wanted <= size.most)

    def advance(place: _Place, number: jax.Array) -> tuple[_Place, jax.Array]:
        del number
        place = _advanced(problem, place, size.size)
        return place, place.point.optimality

    end = _driver.repeated(advance, progress, tolerance, max_passes, fits)
    useful = _driver.goes_on(end, tolerance, max_passes) & end.state.moved
    return end, _wanted(problem, end.state), ~useful


def _sizes(number: int) -> list[int]:
    """The sizes of working sets for so many coefficients, the last one for any."""
    largest = min(number, _LARGEST)
    doubled = [size << k for k in range(largest.bit_length()) for size in _SIZES]
    return [size for size in [_FIRST_SIZE, *doubled] if size < largest] + [largest]


def _chosen(sizes: list[int], wanted: int, number: int) -> _Size:
    """The least size that suffices. It is kept until two smaller ones do too."""
    place = bisect.bisect_left(sizes[:-1], wanted)
    most = number if place == len(sizes) - 1 else sizes[place]
    return _Size(sizes[place], sizes[place - 2] if place > 1 else -1, most)


def _solved(problem: Problem, tolerance: jax.Array, max_passes: jax.Array) -> Fit:
    progress, wanted = _started(problem)
    number = problem.features.shape[1]
    sizes = _sizes(number)
    run = functools.partial(_with_sets_of, problem)
    if isinstance(wanted, Tracer):
        # Numbers are not known, so all sizes are compiled: here half as many do.
        for size in sizes[::-2][::-1]:
            most = number if size == sizes[-1] else size
            progress, _, _ = run(
                progress, tolerance, max_passes, size=_Size(size, -1, most)
            )
    else:
        done = bool(progress.optimality <= tolerance)
        while not done:
            size = _chosen(sizes, int(wanted), number)
            progress, wanted, done = run(progress, tolerance, max_passes, size=size)
    return _fit_of(progress, tolerance)


def _fit_of(progress: _driver.Progress, tolerance: jax.Array) -> Fit:
    place = progress.state
    objective, optimality = place.point
    return Fit(
        place.coefficients,
        place.intercept,
        objective,
        optimality,
        progress.num_passes,
        optimality <= tolerance,
    )


def greedy_coordinate(
    problem: Problem,
    *,
    tolerance: Any = 1e-6,
    max_passes: Any = 1000,
    key: jax.Array | None = None,
) -> Fit:
    r"""Minimises along one coefficient after the other, always the most promising one.

    A pass makes four things.

    - A working set: the coefficients that are not 0, and half as many of those that
      violate the conditions of a minimum most. At 0 that is :math:`\max(|g_j| -
      \lambda_1, 0)`, with the gradient :math:`g` of loss and L2.
    - The second-order model of loss and L2 on this set, with its matrix :math:`H`. The
      intercept is minimised over.
    - Steps on model and L1, each to the minimum along one coefficient. It is the one
      with the largest :math:`H_{jj} \delta_j^2`, where :math:`\delta_j` is how far its
      minimum is (Gauss-Southwell). They end where that is 1e-4 of the first.
    - A step of size 1 towards that point, halved until loss and penalties have fallen.

    For squared losses the model is the loss. Take it where few coefficients are not 0.
    Where columns are nearly collinear and hardly penalised, ``owl_qn`` takes less time.

    Args:
      problem: made by ``linear.problem``; every loss but ``hinge``.
      tolerance: >= 0, for the largest entry of the gradient, in loss units over those
        of the coefficients. With L1 it is that of ``w - prox(w - gradient)``.
      max_passes: >= 1, passes over the features. Ten are enough for most problems.
      key: ignored, for nothing is drawn.

    Returns:
      A ``Fit``. Outside of ``jit`` a warning tells that it has not converged. It also
      ends where a step is 0, or 100 passes in a row do not lower the residual. Then the
      tolerance is below what the rounding of the dtype allows.

    Raises:
      ValueError: an argument lies outside its range, or the loss has a kink.
      TypeError: ``problem`` is none.

    Cost:
      A pass is O(n d) for the gradient and O(n s^2) for the matrix of a set of s. A
      step is O(s), and there are 20 s in a pass at most. A trial is O(n). Memory is
      (n + s) s numbers. A set has 2048 coefficients at most; where more are not 0 the
      worst of them take turns, and ``owl_qn`` is faster. Sets have few sizes, with one
      compiled program for each that occurs. Inside ``jit`` a program holds up to seven.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from optaxls import linear
      >>> x = jax.random.normal(jax.random.key(0), (50, 200))
      >>> problem = linear.problem(x, x[:, 0] > 0, loss="logistic", l1=0.1)
      >>> fit = linear.greedy_coordinate(problem)
      >>> bool(fit.converged), int(jnp.sum(fit.coefficients != 0))
      (True, 1)

    Reference:
      Nutini et al. 2015, arXiv:1506.00552, section 8, for the choice of coordinates;
      Lee, Sun, Saunders 2014, arXiv:1206.1623, for models with L1; Massias, Gramfort,
      Salmon 2018, arXiv:1802.07481, for the growth of the set.
    """
    del key
    _driver.require_solvable("greedy_coordinate", problem, tolerance, max_passes)
    dtype = problem.features.dtype
    fit = _solved(
        problem, jnp.asarray(tolerance, dtype), jnp.asarray(max_passes, jnp.int32)
    )
    return _driver.reported("greedy_coordinate", fit, tolerance)
