"""Image classifiers in Flax NNX. All take standardised float32 inputs."""

import math
from collections.abc import Callable

import jax
from flax import nnx

from examples.common.errors import UsageError


class MLP(nnx.Module):
    """Two hidden layers of `width` units; images are flattened."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs):
        width = 256
        self.hidden_1 = nnx.Linear(math.prod(shape), width, rngs=rngs)
        self.hidden_2 = nnx.Linear(width, width, rngs=rngs)
        self.logits = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        x = nnx.relu(self.hidden_1(x))
        x = nnx.relu(self.hidden_2(x))
        return self.logits(x)


class CNN(nnx.Module):
    """Two convolutions, each with pooling, and a hidden layer."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs):
        height, width, channels = shape
        self.conv_1 = nnx.Conv(channels, 32, (3, 3), rngs=rngs)
        self.conv_2 = nnx.Conv(32, 64, (3, 3), rngs=rngs)
        self.hidden = nnx.Linear((height // 4) * (width // 4) * 64, 128, rngs=rngs)
        self.logits = nnx.Linear(128, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv_1(x)), (2, 2), (2, 2))
        x = nnx.max_pool(nnx.relu(self.conv_2(x)), (2, 2), (2, 2))
        x = nnx.relu(self.hidden(x.reshape(len(x), -1)))
        return self.logits(x)


class ResidualBlock(nnx.Module):
    """Two convolutions with batch norm, added to their input.

    A change of width or of resolution projects the input by a 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        self.conv_1 = nnx.Conv(
            inputs, outputs, (3, 3), stride, use_bias=False, rngs=rngs
        )
        self.norm_1 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.conv_2 = nnx.Conv(outputs, outputs, (3, 3), use_bias=False, rngs=rngs)
        self.norm_2 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
        self.shortcut = (
            None
            if stride == 1 and inputs == outputs
            else nnx.Conv(inputs, outputs, (1, 1), stride, use_bias=False, rngs=rngs)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm_1(self.conv_1(x)))
        y = self.norm_2(self.conv_2(y))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nnx.Module):
    """A small residual network with batch norm: three stages of two blocks."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs):
        widths = (16, 32, 64)
        self.stem = nnx.Conv(shape[-1], widths[0], (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(widths[0], momentum=0.9, rngs=rngs)
        blocks = []
        inputs = widths[0]
        for stage, outputs in enumerate(widths):
            stride = 1 if stage == 0 else 2
            blocks.append(ResidualBlock(inputs, outputs, stride, rngs))
            blocks.append(ResidualBlock(outputs, outputs, 1, rngs))
            inputs = outputs
        self.blocks = nnx.Sequential(*blocks)
        self.logits = nnx.Linear(widths[-1], num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.stem(x)))
        return self.logits(self.blocks(x).mean((1, 2)))


MODELS: dict[str, Callable[..., nnx.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
}


def check(name: str, shape: tuple[int, ...] | None = None) -> None:
    """Refuses an unknown model, or one that cannot take inputs of `shape`."""
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}; choose from {', '.join(MODELS)}")
    if shape is None or name == "mlp":
        return
    if len(shape) != 3:
        raise UsageError(
            f"model {name} needs images, these inputs are vectors of {shape[0]}"
            " features; use --model mlp"
        )
    if name == "cnn" and min(shape[:2]) < 4:
        raise UsageError(
            f"model cnn needs images of 4x4 pixels or more, not {shape[0]}x{shape[1]}"
        )
