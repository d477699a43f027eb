"""What can be said of a step from its program alone, without a clock or with one."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from examples.benchmark.cost_models import Task
from examples.benchmark.cost_steps import Contender

_PRODUCTS = ("dot_general", "conv_general_dilated")
_BRANCHES = ("while", "cond")


def param_bytes(task: Task) -> int:
    """The size of one copy of the params."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(task.params()))


def state_bytes(contender: Contender, task: Task) -> int:
    """The size of all that is carried beside the params."""
    state = contender.start(task, task.params())[1]
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


class Program(NamedTuple):
    """A compiled step.

    Attributes:
        seconds: from the Python function to the program, a median.
        temporary_bytes: what it needs beside arguments and results, as XLA plans it.
    """

    seconds: float
    temporary_bytes: int


def compile_in_turns(
    contenders: Sequence[Contender], task: Task, repeats: int
) -> dict[str, Program]:
    """Compiles the step of each so many times; one after another, again and again."""
    seconds = {contender.name: [] for contender in contenders}
    memory = {}
    for _ in range(repeats):
        for contender in contenders:
            carry = contender.start(task, task.params())
            start = time.perf_counter()
            compiled = contender.jitted(task).lower(carry, task.batch).compile()
            seconds[contender.name].append(time.perf_counter() - start)
            memory[contender.name] = compiled.memory_analysis().temp_size_in_bytes
    return {
        name: Program(float(np.median(found)), memory[name])
        for name, found in seconds.items()
    }


def _inner(equation: Any) -> Iterator[Any]:
    """The programs inside an equation: bodies of loops, branches, calls."""
    for parameter in equation.params.values():
        several = parameter if isinstance(parameter, tuple | list) else (parameter,)
        for item in several:
            program = getattr(item, "jaxpr", item)
            if hasattr(program, "eqns"):
                yield program


def _count(program: Any, only_branches: bool) -> int:
    total = 0
    for equation in program.eqns:
        name = equation.primitive.name
        total += name in _PRODUCTS and not only_branches
        for inner in _inner(equation):
            total += _count(inner, only_branches and name not in _BRANCHES)
    return total


def products_in_branches(contender: Contender, task: Task) -> int:
    """Matrix products and convolutions inside loops and conditionals.

    A forward pass has `products_of_forward`; a gradient has about three times as many.
    """
    carry = contender.start(task, task.params())
    program = jax.make_jaxpr(contender.step(task))(carry, task.batch)
    return _count(program.jaxpr, only_branches=True)


def products_of_forward(task: Task) -> int:
    """Matrix products and convolutions of one evaluation of the loss."""
    program = jax.make_jaxpr(task.loss)(task.params(), task.batch)
    return _count(program.jaxpr, only_branches=False)
