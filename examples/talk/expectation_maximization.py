"""EM has no step size, and its rate is the share of the information that is missing.

EM on mixtures of two Gaussians or two Poisson distributions. The factor by which its
error falls in a step is held against the largest eigenvalue of I_complete^-1 I_missing.
Beside it: gradient descent with the best of many step sizes, a line search, L-BFGS.

python -m examples.talk.expectation_maximization
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels
from optaxls.diagnostics import missing_information

EXAMPLES = 400
TOLERANCE = 1e-8
STEPS = 3000
SEPARATIONS = (1.5, 2.0, 3.0, 4.0, 6.0)
# Where the components overlap so much EM is the slower one. Fewer examples hardly tell
# the two apart.
CLOSE, MORE_EXAMPLES = 1.25, 1000
# The larger rate of two Poisson distributions; the smaller one is 2.
RATES = (5.0, 8.0, 12.0, 16.0)
# The same Gaussian data in other units of length.
UNITS = (1.0, 4.0, 16.0)


class Mixture(NamedTuple):
    """Two components with weights (share, 1 - share) and means `centres`.

    Attributes:
        x: the data, `(examples,)`.
        poisson: whether the components are Poisson, else Gaussian.
        unit: the standard deviation of a Gaussian component.
        start: the params to start from: the log odds of the share, and the centres.
    """

    x: Any
    poisson: Any
    unit: Any
    start: dict[str, Any]

    def log_joint(self, w: Any) -> jax.Array:
        """log p(x, z | w) for both values of z, but for what no param changes."""
        x, centres = jnp.asarray(self.x)[:, None], w["centres"]
        # The centres of Gaussians may be negative.
        positive = jnp.where(self.poisson, centres, 1.0)
        density = jnp.where(
            self.poisson,
            x * jnp.log(positive) - positive,
            -(((x - centres) / self.unit) ** 2) / 2,
        )
        return density + jax.nn.log_sigmoid(jnp.stack([w["odds"], -w["odds"]]))

    def loss(self, w: Any) -> jax.Array:
        """Mean negative log-likelihood."""
        return -jnp.mean(jax.nn.logsumexp(self.log_joint(w), axis=1))

    def expected_loss(self, w: Any, at: Any) -> jax.Array:
        """The same of data and components, in the mean over these as found at `at`."""
        found = jax.nn.softmax(self.log_joint(at), axis=1)
        return -jnp.mean(jnp.sum(found * self.log_joint(w), axis=1))

    def em_step(self, w: Any) -> Any:
        """The minimum of `expected_loss` over its first argument."""
        found = jax.nn.softmax(self.log_joint(w), axis=1)
        share = jnp.mean(found, axis=0)
        centres = jnp.mean(found * jnp.asarray(self.x)[:, None], axis=0) / share
        return {"odds": jnp.log(share[0] / share[1]), "centres": centres}


class Found(NamedTuple):
    """What a mixture showed; steps are those to 1e-8 of the first gap.

    Attributes:
        measured: the factor by which a step of EM shrinks its error, late in a run.
        rate: the largest share of missing information at the limit.
        rises: the largest rise of the loss in a step of EM, relative to the loss.
        em: steps of EM.
        descent: of gradient descent with the best of 10 step sizes.
        in_shares: the same, where the share is a param instead of its log odds.
        search: of gradient descent with a line search.
        lbfgs: of L-BFGS.
    """

    measured: float
    rate: float
    rises: float
    em: float
    descent: float
    in_shares: float
    search: float
    lbfgs: float


def drawn(
    centres: np.ndarray, poisson: bool, unit: float = 1.0, examples: int = EXAMPLES
) -> Mixture:
    """Data of which three in ten belong to the first component."""
    rng = np.random.default_rng(0)
    mean = np.where(rng.random(examples) < 0.3, *centres)
    if poisson:
        x = rng.poisson(mean).astype(float)
    else:
        x = mean + unit * rng.standard_normal(examples)
    # Off by a part of the distance between the two.
    offset = 0.2 * (centres[1] - centres[0]) * np.array([0.5, -1.0])
    start = {"odds": np.zeros(()), "centres": centres + offset}
    return Mixture(x, poisson, unit, start)


def gaussians(
    separation: float, unit: float = 1.0, examples: int = EXAMPLES
) -> Mixture:
    """At this distance in standard deviations, which are `unit` long."""
    centres = unit * separation * np.array([-0.5, 0.5])
    return drawn(centres, False, unit, examples)


def poissons(rate: float) -> Mixture:
    """Rates of 2 and `rate`."""
    return drawn(np.array([2.0, rate]), True)


class _Curves(NamedTuple):
    """Of one mixture: EM's params by step, its limit, and losses by step of each."""

    path: Any
    limit: Any
    rate: jax.Array
    em: jax.Array
    descent: jax.Array
    in_shares: jax.Array
    search: jax.Array
    lbfgs: jax.Array


