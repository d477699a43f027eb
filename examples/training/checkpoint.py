"""Checkpoints: everything a run needs to go on as if it had not stopped."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import grain
import grain.checkpoint
import jax
import orbax.checkpoint as ocp

from examples.common import run_directory
from examples.common.errors import UsageError
from examples.training import processes

SAVE_EVERY_SECONDS = 10.0
_SEAL = "seal.json"


class Checkpoints:
    """The checkpoints of one optimizer's run, in one directory; the last two are kept.

    Orbax writes a checkpoint under a temporary name and moves it in place. A seal, the
    digests of its files, is added last: what has none was never finished, and what does
    not match its seal is damaged. So a kill during a write leaves the checkpoint before
    it as the newest, and damage is found before Orbax reads, and logs, any of it.
    """

    def __init__(self, directory: Path):
        """Opens the directory, or makes it, and clears away unfinished checkpoints.

        Raises:
            UsageError: when a checkpoint has changed since it was written.
        """
        self._directory = directory.absolute()
        self._mark(0)
        processes.on_first(self._clear)
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=2,
                enable_async_checkpointing=False,
                cleanup_tmp_directories=True,
            ),
        )

    def _clear(self) -> None:
        """Removes checkpoints that were never finished; refuses damaged ones."""
        for folder in self._directory.glob("[0-9]*"):
            if not (folder / _SEAL).exists():
                shutil.rmtree(folder)
            elif not _is_intact(folder):
                raise UsageError(
                    f"damaged checkpoint {folder}; delete it to go on from the one"
                    " before it, if there is one"
                )

    def due(self, step: int) -> bool:
        """Whether the last save lies so far back that losing the work would hurt.

        The first process's clock decides for all. They wait for each other to hear of
        it, so they ask again only after as many steps as fit into the time that is
        left at the speed so far, and after twice the steps at most.
        """
        if step < self._ask_at:
            return False
        elapsed = time.monotonic() - self._saved_at
        left = max(SAVE_EVERY_SECONDS - elapsed, 0)
        done = max(step - self._saved_step, 1)
        pause = min(int(left * done / max(elapsed, 1e-9)) + 1, done)
        due, pause = map(processes.of_first, (left == 0, pause))
        self._ask_at = step + pause
        return bool(due)

    def save(self, step: int, tree: Any, batches: grain.DatasetIterator) -> None:
        """Saves a pytree of arrays and random keys, and the iterator's position."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                tree=ocp.args.StandardSave(tree),
                batches=grain.checkpoint.CheckpointSave(batches),
            ),
        )
        # All processes have written their parts when Orbax returns.
        processes.on_first(lambda: _seal(self._directory / str(step)))
        self._mark(step)

    def restore(self, like: Any, batches: grain.DatasetIterator) -> tuple[int, Any]:
        """The newest checkpoint's step and tree; moves `batches` to its position.

        Args:
            like: a tree of the same structure, shapes and types, returned with step 0
                if there is no checkpoint yet.
            batches: a fresh iterator.
        """
        step = self._manager.latest_step()
        self._mark(step or 0)
        if step is None:
            return 0, like
        abstract = jax.tree.map(ocp.tree.to_shape_dtype_struct, like)
        found = self._manager.restore(
            step,
            args=ocp.args.Composite(
                tree=ocp.args.StandardRestore(abstract),
                batches=grain.checkpoint.CheckpointRestore(batches),
            ),
        )
        return step, found["tree"]

    def _mark(self, step: int) -> None:
        """Notes that nothing would be lost at this moment."""
        self._saved_at = time.monotonic()
        self._saved_step = step
        self._ask_at = step + 1

    def close(self) -> None:
        """Releases Orbax's threads."""
        self._manager.close()


def last_saved(directory: Path) -> int:
    """The step of the newest finished checkpoint; 0 if there is none."""
    return max((int(x.parent.name) for x in directory.glob(f"*/{_SEAL}")), default=0)


def _seal(folder: Path) -> None:
    """Marks a checkpoint as finished."""
    seal = json.dumps(_digests(folder))
    run_directory.write(folder / _SEAL, lambda path: path.write_text(seal))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the seal."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _SEAL
    }


def _is_intact(folder: Path) -> bool:
    try:
        return json.loads((folder / _SEAL).read_text()) == _digests(folder)
    except (OSError, ValueError):
        return False
