"""Denoising at all amounts of noise, in the plane and on images of digits."""

from collections.abc import Callable

import numpy as np

from examples.benchmark import arrays
from examples.benchmark.arrays import Split
from examples.benchmark.networks import Denoiser
from examples.benchmark.task import Task, regress


def _swiss_roll(rng: np.random.Generator, number: int) -> np.ndarray:
    """Points on a spiral in the plane, with a little noise."""
    angle = 1.5 * np.pi * (1 + 2 * rng.random(number))
    roll = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1) / 8
    return roll + 0.03 * rng.standard_normal(roll.shape)


def _noisy(clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Inputs, the time as their last column; and the noise, which is the target."""
    time = rng.random((len(clean), 1))
    noise = rng.standard_normal(clean.shape)
    share = np.cos(0.5 * np.pi * time)
    mixed = share * clean + np.sqrt(1 - share**2) * noise
    inputs = np.concatenate([mixed, time], 1)
    return inputs.astype(np.float32), noise.astype(np.float32)


def roll() -> Split:
    """A spiral; no row is seen twice in 1,000 steps of 128."""
    rng = np.random.default_rng(0)
    train, valid = _swiss_roll(rng, 128_000), _swiss_roll(rng, 4000)
    return Split(*_noisy(train, rng), *_noisy(valid, rng))


def digits() -> Split:
    """Images of digits, each many times with other noise; those to validate are new."""
    rng = np.random.default_rng(0)
    flat = arrays.flat_digits()
    train = flat.x_train[rng.integers(len(flat.x_train), size=51_200)]
    valid = np.repeat(flat.x_valid, 4, 0)
    return Split(*_noisy(train, rng), *_noisy(valid, rng))


TASKS: dict[str, Callable[[], Task]] = {
    "diffusion_roll": lambda: regress(
        "diffusion_roll", "diffusion", Denoiser((64, 64, 64)), roll(), batch_size=128
    ),
    "diffusion_digits": lambda: regress(
        "diffusion_digits", "diffusion", Denoiser((128, 128)), digits(),
        num_steps=800, held_out=True,
    ),
}  # fmt: skip
