import pytest

from pipeline.readers import read_script


@pytest.fixture
def read():
    """Read a file: its lines as (id, start, end, text), its problems as (level, line, found)."""

    def read(name, text):
        script = read_script(name, text.encode() if isinstance(text, str) else text)
        lines = [(line.id, line.start, line.end, line.text) for line in script.lines]
        return lines, [(problem.level, problem.line, problem.found) for problem in script.problems]

    return read


@pytest.fixture
def spoken():
    """The same for who says what: (id, speaker, text)."""

    def spoken(name, text):
        return [(line.id, line.speaker, line.text) for line in read_script(name, text.encode()).lines]

    return spoken
