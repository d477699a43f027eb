"""Flax adapters: a linen TrainState, and for NNX two functions. Needs flax."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from flax.training import train_state
from jax.tree_util import GetAttrKey

from optaxls._core import arguments
from optaxls.training.evaluation import eval_params


class TrainState(train_state.TrainState):
    """A linen ``TrainState`` whose ``apply_gradients`` passes on what a search needs.

    The params to evaluate are ``optaxls.eval_params(state.opt_state, state.params)``.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> from flax import linen as nn
      >>> from optaxls.flax import TrainState
      >>> model, x, y = nn.Dense(1), jnp.ones((4, 2)), jnp.ones((4, 1))
      >>> params = model.init(jax.random.key(0), x)
      >>> state = TrainState.create(
      ...     apply_fn=model.apply, params=params, tx=optaxls.ponos())
      >>> def loss_fn(params):
      ...     return jnp.mean((state.apply_fn(params, x) - y) ** 2)
      >>> value, grads = jax.value_and_grad(loss_fn)(state.params)
      >>> state = state.apply_gradients(grads=grads, value=value, value_fn=loss_fn)
      >>> bool(loss_fn(state.params) < value)
      True
    """

    def apply_gradients(self, *, grads: Any, replace: dict | None = None, **extra: Any):
        """Updates the params and the state of the optimizer, which gets ``extra``.

        Args:
          grads: gradients, like params, as ``jax.grad`` returns them. In complex params
            the step goes along their conjugate, where the loss descends.
          replace: other fields of the state to replace, such as batch statistics.
          **extra: ``value``, ``value_fn`` and, where the optimizer asks, ``grad_fn`` or
            ``lower_bound``; ``grad`` defaults to ``grads``.

        Returns:
          The new state.
        """
        extra.setdefault("grad", grads)
        optimizer = optax.with_extra_args_support(self.tx)
        # Complex gradients that were conjugated by hand stay as they are.
        ascent = arguments.ascent_direction(grads, extra["grad"])
        updates, opt_state = optimizer.update(
            ascent, self.opt_state, self.params, **extra
        )
        params = optax.apply_updates(self.params, updates)
        changes = {"params": params, "opt_state": opt_state, **(replace or {})}
        return self.replace(step=self.step + 1, **changes)


def _paths(state: Any) -> list[str]:
    """The places of the arrays in an NNX state, with or without their variables."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    keys = [[key for key in path if not isinstance(key, GetAttrKey)] for path in paths]
    return sorted(".".join(str(getattr(k, "key", k)) for k in path) for path in keys)


_SAME_WRT = "Pass the wrt of nnx.Optimizer(model, tx, wrt=...) to value_fn too."


def _name(wrt: Any) -> str:
    return getattr(wrt, "__name__", repr(wrt))


def value_fn(
    model: nnx.Module, loss_fn: Callable[..., Any], *args: Any, wrt: Any = nnx.Param
) -> Callable[[Any], Any]:
    """Makes the loss of an NNX model a function of its params alone, for a search.

    Every trial uses the dropout keys and batch statistics that the model has at this
    call: a search compares losses of one function. So call it *before* the gradient.
    Then trials see the gradient's dropout mask, and only the gradient's forward pass
    moves the model's running statistics.

    Args:
      model: the NNX module; it is not changed.
      loss_fn: ``(model, *args) -> loss`` or ``(loss, aux)``.
      *args: the batch.
      wrt: filter of what is trained, that of ``nnx.Optimizer(model, tx, wrt=...)``.

    Returns:
      ``value_fn(params) -> loss`` for ``nnx.Optimizer.update``.

    Raises:
      ValueError: the model has no variables of ``wrt``, or the optimizer trains others.

    Cost:
      It evaluates nothing, and holds references to the model's state.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> from flax import nnx
      >>> from optaxls.flax import value_fn
      >>> model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
      >>> optimizer = nnx.Optimizer(model, optaxls.ponos(), wrt=nnx.Param)
      >>> x, y = jnp.ones((4, 2)), jnp.ones((4, 1))
      >>> def loss_fn(model, x, y):
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> fn = value_fn(model, loss_fn, x, y)
      >>> value, grads = nnx.value_and_grad(loss_fn)(model, x, y)
      >>> _ = optimizer.update(model, grads, value=value, grad=grads, value_fn=fn)
      >>> bool(loss_fn(model, x, y) < value)
      True

    Reference:
      No publication; defined here. See flax issue 4144.
    """
    graphdef, trained, rest = nnx.split(model, wrt, ...)
    wanted = _paths(trained)
    if not wanted:
        raise ValueError(
            f"value_fn: the model has no variables of wrt={_name(wrt)}. {_SAME_WRT}"
        )
    # New variables around the same arrays: those of the model change with the gradient.
    rest = jax.tree.map(lambda leaf: leaf, rest)

    def evaluate(params: Any) -> Any:
        if _paths(params) != wanted:
            raise ValueError(
                f"value_fn: the optimizer trains {_paths(params)}, but "
                f"wrt={_name(wrt)} names {wanted}. {_SAME_WRT}"
            )
        return loss_fn(nnx.merge(graphdef, params, rest, copy=True), *args)

    return evaluate


