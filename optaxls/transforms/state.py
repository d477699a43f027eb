"""What a step-size rule leaves in the optimizer state."""

from typing import NamedTuple

import jax

from optaxls.parts.types import Memory


class LineSearchState(NamedTuple):
    """What a step left behind: scalars for the logger, memories for the parts.

    ``value`` is the loss before the step. ``trial_value`` is the loss, on the same
    batch, at the end of the step of size ``step_size``. It is NaN where that loss was
    not evaluated, and ``value`` where no step was made.
    """

    step_size: jax.Array
    num_trials: jax.Array
    accepted: jax.Array
    value: jax.Array
    slope: jax.Array
    trial_value: jax.Array
    condition: Memory
    initial_step: Memory
    gate: Memory
