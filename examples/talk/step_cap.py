"""The cap on the step size decides which line search wins on a softmax loss near 0.

PoNoS's published step is at most 10, and comparisons cap SLS likewise. On a tanh
network that fits its classes the useful steps become longer than that.

    python -m examples.talk.step_cap
"""

import sys

import jax
import numpy as np
from matplotlib.figure import Figure

import optaxls
from examples.talk import non_monotone, pictures
from examples.talk import problems_search as problems
from examples.talk.claim import Claim, at_least, at_most, main
from examples.talk.non_monotone import STYLES, Runs

SEEDS = (0,)


def double_sls(problem: problems.Problem) -> Runs:
    """SLS without a cap in float64."""
    sls = optaxls.sls(steps_per_epoch=problem.steps_per_epoch)
    with jax.enable_x64(True):
        wide = problem._replace(inputs=problem.inputs.astype(np.float64))
        return non_monotone.by_epoch(wide, problems.train_lanes(wide, lambda _: sls))


def draw(runs: dict[str, Runs]) -> Figure:
    """The losses by epoch, and the last step sizes."""
    figure, (left, right) = pictures.panels(
        ["Network, tanh teacher", "Step size"], height=3.1
    )
    non_monotone.draw_race(left, runs)
    non_monotone.name_rules(figure, left)
    for name, (colour, line) in STYLES.items():
        steps = np.median(runs[name].steps, axis=0)
        right.plot(np.arange(1, len(steps) + 1), steps, color=colour, ls=line, lw=1.3)
    right.set(yscale="log", xlabel="epochs", ylabel="step size, median of an epoch")
    return figure


def _findings(runs: dict[str, Runs], double: Runs) -> tuple[str, ...]:
    ratio = non_monotone.comparisons(runs)
    steps = runs["SLS, no cap"].steps[0]
    final = {name: float(run.final.mean()) for name, run in runs.items()}
    return (
        f"Without a cap SLS ends at {final['SLS, no cap']:.2g}, with a cap of 10 at "
        f"{final['SLS, cap 10']:.2g}, PoNoS with a cap of 1000 at "
        f"{final['PoNoS, cap 1000']:.2g}: here the cap, not the monotone test, is what "
        "holds SLS back, and against SLS as its authors use it PoNoS's loss is "
        f"{ratio['PoNoS / SLS, no cap']:.2g} times as high.",
        "SLS without a cap comes to rest by a collapse: its step grows to "
        f"{steps.max():.2g} and ends at {steps[-1]:.2g}; in float64 it ends at "
        f"{double.steps[0, -1]:.2g} with a loss of {double.final[0]:.2g}. A softmax "
        "loss near 0 is a small difference of large numbers, and our search knows only "
        "the rounding error of the loss, not that of what it is computed from.",
        f"With the same cap of 10, PoNoS ends at {final['PoNoS, cap 10']:.2g}, "
        f"{ratio['PoNoS, cap 10 / SLS']:.2g} times SLS's loss.",
        f"SPS, without any search, ends at {final['SPS']:.2g}; that PoNoS beats it is "
        "no robust statement.",
        f"PoNoS is not faster early: epochs to a loss of {non_monotone.TARGET:g} are "
        f"{non_monotone.early(runs)}.",
    )


def measure() -> Claim:
    """Trains the network with seven rules; about half a minute."""
    problem = problems.tanh_teacher()
    runs = non_monotone.race(problem, SEEDS)
    double = double_sls(problem)
    ratio = non_monotone.comparisons(runs)
    return Claim(
        title="The cap on the step size matters",
        says="On a network whose softmax loss gets close to 0, PoNoS ends far below "
        "SLS where its own step may grow to 1000 and that of SLS to 10.",
        checks=(
            at_most("PoNoS (cap 1000) / SLS (cap 10)", ratio["PoNoS / SLS"], 0.1),
            at_least("its monotone form / PoNoS", ratio["monotone / PoNoS"], 4),
            at_least("PoNoS, cap 10 / cap 1000", ratio["cap 10 / cap 1000"], 10),
            at_most(
                "preconditioned (cap 1000) / best other rule",
                ratio["prec. / best other"],
                1,
            ),
        ),
        findings=_findings(runs, double),
        figure=draw(runs),
        source="Galli, Rauhut, Schmidt, Don't be so Monotone, 2023, arXiv:2306.12747; "
        "Vaswani et al., Painless Stochastic Gradient, 2019, arXiv:1905.09997",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "step_cap"))
