"""Data of the benchmark: from scikit-learn, from Python's help, and from a seed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from examples.common import text as texts

# Of the smallest tables: a fifth would be rows without errors, whose loss goes to zero.
_HALF = 0.5


class Split(NamedTuple):
    """Inputs and targets, rows first; targets are labels (int32) or vectors."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray


def _table(load: Callable[..., Any]) -> tuple[np.ndarray, np.ndarray]:
    """A data set of scikit-learn: inputs and targets."""
    x, y = load(return_X_y=True)
    return np.asarray(x), np.asarray(y)


def _split(x: np.ndarray, y: np.ndarray, share: float = 0.2) -> Split:
    """A share (of each class) to validate; inputs standardised."""
    stratify = y if y.ndim == 1 else None
    parts = train_test_split(x, y, test_size=share, random_state=0, stratify=stratify)
    x_train, x_valid, y_train, y_valid = map(np.asarray, parts)
    scaler = StandardScaler().fit(x_train)
    x_train, x_valid = (
        np.asarray(scaler.transform(part), np.float32) for part in (x_train, x_valid)
    )
    kind = np.int32 if y.ndim == 1 else np.float32
    return Split(x_train, y_train.astype(kind), x_valid, y_valid.astype(kind))


def _with_noise(
    split: Callable[[np.ndarray, np.ndarray], Split],
    x: np.ndarray,
    y: np.ndarray,
    noise: np.ndarray,
) -> Split:
    """Noise on the training targets; the validation targets are without."""
    return split(x, y + noise)._replace(y_valid=split(x, y).y_valid)


def flat_digits() -> Split:
    """Digits as vectors of 64."""
    return _split(*_table(datasets.load_digits))


def row_digits() -> Split:
    """Digits as 8 rows of 8."""
    x_train, y_train, x_valid, y_valid = flat_digits()
    return Split(x_train.reshape(-1, 8, 8), y_train, x_valid.reshape(-1, 8, 8), y_valid)


def image_digits() -> Split:
    """Digits as images with one channel."""
    x_train, y_train, x_valid, y_valid = row_digits()
    return Split(x_train[..., None], y_train, x_valid[..., None], y_valid)


def with_label_noise(split: Split, share: float) -> Split:
    """That share of the training labels drawn anew."""
    rng = np.random.default_rng(0)
    labels = split.y_train.copy()
    noisy = rng.random(len(labels)) < share
    labels[noisy] = rng.integers(labels.max() + 1, size=noisy.sum())
    return split._replace(y_train=labels)


def heavy_tailed(split: Split) -> Split:
    """Training examples thinned so that class k keeps a share 1 / (k + 1)."""
    rng = np.random.default_rng(0)
    kept = rng.random(len(split.y_train)) < 1 / (1 + split.y_train)
    return split._replace(x_train=split.x_train[kept], y_train=split.y_train[kept])


def reconstruct(split: Split) -> Split:
    """The inputs as targets."""
    return Split(split.x_train, split.x_train, split.x_valid, split.x_valid)


def text(vocabulary_size: int, length: int) -> Split:
    """Words of Python's help texts and the words after them."""
    corpus = texts.load(vocabulary_size, length)
    train, valid = corpus.train[::8], corpus.test[::8]
    return Split(train[:, :-1], train[:, 1:], valid[:, :-1], valid[:, 1:])


def cancer() -> Split:
    """Breast cancer: 30 features, 2 classes."""
    return _split(*_table(datasets.load_breast_cancer))


def wine() -> Split:
    """Wine: 13 features, 3 classes, 89 training examples."""
    return _split(*_table(datasets.load_wine), share=_HALF)


def kernel(split: Split) -> Split:
    """Radial basis functions around every training example: interpolation."""
    gamma = 0.5 / split.x_train.shape[1]
    x_train, x_valid = (
        rbf_kernel(part, split.x_train, gamma).astype(np.float32)
        for part in (split.x_train, split.x_valid)
    )
    return split._replace(x_train=x_train, x_valid=x_valid)


def diabetes() -> Split:
    """Diabetes: 10 features, a progression in units of its deviation."""
    x, y = _table(datasets.load_diabetes)
    return _split(x, ((y - y.mean()) / y.std())[:, None])


