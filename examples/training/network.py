"""A Flax NNX model as pure functions of its parameters and its state."""

from collections.abc import Callable
from typing import Any, cast

import jax
from flax import nnx


class Network:
    """Takes an NNX model apart and puts it together again.

    The state is what the model holds beside its parameters: statistics of batch norm.
    """

    def __init__(self, build: Callable[[nnx.Rngs], nnx.Module]):
        """Keeps the recipe and the model's structure; no parameters are made yet."""
        self._build = build
        abstract_model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
        self._graph = nnx.graphdef(abstract_model)

    def init(self, key: jax.Array) -> tuple[nnx.State, nnx.State]:
        """Fresh parameters and state."""
        return self.split(self._build(nnx.Rngs(key)))

    def merge(self, params: nnx.State, model_state: nnx.State) -> Any:
        """The model with these parameters and this state, which it cannot change."""
        # Without copies batch norm would write into the caller's variables.
        return nnx.merge(self._graph, params, model_state, copy=True)

    @staticmethod
    def split(model: nnx.Module) -> tuple[nnx.State, nnx.State]:
        """Parameters, and all else that the model holds."""
        _, params, model_state = cast(Any, nnx.split(model, nnx.Param, ...))
        return params, model_state
