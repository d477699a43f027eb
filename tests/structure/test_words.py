"""Plain words: a glossary, short sentences, nothing that only the authors can look up.

``python -m tests.structure.lint [FILE ...]`` prints what it finds, line by line.
"""

from pathlib import Path

from tests.structure import lint
from tests.structure.source import PACKAGE, python_files, relative
from tests.structure.still import CITING, UNPLAIN

SAMPLE = '''"""The usual rule."""
# A step-size rule, in a comment that goes on over two
# lines. See trap T13.


def long():
    """Fine.

    Args:
      x: {words} end.
      y: A short one.

    Example:
      >>> rule = level  # a rule, usual
    """
'''


def write(tmp_path: Path, **given: str) -> Path:
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE.format(**given))
    return path


def test_words_and_sentences_are_plain():
    found = {relative(p) for p in python_files(PACKAGE) if lint.findings(p)}
    assert found == UNPLAIN, "python -m tests.structure.lint tells the sentences"


def test_no_document_is_cited_that_is_not_in_the_repository():
    cited = {p: lint.identifiers_from_outside(p) for p in python_files(PACKAGE)}
    assert {relative(p) for p, found in cited.items() if found} == CITING, cited


def test_the_lint_finds_forbidden_words_and_long_sentences(tmp_path):
    path = write(tmp_path, words="word " * 29)
    found = [(line, problem.split()[0]) for line, problem in lint.findings(path)]
    assert found == [(1, "'rule'"), (1, "'usual'"), (7, "31")]
    assert lint.identifiers_from_outside(path) == ["trap T13"]
    # The name of the argument is a word of its own.
    assert len(lint.findings(write(tmp_path, words="word " * 28))) == 2
