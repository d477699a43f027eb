"""The next word, or the next character, of texts that ship with Python."""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from examples.benchmark import arrays
from examples.benchmark.arrays import Split
from examples.benchmark.networks import TextAttention, TextGRU
from examples.benchmark.task import Task, classify
from examples.common import text as texts
from examples.common.text import Corpus

WORDS, CHARACTERS = 1000, 96
# Validation rows: logits of all of them, in all lanes, have to fit into memory.
_ROWS = 250
# All versions of Python that the package runs on have them.
_MODULES = (
    "argparse", "ast", "bdb", "calendar", "cmd", "configparser", "csv", "difflib",
    "doctest", "fractions", "heapq", "optparse", "pprint", "shlex", "textwrap",
)  # fmt: skip
_MORE_MODULES = (
    "_pydecimal", "_pyio", "asyncio.base_events", "asyncio.streams", "asyncio.tasks",
    "codecs", "collections", "concurrent.futures.process", "contextlib", "dataclasses",
    "dis", "email.message", "enum", "ftplib", "functools", "gettext", "gzip",
    "http.client", "http.cookiejar", "imaplib", "inspect", "ipaddress", "locale",
    "logging", "logging.handlers", "mailbox", "mimetypes", "multiprocessing.pool",
    "os", "pdb", "pickle", "pickletools", "platform", "plistlib", "profile", "pstats",
    "pydoc", "random", "shutil", "smtplib", "socketserver", "ssl", "statistics",
    "subprocess", "tarfile", "tempfile", "threading", "tokenize", "trace", "traceback",
    "turtle", "typing", "unittest.case", "unittest.mock", "urllib.parse",
    "urllib.request", "uuid", "warnings", "weakref", "webbrowser", "xml.dom.minidom",
    "xmlrpc.client",
)  # fmt: skip


def _split(corpus: Corpus, rows: int = _ROWS) -> Split:
    """Training rows in random order, so that the first are a sample of all."""
    train, valid = (
        part[arrays.in_random_order(len(part))] for part in (corpus.train, corpus.test)
    )
    valid = valid[:rows]
    return Split(train[:, :-1], train[:, 1:], valid[:, :-1], valid[:, 1:])


def _task(name: str, model: nn.Module, corpus: Corpus, **settings: Any) -> Task:
    settings = {"batch_size": 16, "num_steps": 800, "lanes": 6} | settings
    return classify(name, "text", model, _split(corpus), rows_told=_ROWS, **settings)


TASKS: dict[str, Callable[[], Task]] = {
    "text_transformer": lambda: classify(
        "text_transformer", "text", TextAttention(100), arrays.text(100, 12),
        batch_size=16, num_steps=400, held_out=True,
    ),
    "text_gru": lambda: classify(
        "text_gru", "text", TextGRU(100), arrays.text(100, 12), batch_size=16,
        num_steps=400, lanes=1, held_out=True,
    ),
    "words_transformer": lambda: _task(
        "words_transformer", TextAttention(WORDS, 48, tied=True),
        texts.load(WORDS, 12),
    ),
    "characters_gru": lambda: _task(
        "characters_gru", TextGRU(CHARACTERS, 64), texts.characters(CHARACTERS, 24),
        num_steps=600,
    ),
    "source_transformer": lambda: _task(
        "source_transformer", TextAttention(CHARACTERS, 48, blocks=2),
        texts.source(_MODULES, CHARACTERS, 24), num_steps=420, held_out=True,
    ),
    "words_gru": lambda: _task(
        "words_gru", TextGRU(WORDS, 48, tied=True), texts.load(WORDS, 12),
        held_out=True,
    ),
    "text_large": lambda: _task(
        "text_large", TextAttention(4000, 128),
        texts.source(_MODULES + _MORE_MODULES, 4000, 16, words=True), batch_size=8,
        num_steps=5000, lanes=1, held_out=True, large=True,
    ),
}  # fmt: skip
