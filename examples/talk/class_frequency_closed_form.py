"""Why rare classes are learnt late: a model whose losses have a closed form.

Every class k has one input of its own, the k-th unit vector, and a share pi_k of the
data. Each class then has a margin m of its own, from 0, and its loss is
log(1 + (c - 1) exp(-m)). Gradient descent in small steps follows

    exp(m) - 1 + (c - 1) m = c * step * pi_k * t,

so that its loss is about 1 / (step * pi_k * t): a class half as frequent takes twice
as long. Under sign descent m = 2 * step * t for every class alike.

python -m examples.talk.class_frequency_closed_form
"""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_most, main
from examples.talk.pictures import BLUE, GREEN, LEGEND, ORANGE, panels
from examples.talk.training import train

CLASSES = 100
GRADIENT_STEP, GRADIENT_STEPS = 2.0, 8000
SIGN_STEP, SIGN_STEPS = 0.1, 100
SHOWN = (1, 10, 100)  # classes, the most frequent is 1


class Measured(NamedTuple):
    """Losses of every class, `(records, classes)`, and the steps of the records."""

    shares: np.ndarray
    gradient: np.ndarray
    gradient_steps: np.ndarray
    sign: np.ndarray
    sign_steps: np.ndarray


def zipf(classes: int) -> np.ndarray:
    """Shares of the classes: class k has one in proportion to 1 / k."""
    shares = 1 / np.arange(1, classes + 1)
    return shares / shares.sum()


def flow_loss(shares: np.ndarray, step_times_steps: float) -> np.ndarray:
    """Loss of every class under gradient flow, from the closed form of its margin.

    Args:
        shares: of the classes.
        step_times_steps: the step size times the number of steps.
    """
    classes = len(shares)
    target = classes * shares * step_times_steps
    margin = np.log1p(target)  # an upper bound; the left side is convex from there
    for _ in range(60):  # Newton
        left = np.expm1(margin) + (classes - 1) * margin
        margin -= (left - target) / (np.exp(margin) + classes - 1)
    return np.log1p((classes - 1) * np.exp(-margin))


def class_losses(logits: jax.Array) -> jax.Array:
    """Cross-entropy of every class: input k has row k of the logits."""
    return -jnp.diagonal(jax.nn.log_softmax(logits, axis=1))


def losses() -> Measured:
    """Both methods from logits 0, in double precision: the losses fall to 1e-7."""
    shares = zipf(CLASSES)

    def loss(logits, _):
        return jnp.sum(jnp.asarray(shares) * class_losses(logits))

    def run(optimizer, steps, every):
        start = jnp.zeros((CLASSES, CLASSES))
        batches = np.zeros(steps)
        return train(
            optimizer, loss, start, batches, full_loss=class_losses, every=every
        ).loss

    with jax.enable_x64(True):
        gradient = run(optax.sgd(GRADIENT_STEP), GRADIENT_STEPS, 20)
        sign = run(optaxls.sign_descent(SIGN_STEP, momentum=0.0), SIGN_STEPS, 1)
    return Measured(
        shares,
        gradient,
        np.arange(len(gradient)) * 20,
        sign,
        np.arange(len(sign)),
    )


def draw(measured: Measured) -> Figure:
    """Losses over steps, measured and in closed form."""
    figure, (left, right) = panels(["Gradient descent", "Sign descent"])
    for number, colour in zip(SHOWN, (BLUE, GREEN, ORANGE), strict=True):
        label = (
            f"class {number} ({100 * measured.shares[number - 1]:.2g} % of the data)"
        )
        steps = measured.gradient_steps[1:]
        left.loglog(steps, measured.gradient[1:, number - 1], color=colour, label=label)
        shares = measured.shares
        flow = [flow_loss(shares, GRADIENT_STEP * step)[number - 1] for step in steps]
        left.loglog(steps, flow, color="black", linestyle=":", linewidth=1)
        width = {1: 5, 10: 3, 100: 1.2}[number]
        right.semilogy(
            measured.sign_steps,
            measured.sign[:, number - 1],
            color=colour,
            linewidth=width,
            label=f"class {number}",
        )
    left.plot([], [], color="black", linestyle=":", label="closed form")
    left.set_ylim(2e-6, 20)
    for axes in (left, right):
        axes.set_xlabel("steps")
        axes.set_ylabel("loss of the class (nats)")
    left.legend(loc="lower left", **LEGEND)
    right.legend(loc="upper right", **LEGEND)
    return figure


def measure() -> Claim:
    """Both methods on the toy model, against its closed forms."""
    measured = losses()
    time = GRADIENT_STEP * GRADIENT_STEPS
    gradient, sign = measured.gradient[-1], measured.sign[-1]
    law = (gradient * measured.shares * time)[np.array(SHOWN) - 1]
    off = np.abs(gradient / flow_loss(measured.shares, time) - 1).max()
    exact = np.log1p((CLASSES - 1) * np.exp(-2 * SIGN_STEP * SIGN_STEPS))
    spread = float(np.ptp(sign) / sign.mean())
    checks = (
        Check(
            "gradient: loss × π × t × step of class 1, 10, 100 in 0.9 to 1.4",
            ", ".join(f"{value:.3f}" for value in law),
            bool(law.min() >= 0.9 and law.max() <= 1.4),
        ),
        at_most("gradient: any class off its closed form, relative", float(off), 0.01),
        at_most("sign: spread of the classes' losses, relative", spread, 1e-8),
        at_most(
            "sign: loss off its closed form, relative",
            float(np.abs(sign / exact - 1).max()),
            1e-8,
        ),
    )
    findings = (
        f"After {GRADIENT_STEPS} steps of gradient descent the rarest of {CLASSES} "
        f"classes has {gradient[-1] / gradient[0]:.0f} times the loss of the most "
        "frequent one.",
        f"After {SIGN_STEPS} steps of sign descent every class has the same loss, "
        f"{sign.mean():.4e}: the sign of a gradient does not tell how many examples "
        "it comes from.",
    )
    return Claim(
        title="Rare classes, in closed form",
        says="Gradient descent learns a class at a speed in proportion to its share of "
        "the data; sign descent learns all classes equally fast.",
        checks=checks,
        findings=findings,
        figure=draw(measured),
        source="Kunstner, Milligan, Yadav, Schmidt, Bietti: Heavy-tailed class "
        "imbalance and why Adam outperforms gradient descent on language models, "
        "2024, arXiv:2402.19449",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "class_frequency_closed_form"))