def _descents(loss: Callable[[jax.Array], jax.Array], start: Any, limit: Any) -> Any:
    """Losses of gradient descent with 10 step sizes up to the longest stable one."""
    curvature = jnp.linalg.eigvalsh(jax.hessian(loss)(limit))[-1]

    def run(size: jax.Array) -> jax.Array:
        def step(z: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            value, grad = jax.value_and_grad(loss)(z)
            return z - size * grad, value

        return jax.lax.scan(step, start, length=STEPS)[1]

    return jax.vmap(run)(jnp.geomspace(0.25, 2.0, 10) / curvature)


def _with_odds(w: Any) -> jax.Array:
    """The params as a vector."""
    return jnp.concatenate([w["odds"][None], w["centres"]])


def _with_share(w: Any) -> jax.Array:
    """The same, with the share in place of its log odds."""
    return _with_odds(w).at[0].set(jax.nn.sigmoid(w["odds"]))


def _curves(task: Mixture) -> _Curves:
    def in_odds(z: jax.Array) -> jax.Array:
        return task.loss({"odds": z[0], "centres": z[1:]})

    def in_shares(z: jax.Array) -> jax.Array:
        return in_odds(z.at[0].set(jax.scipy.special.logit(z[0])))

    def step(w: Any, _: None) -> tuple[Any, Any]:
        return task.em_step(w), w

    def minimized(optimizer: Any) -> jax.Array:
        return optaxls.minimize(
            task.loss, task.start, optimizer, max_steps=STEPS, tolerance=1e-10
        ).history.value

    limit, path = jax.lax.scan(step, task.start, length=STEPS)
    return _Curves(
        path,
        limit,
        missing_information(task.expected_loss, limit).rate,
        em=jax.vmap(task.loss)(path),
        descent=_descents(in_odds, _with_odds(task.start), _with_odds(limit)),
        in_shares=_descents(in_shares, _with_share(task.start), _with_share(limit)),
        search=minimized(optaxls.sls(steps_per_epoch=1, decrease_factor=0.5)),
        lbfgs=minimized(optaxls.lbfgs()),
    )


def contraction(path: Any, limit: Any) -> float:
    """The mean factor of the error in ten steps, the last ones above rounding."""
    errors = np.linalg.norm(path["centres"] - limit["centres"], axis=1)
    above = np.flatnonzero(errors > 1e-10 * np.abs(limit["centres"]).max())
    last, first = above[-1], max(above[-1] - 10, above[-1] // 2)
    return float((errors[last] / errors[first]) ** (1 / (last - first)))


def _needed(losses: Any, least: float) -> float:
    gaps = (np.asarray(losses) - least) / (float(losses[0]) - least)
    below = np.flatnonzero(gaps <= TOLERANCE)
    return float(below[0]) if len(below) else np.inf


def _found(curves: _Curves) -> Found:
    em = curves.em
    least = float(em[-1])

    def best(runs: jax.Array) -> float:
        return min(_needed(losses, least) for losses in runs)

    return Found(
        measured=contraction(curves.path, curves.limit),
        rate=float(curves.rate),
        rises=float(np.max(np.diff(em) / np.abs(em[1:]))),
        em=_needed(em, least),
        descent=best(curves.descent),
        in_shares=best(curves.in_shares),
        search=_needed(curves.search, least),
        lbfgs=_needed(curves.lbfgs, least),
    )


def measured(tasks: list[Mixture]) -> list[Found]:
    """Runs EM and the others from the same start, all mixtures in one program."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)
    curves = jax.tree.map(np.asarray, jax.jit(jax.vmap(_curves))(stacked))
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], curves) for k in range(len(tasks))]
    return [_found(one) for one in each]


def _draw_rates(axes: Axes, named: dict[str, list[Found]]) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", lw=0.8)
    for (name, found), style in zip(named.items(), ("o", "s"), strict=True):
        axes.plot([f.rate for f in found], [f.measured for f in found], style, ms=4,
                  color=BLUE if style == "o" else ORANGE, label=name)  # fmt: skip
    axes.set(xlabel="largest share of missing information")
    axes.set_ylabel("contraction of EM, measured")
    axes.legend(loc="upper left", **LEGEND)


def _draw_steps(axes: Axes, at: tuple[float, ...], found: list[Found]) -> None:
    labels = {
        "em": ("EM", BLUE, "o-"),
        "descent": ("gradient descent,\nbest step size", BLACK, "s-"),
        "search": ("line search", ORANGE, "^-"),
        "lbfgs": ("L-BFGS", GREEN, "v--"),
    }
    for name, (label, colour, style) in labels.items():
        needed = [getattr(f, name) for f in found]
        axes.plot(at, needed, style, color=colour, ms=4, label=label)
    axes.set(yscale="log")
    axes.set_ylabel("steps to 10⁻⁸ of the first gap")


def draw(gauss: list[Found], poisson: list[Found], units: list[Found]) -> Figure:
    """Rates, steps by overlap, and steps by the unit of the data."""
    figure, (left, middle, right) = panels(
        ["Rate of EM", "By overlap", "By the unit of the data"]
    )
    _draw_rates(left, {"Gaussian": gauss, "Poisson": poisson})
    _draw_steps(middle, SEPARATIONS, gauss)
    middle.set(xlabel="distance / standard deviation", ylim=(1, 3e3))
    _draw_steps(right, UNITS, units)
    right.set(xscale="log", xlabel="standard deviation in the unit", ylim=(1, 1e6))
    right.set_xticks(UNITS, [f"{unit:g}" for unit in UNITS])
    right.minorticks_off()
    right.legend(loc="upper left", **LEGEND)
    return figure


def _checks(
    gauss: list[Found], poisson: list[Found], units: list[Found], close: Found
) -> tuple[Check, ...]:
    def error(found: list[Found]) -> float:
        return max(abs(f.measured / f.rate - 1) for f in found)

    apart = [f for f, at in zip(gauss, SEPARATIONS, strict=True) if at >= 4]
    first, last = (f.em / f.descent for f in (units[0], units[-1]))
    rises = max(f.rises for f in [*gauss, *poisson, *units, close])
    return (
        at_most("Gaussian: relative error of the foretold rate", error(gauss), 0.01),
        at_most("Poisson: relative error of the foretold rate", error(poisson), 0.01),
        at_most("largest relative rise of the loss in a step of EM", rises, 1e-14),
        at_most(
            "distance 4 and more: steps of EM / of the best gradient descent",
            max(f.em / f.descent for f in apart), 0.5,
        ),
        at_most(
            "the same, where gradient descent has the share as a param",
            max(f.em / f.in_shares for f in apart), 1 / 3,
        ),
        at_most(
            f"the reverse, distance {CLOSE:g}: steps of this gradient descent / of EM",
            close.in_shares / close.em, 0.9,
        ),
        at_most(
            "EM's steps / gradient descent's, data in units of 1/16 / in units of 1",
            last / first, 0.05,
        ),
    )  # fmt: skip


def _findings(
    poisson: list[Found], units: list[Found], close: Found
) -> tuple[str, ...]:
    told = "; ".join(
        f"{name} {', '.join(f'{getattr(f, key):.0f}' for f in units)}"
        for key, name in (
            ("em", "EM"),
            ("descent", "gradient descent with the best step size"),
            ("search", "with a line search"),
            ("lbfgs", "L-BFGS"),
        )
    )
    return (
        f"Where the components overlap (distance {CLOSE:g}), {close.rate:.1%} of the"
        f" information is missing. There EM takes {close.em:.0f} steps. Gradient"
        f" descent takes {close.in_shares:.0f} with the share as a param, and"
        f" {close.descent:.0f} with its log odds. With a line search it takes"
        f" {close.search:.0f}, and L-BFGS {close.lbfgs:.0f}.",
        "EM can be faster by any factor: it does not depend on how the params are"
        " written, and the curvature that limits gradient descent does. At distance 3,"
        f" with the data in units of 1, 1/4, 1/16, the steps are: {told}.",
        "A line search finds the best step size, not a better scaling.",
        f"On the Poisson mixtures EM takes {poisson[0].em:.0f} steps where"
        f" {poisson[0].rate:.0%} is missing and {poisson[-1].em:.0f} where"
        f" {poisson[-1].rate:.0%} is.",
    )


def measure() -> Claim:
    """Mixtures of two kinds, by overlap, and one in several units."""
    with jax.enable_x64(True):
        found = measured(
            [gaussians(separation) for separation in SEPARATIONS]
            + [poissons(rate) for rate in RATES]
            + [gaussians(3.0, unit) for unit in UNITS]
        )
        (close,) = measured([gaussians(CLOSE, examples=MORE_EXAMPLES)])
    first, second = len(SEPARATIONS), len(SEPARATIONS) + len(RATES)
    gauss, poisson, units = found[:first], found[first:second], found[second:]
    return Claim(
        title="EM",
        says="EM is a mirror descent with the step size 1: its error shrinks by the"
        " share of the information that is missing, whatever the scale of the params,"
        " so that it can be faster than gradient descent by any factor.",
        checks=_checks(gauss, poisson, units, close),
        findings=_findings(poisson, units, close),
        figure=draw(gauss, poisson, units),
        source="Dempster, Laird, Rubin 1977; Kunstner, Kumar, Schmidt 2021"
        " (arXiv:2011.01170)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "expectation_maximization"))
