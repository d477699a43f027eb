"""Shared set-up: float64 tests switch it on themselves with ``jax.enable_x64``."""

import os

# Eight host devices where a test asks for them; must be set before jax starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
