"""How every command here reads its command line."""

from collections.abc import Sequence
from typing import TypeVar

import tyro

AnySettings = TypeVar("AnySettings")


def read(
    settings_class: type[AnySettings], arguments: Sequence[str] | None
) -> AnySettings:
    """Reads the settings from a command line; a flag is `--flag`, never `--no-flag`.

    Args:
        settings_class: a dataclass; its fields are the options.
        arguments: the command line, by default the process's own.
    """
    return tyro.cli(
        settings_class, args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
    )