def _arrays(tree: Any) -> Any:
    """The tree without the variables around its arrays."""
    return jax.tree.map(
        lambda leaf: leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf,
        tree,
        is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
    )


def eval_model(model: nnx.Module, optimizer: nnx.Optimizer) -> Any:
    """A copy of an NNX model with the params to evaluate and to keep.

    They are those of ``optaxls.eval_params``: for ``auto`` an average. All else in the
    copy is that of ``model``. An average has other activations than the params had. So
    run some training batches through the copy before evaluating it, in the mode
    ``train()``, if it has batch norm. Train on with ``model``.

    Args:
      model: the NNX module that is trained; it is not changed.
      optimizer: the one that trains it.

    Returns:
      A module like ``model``.

    Raises:
      ValueError: the optimizer's state holds several such params.

    Cost:
      One pass over the params and a copy of the model.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> from flax import nnx
      >>> from optaxls.flax import eval_model
      >>> model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
      >>> optimizer = nnx.Optimizer(model, optaxls.auto(), wrt=nnx.Param)
      >>> x, y = jnp.ones((4, 2)), jnp.ones((4, 1))
      >>> def loss_fn(model):
      ...     return jnp.mean((model(x) - y) ** 2)
      >>> for _ in range(3):
      ...     value, grads = nnx.value_and_grad(loss_fn)(model)
      ...     _ = optimizer.update(model, grads, value=value, grad=grads)
      >>> average = eval_model(model, optimizer)
      >>> bool(average.bias[0] != model.bias[0])
      True

    Reference:
      No publication; defined here.
    """
    graphdef, params, rest = nnx.split(model, optimizer.wrt, ...)
    # The optimizer's copies of the params are in variables of another class.
    found = eval_params(_arrays(optimizer.opt_state), _arrays(params))
    params = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(found))
    return nnx.merge(graphdef, params, rest, copy=True)


def predict_fn(
    model: nnx.Module, predict: Callable[..., Any], *, wrt: Any = nnx.Param
) -> Callable[..., Any]:
    """Makes the predictions of an NNX model a function of its params, for surrogates.

    The model is evaluated in the mode ``eval()``: without dropout, and with the running
    statistics of batch norm that it has at this call. So all evaluations are of one
    function of the params, as ``make_surrogate_step`` needs.

    Args:
      model: the NNX module; it is not changed.
      predict: ``(model, *args) -> predictions``.
      wrt: filter of what is trained.

    Returns:
      ``(params, *args) -> predictions``. The params are ``nnx.state(model, wrt)``; put
      trained ones back by ``nnx.update(model, params)``.

    Raises:
      ValueError, from the function: the model has no variables of ``wrt``, or others.

    Cost:
      It copies the model once.

    Example:
      >>> import jax.numpy as jnp, optaxls
      >>> from flax import nnx
      >>> from optaxls.flax import predict_fn
      >>> model = nnx.Sequential(
      ...     nnx.Linear(2, 1, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
      >>> def loss_fn(z, x, y):
      ...     return jnp.mean((z - y) ** 2) / 2
      >>> optimizer, x, y = optaxls.lbfgs(), jnp.ones((4, 2)), jnp.full((4, 1), 3.0)
      >>> predict = predict_fn(model, lambda model, x, y: model(x))
      >>> step = optaxls.make_surrogate_step(
      ...     predict, loss_fn, optimizer, inner_steps=5, step_size=1.0)
      >>> params = nnx.state(model, nnx.Param)
      >>> result = step(params, optimizer.init(params), x, y)
      >>> nnx.update(model, result.params)
      >>> bool(jnp.allclose(predict(nnx.state(model, nnx.Param), x, y), y, atol=1e-3))
      True

    Reference:
      No publication; defined here.
    """
    frozen = nnx.clone(model)
    frozen.eval()
    return lambda params, *args: value_fn(frozen, predict, *args, wrt=wrt)(params)
