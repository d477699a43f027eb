"""Readers of the file formats in which image data sets are published."""

import gzip
import importlib
import io
import math
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from examples.common.errors import UsageError

_UNSIGNED_BYTES = 0x08
_BROKEN_FILE = (OSError, EOFError, ValueError, KeyError, zlib.error, struct.error)
_BROKEN_FILE += (pickle.UnpicklingError, tarfile.TarError)


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    The format: two zero bytes, a type code, the number of dimensions, the dimensions
    as big-endian 32-bit integers, then the entries in C order.
    """

    def parse() -> np.ndarray:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        zeros, code, dimensions = struct.unpack_from(">HBB", data)
        if zeros != 0 or code != _UNSIGNED_BYTES:
            raise ValueError("not an IDX file of unsigned bytes")
        shape = struct.unpack_from(f">{dimensions}I", data, offset=4)
        entries = np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions)
        if entries.size != math.prod(shape):
            raise ValueError(f"{entries.size} entries, {math.prod(shape)} announced")
        return entries.reshape(shape)

    return _guarded(path, parse)


def read_cifar_folder(folder: Path, files: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Reads CIFAR batches from a folder; the last file is the test set."""

    def parse_file(path: Path):
        with path.open("rb") as stream:
            return _cifar_batch(stream)

    return _joined(
        [_guarded(folder / file, parse_file, folder / file) for file in files]
    )


def read_cifar_archive(archive: Path, files: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Reads CIFAR batches from the published `.tar.gz`, without unpacking it."""

    def parse():
        with tarfile.open(archive, "r:gz") as tar:
            streams = [tar.extractfile(f"cifar-10-batches-py/{file}") for file in files]
            return [_cifar_batch(stream) for stream in streams if stream is not None]

    batches = _guarded(archive, parse)
    return _joined(batches)


def _cifar_batch(stream: BinaryIO | Any) -> tuple[np.ndarray, np.ndarray]:
    """Images `(examples, 32, 32, 3)` and labels of one pickled batch."""
    batch = _ArrayUnpickler(io.BytesIO(stream.read()), encoding="bytes").load()
    rows = np.asarray(batch[b"data"], np.uint8)
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.asarray(batch[b"labels"])


def _joined(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Training images and labels of all but the last batch, and the last one's."""
    images, labels = zip(*batches, strict=True)
    return (
        np.concatenate(images[:-1]),
        np.concatenate(labels[:-1]),
        np.ascontiguousarray(images[-1]),
        labels[-1],
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Loads numpy arrays and nothing else: a pickle may run any code it names."""

    _ALLOWED = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        # The published files were written when numpy's core had its public name.
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return getattr(importlib.import_module(module), name)


def _guarded(path: Path, parse: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `parse`, turning what a broken file causes into one readable line."""
    try:
        return parse(*arguments)
    except _BROKEN_FILE as error:
        raise UsageError(f"cannot read {path}: damaged file ({error})") from None
