"""Which programs XLA compiled: a training loop must compile one."""

import contextlib
import logging
from collections.abc import Iterator


class _Compilations(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()).startswith("Finished XLA compilation"):
            self.names.append(message)


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """Lists the XLA compilations that happen inside the block."""
    handler, logger = _Compilations(), logging.getLogger("jax._src.dispatch")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield handler.names
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
