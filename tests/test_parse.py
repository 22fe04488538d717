"""YAML that is none: the file and the line, in one sentence, whatever is wrong with it."""

import os
import re
import subprocess
import sys

import pytest

from pipeline.parse import DEEPEST, ConfigError, parse_yaml


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-02-30", "'2026-02-30', which is no timestamp"),
        ("2026-02-03 25:00:00", "'2026-02-03 25:00:00', which is no timestamp"),
        ("!!int x", "'x', which is no int"),
        ("!!int ''", "'', which is no int"),
        ("!!float x", "'x', which is no float"),
        ("!!timestamp x", "'x', which is no timestamp"),
        ("!!bool x", "'x', which is no bool"),
        ("!!map x", "expected a mapping node, but found scalar"),
        ("!!set [x]", "expected a mapping node, but found sequence"),
        ("!!int {=: x}", "a mapping, which is no int"),
        ("1" * 5000, f"'{'1' * 40}', which is no int"),
        ("0x" + "f" * 5000, f"'0x{'f' * 38}', which is no int"),
        ("9" + ":59" * 2000 + ".5", f"'9{':59' * 13}', which is no float"),
        ("\0", 'unacceptable character #x0000: special characters are not allowed in "<unicode string>", position 13'),
    ],
)
def test_a_text_that_is_not_what_its_tag_says_is_told_with_its_line(text: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a.yaml", f"name: a\nkey: {text}\n".encode())
    assert str(caught.value) in (f"a.yaml:2: found {found}, expected YAML", f"a.yaml: found {found}, expected YAML")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_what_lies_too_deep_within_itself_is_told(opening: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^a\.yaml:2: found more than {DEEPEST} mappings and lists within each other"
    ):
        parse_yaml("a.yaml", b"\n" + opening.encode() * 3000)


def test_what_lies_too_deep_to_say_what_is_wrong_with_it_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^a\.yaml: found mappings and lists too deep within each other"):
        parse_yaml("a.yaml", b"[\n" * (DEEPEST - 10))


def test_a_hundred_thousand_brackets_do_not_end_the_process() -> None:
    code = "from pipeline.parse import parse_yaml; parse_yaml('a.yaml', b'[' * 100000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 1
    assert re.search(rf"a\.yaml:1: found more than {DEEPEST} mappings and lists", done.stderr)


def test_long_lines_and_many_brackets_are_read() -> None:
    assert parse_yaml("a.yaml", f"a: {'b' * 5000}".encode()) == {"a": "b" * 5000}
    assert parse_yaml("a.yaml", ("[" + "[{a: 1}], " * 2000 + "]").encode()) == [[{"a": 1}]] * 2000