def linear_map() -> Split:
    """An ill-conditioned linear map from 6 to 10 dimensions, without noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1250, 6)).astype(np.float32)
    y = (x * np.logspace(0, -1, 6)) @ rng.standard_normal((6, 10))
    y = y.astype(np.float32)
    return Split(x[:1000], y[:1000], x[1000:], y[1000:])


def teacher(noise: float) -> Split:
    """What a random network with 16 tanh units says of 10 features, and noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1250, 10))
    hidden = np.tanh(x @ rng.standard_normal((10, 16)) / np.sqrt(10) * 2)
    y = hidden @ rng.standard_normal((16, 1)) / 4
    y = y / y.std()
    return _with_noise(_split, x, y, noise * rng.standard_normal(y.shape))


def least_squares(noise: float) -> Split:
    """Linear regression in 50 features whose scales span a factor of 10."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1250, 50))
    weights = (
        rng.standard_normal((50, 1)) / np.sqrt(50) * np.logspace(0, -1, 50)[:, None]
    )
    mixing = np.linalg.qr(rng.standard_normal((50, 50)))[0]
    x = (x * np.logspace(0, -1, 50)) @ mixing
    y = x @ mixing.T @ weights
    y = y / y.std()
    return _with_noise(_split, x, y, noise * rng.standard_normal(y.shape))


def zipf_classes() -> Split:
    """50 Gaussian clusters in 40 dimensions; class k has a share ~ 1 / (k + 1)."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 51)
    labels = rng.choice(50, size=4000, p=share / share.sum())
    centres = rng.standard_normal((50, 40))
    counts = np.bincount(labels, minlength=50)
    labels = labels[counts[labels] > 4]
    x = 0.7 * centres[labels] + rng.standard_normal((len(labels), 40))
    return _split(x, labels)


def _cut(x: np.ndarray, y: np.ndarray) -> Split:
    """The last fifth to validate; rows in random order."""
    order = in_random_order(len(x))
    x, y, train = x[order], y[order], len(x) * 4 // 5
    y = y if y.ndim == 1 else y.astype(np.float32)
    return Split(x[:train], y[:train], x[train:], y[train:])


def iris() -> Split:
    """Iris: 4 features, 3 classes, 75 training examples."""
    return _split(*_table(datasets.load_iris), share=_HALF)


def spirals() -> Split:
    """Two spirals, each around the other one and a half times."""
    rng = np.random.default_rng(0)
    label = np.arange(1250) % 2
    angle = 3 * np.pi * np.sqrt(rng.random(1250)) + 0.5
    turned = angle + np.pi * label
    x = angle[:, None] * np.stack([np.cos(turned), np.sin(turned)], 1)
    x = x / 5 + 0.05 * rng.standard_normal(x.shape)
    return _cut(x.astype(np.float32), label.astype(np.int32))


def overlap() -> Split:
    """Two Gaussians in 20 dimensions; no classifier errs on less than a sixth."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=1250)
    x = rng.standard_normal((1250, 20))
    x[:, 0] += 2 * label
    return _cut(x.astype(np.float32), label.astype(np.int32))


def scaled() -> Split:
    """Two classes, linear but for noise, in 30 features of many scales."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1250, 30))
    side = x @ rng.standard_normal(30) / np.sqrt(30) + 0.5 * rng.standard_normal(1250)
    x = x * np.logspace(0, -1, 30)
    return _cut(x.astype(np.float32), (side > 0).astype(np.int32))


def counts() -> Split:
    """Poisson counts whose log-rate is linear in 10 features."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1250, 10))
    y = rng.poisson(np.exp(1 + x @ rng.standard_normal((10, 1)) / 4))
    return _cut(x.astype(np.float32), y.astype(np.float32))


def ratings() -> Split:
    """Half of the entries of an 80 x 60 matrix of rank 4, with noise."""
    rng = np.random.default_rng(0)
    entries = rng.standard_normal((80, 4)) @ rng.standard_normal((4, 60)) / 2
    pairs = np.argwhere(rng.random(entries.shape) < 0.5)
    y = entries[tuple(pairs.T)][:, None]
    noise = 0.1 * rng.standard_normal(y.shape)
    return _with_noise(_cut, pairs.astype(np.int32), y, noise)


def digit_values() -> Split:
    """Digits as numbers from 0 to 9, not standardised."""
    split = flat_digits()
    y_train, y_valid = (
        part[:, None].astype(np.float32) for part in (split.y_train, split.y_valid)
    )
    return Split(split.x_train, y_train, split.x_valid, y_valid)


def in_random_order(number: int) -> np.ndarray:
    """Numbers of rows in an order that is always the same."""
    return np.random.default_rng(1).permutation(number)
