"""The figure of a diagnosis. Needs matplotlib, which nothing else here does."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

from optaxls.diagnostics.records import Curves, PilotResult

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(curves: Curves, pilots: Mapping[str, PilotResult]) -> Figure:
    """Four panels: the loss, the growth of gradients, the ray, the short runs."""
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(7.2, 5.2), dpi=120, layout=layout)
        axes = figure.subplots(2, 2)
        _loss(axes[0, 0], curves)
        _growth(axes[0, 1], curves)
        _ray(axes[1, 0], curves)
        _pilots(axes[1, 1], pilots)
    return figure


def _scale(series: jax.Array) -> str:
    """Logarithmic if there is anything to show on it."""
    return "log" if (series > 0).any() else "linear"


def _loss(axes: Axes, curves: Curves) -> None:
    """Over training, and of groups of classes where there are labels."""
    steps = [step + 1 for step in curves.steps]
    axes.plot(steps, curves.samples.values.mean(1), color="black", label="all examples")
    if curves.group_losses is not None:
        groups = curves.group_losses.shape[1]
        for index in range(groups):
            if not jnp.isnan(curves.group_losses[:, index]).all():
                name = {0: " (most frequent)", groups - 1: " (rarest)"}.get(index, "")
                axes.plot(
                    steps,
                    curves.group_losses[:, index],
                    color=_COLOURS[index % len(_COLOURS)],
                    linestyle="--",
                    label=f"classes, quarter {index + 1}{name}",
                )
        axes.legend(fontsize=6)
    axes.set(xscale="log", xlabel="step + 1", ylabel="loss")
    axes.set_yscale(_scale(curves.samples.values.mean(1)))
    axes.set_title("Loss along the measured run")


def _growth(axes: Axes, curves: Curves) -> None:
    """E |grad f_i|^2 over |grad f|^2, with the fit."""
    gradient = curves.samples.squared_mean_norm
    squared = curves.samples.mean_squared_norm
    axes.plot(gradient, squared, "o", color=_COLOURS[0], label="measured")
    seen = gradient[gradient > 0]
    if len(seen):
        line = jnp.geomspace(seen.min(), seen.max(), 100)
        fit = curves.growth.rho.value * line + curves.growth.noise_floor.value
        axes.plot(line, fit, color=_COLOURS[1], label=r"$\rho|\nabla f|^2+\sigma^2$")
    axes.set(xscale=_scale(gradient), yscale=_scale(squared))
    axes.set(xlabel=r"$|\nabla f|^2$", ylabel=r"$E|\nabla f_i|^2$")
    axes.set_title("Gradients: examples against loss")
    axes.legend()


def _ray(axes: Axes, curves: Curves) -> None:
    """What a search sees at the end of the run."""
    for ray, name, colour in zip(
        curves.ray, ("last batch", "all measured"), _COLOURS, strict=False
    ):
        axes.plot(ray.step_sizes, ray.values, color=colour, label=name)
        axes.axhline(float(ray.value), color=colour, linewidth=0.6, linestyle=":")
    batch = curves.ray[0]
    stops = {"Armijo": batch.armijo, "Goldstein": batch.goldstein}
    stops["Polyak"] = batch.polyak
    low, high = float(batch.step_sizes.min()), float(batch.step_sizes.max())
    for (name, step_size), colour in zip(stops.items(), _COLOURS[2:], strict=False):
        if low <= float(step_size) <= high:
            style = {"Armijo": "-", "Goldstein": "--", "Polyak": ":"}[name]
            axes.axvline(float(step_size), color=colour, linestyle=style, label=name)
    most = 4 * max(float(ray.value) for ray in curves.ray)
    axes.set(xscale="log", xlabel="step size along $-\\nabla f_i$", ylabel="loss")
    axes.set_ylim(0, most if most > 0 else None)
    axes.set_title("Along the ray, at the end of the run")
    axes.legend(fontsize=6)


def _pilots(axes: Axes, pilots: Mapping[str, PilotResult]) -> None:
    """Loss at the end of each short run."""
    names = list(pilots)[::-1]
    losses = [pilots[name].loss for name in names]
    shown = [loss if loss > 0 else 1e-30 for loss in losses]
    axes.plot(shown, names, "o", color=_COLOURS[0])
    axes.set(xscale="log", xlabel="loss at the end")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    # On less than a decade the axis has one label.
    axes.margins(x=0.15)
    for name, loss, at in zip(names, losses, shown, strict=True):
        axes.annotate(
            f"{loss:.2g}", (at, name), (5, 0), textcoords="offset points",
            fontsize=6, va="center",
        )  # fmt: skip
    axes.tick_params(axis="y", labelsize=6)
    axes.set_title("Short runs on the same batches")
