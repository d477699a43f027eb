"""The same models and steps in PyTorch, run eagerly as its users run them.

Params, losses and batches are those of `cost_models`, converted; the tests hold both
against each other. A search is written out in Python, as those in PyTorch are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

from examples.benchmark.cost_models import HEADS, Task
from examples.benchmark.cost_steps import STEP_SIZE, Contender

_SLOPE_SHARE = 0.1
_DECREASE_FACTOR = 0.9
_MOST_TRIALS = 15

Loss = Callable[[Any, Any], Any]


class Carry(NamedTuple):
    """What a step goes on from; the params change in place.

    Attributes:
        params: tensors in the structure of the task's params.
        trials: that the last step made.
    """

    params: Any
    trials: int


class Eager(Contender):
    """A contender whose step is called as it stands: PyTorch compiles nothing here."""

    def jitted(self, task: Task) -> Any:
        """The step."""
        return self.step(task)


def _tensor(array: Any) -> Any:
    return torch.from_numpy(np.array(array))


def _leaf(array: Any) -> Any:
    leaf = _tensor(array)
    if leaf.ndim == 4:
        # A kernel in PyTorch's layout, lest every pass converts it.
        leaf = leaf.permute(3, 2, 0, 1).contiguous()
    return leaf.requires_grad_()


def _start(task: Task, params: Any) -> Carry:
    """The task's params as leaves that gradients are taken of."""
    del task
    return Carry(jax.tree.map(_leaf, params), 0)


def _dense(params: Any, x: Any) -> Any:
    for layer in params[:-1]:
        x = functional.relu(torch.addmm(layer["bias"], x, layer["weights"]))
    return torch.addmm(params[-1]["bias"], x, params[-1]["weights"])


def _cnn(params: Mapping[str, Any], x: Any) -> Any:
    for name in ("conv_1", "conv_2"):
        x = functional.conv2d(x, params[name], padding=1)
        x = functional.relu(functional.max_pool2d(x, 2))
    return x.permute(0, 2, 3, 1).flatten(1) @ params["logits"]


def _normalise(x: Any) -> Any:
    return functional.layer_norm(x, x.shape[-1:])


def _attend(x: Any, block: Mapping[str, Any]) -> Any:
    rows, length, width = x.shape
    parts = (x @ block["qkv"]).view(rows, length, 3, HEADS, width // HEADS)
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(1, 2).flatten(2) @ block["out"]


def _transformer(params: Mapping[str, Any], tokens: Any) -> Any:
    x = functional.embedding(tokens, params["tokens"]) + params["places"]
    for block in params["blocks"]:
        x = x + _attend(_normalise(x), block)
        hidden = functional.gelu(_normalise(x) @ block["hidden"], approximate="tanh")
        x = x + hidden @ block["back"]
    return _normalise(x) @ params["logits"]


def _loss(model: Callable[[Any, Any], Any]) -> Loss:
    def loss(params: Any, batch: Any) -> Any:
        x, targets = batch
        return functional.cross_entropy(model(params, x).flatten(0, -2), targets)

    return loss


def converted(task: Task) -> Task:
    """The task with its loss and its batch in PyTorch; its params stay JAX's."""
    params, (inputs, targets) = task.params(), task.batch
    model, x = _dense, _tensor(inputs)
    if "conv_1" in params:
        model, x = _cnn, x.permute(0, 3, 1, 2).contiguous()
    elif "tokens" in params:
        model, x = _transformer, x.long()
    return task._replace(
        loss=_loss(model), batch=(x, _tensor(targets).long().flatten())
    )


def _gradient(loss_fn: Loss, params: Any, batch: Any) -> tuple[Any, Sequence[Any], Any]:
    """Loss, leaves, and the gradient with respect to them."""
    leaves = jax.tree.leaves(params)
    loss = loss_fn(params, batch)
    return loss.detach(), leaves, torch.autograd.grad(loss, leaves)


def _descend(leaves: Sequence[Any], grad: Sequence[Any], step_size: float) -> None:
    for leaf, slope in zip(leaves, grad, strict=True):
        leaf.sub_(slope, alpha=step_size)


def _sgd(loss_fn: Loss, carry: Carry, batch: Any) -> tuple[Carry, Any]:
    loss, leaves, grad = _gradient(loss_fn, carry.params, batch)
    with torch.no_grad():
        _descend(leaves, grad, STEP_SIZE)
    return carry, loss


def _floor(loss_fn: Loss, carry: Carry, batch: Any) -> tuple[Carry, Any]:
    carry, _ = _sgd(loss_fn, carry, batch)
    with torch.no_grad():
        return carry, loss_fn(carry.params, batch)


def _armijo(loss_fn: Loss, carry: Carry, batch: Any) -> tuple[Carry, Any]:
    loss, leaves, grad = _gradient(loss_fn, carry.params, batch)
    step_size, trials, accepted = STEP_SIZE, 0, False
    with torch.no_grad():
        square = torch.stack([torch.sum(slope * slope) for slope in grad]).sum()
        start = [leaf.clone() for leaf in leaves]
        while not accepted and trials < _MOST_TRIALS:
            if trials:
                step_size *= _DECREASE_FACTOR
                for leaf, old in zip(leaves, start, strict=True):
                    leaf.copy_(old)
            _descend(leaves, grad, step_size)
            trials += 1
            bound = loss - _SLOPE_SHARE * step_size * square
            accepted = bool(loss_fn(carry.params, batch) <= bound)
    return Carry(carry.params, trials), loss


def contenders() -> list[Eager]:
    """Plain SGD, the floor, and a search whose first trial is accepted."""
    steps = {"SGD": _sgd, "floor": _floor, "one trial": _armijo}
    return [
        Eager(name, lambda task, step=step: partial(step, task.loss), _start)
        for name, step in steps.items()
    ]
