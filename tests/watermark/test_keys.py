"""Keys: what they show, what they refuse, and that nothing derived from them ever changes."""

import hmac
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.watermark.keys import VARIABLE, Key, read_keys, write_key

KEY = Key(bytes(range(32)))
TEXT = "dubmark1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
OTHER = Key(bytes(32))


def test_the_known_answers() -> None:
    """A mark made today must be found by every later version, on every machine."""
    assert KEY.text() == TEXT
    assert (KEY.name, KEY.id) == ("c3dac85d1b4747a7", 0xC3D)
    assert KEY.derive("a").hex() == "16a900bd174b02cd98b32259f970b8b889dc990f3dd1f8eb94e7cb4591b351d3"
    assert KEY.stream("a", 16).hex() == "4923888d0088ee0a6b0baea150db2592"
    assert KEY.signs("a", (2, 8)).tolist() == [[1, -1, 1, 1, -1, 1, 1, -1], [1, 1, -1, 1, 1, 1, -1, -1]]
    assert KEY.permutations("a", 2, 8).tolist() == [[0, 7, 4, 5, 1, 2, 6, 3], [4, 6, 1, 2, 5, 7, 0, 3]]


def test_subkeys_are_those_of_rfc_5869() -> None:
    extracted = hmac.digest(b"dubline watermark key 1", KEY.secret, "sha256")
    assert KEY.derive("label") == hmac.digest(extracted, b"label\x01", "sha256")


def test_a_key_does_not_show_its_secret() -> None:
    for shown in (repr(KEY), str(KEY), f"{KEY}", repr([KEY]), str({KEY: 1})):
        assert "Key(c3da…)" in shown
        assert len(shown) < 20


def test_new_keys_differ() -> None:
    assert len({Key.new() for _ in range(100)}) == 100


def test_a_key_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(KEY)) == KEY


@given(st.binary(min_size=32, max_size=32))
def test_the_text_form_is_read_back(secret: bytes) -> None:
    key = Key(secret)
    assert Key.parse(f" \t{key.text()}\r\n") == key
    assert len(key.text()) == len("dubmark1:") + 43


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "a watermark key begins with 'dubmark1:', this one does not"),
        (TEXT.removeprefix("dubmark1:"), "a watermark key begins with 'dubmark1:', this one does not"),
        (TEXT.upper(), "a watermark key begins with 'dubmark1:', this one does not"),
        ("dubmark1:", "a watermark key has 32 bytes, this one has 0"),
        (TEXT[:-1], "a watermark key has 32 bytes, this one has 31"),
        (TEXT + "A", "a watermark key has 32 bytes, this one has 33"),
        (TEXT + "=", "a watermark key is base64url text, character 53 is not"),
        (TEXT.replace("QFB", "Q B"), "a watermark key is base64url text, character 17 is not"),
        (TEXT.replace("QFB", "QéB"), "a watermark key is base64url text, character 17 is not"),
        (TEXT[:-1] + "9", "the last character of this watermark key is none that a key ends with"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_without_showing_it(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match="watermark key") as caught:
        Key.parse(text)
    assert str(caught.value) == wrong


@pytest.mark.parametrize("size", [0, 31, 33])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a watermark key has 32 bytes, this one has {size}"):
        Key(bytes(size))


def test_streams_begin_alike_and_differ_by_label_and_key() -> None:
    assert KEY.stream("a", 1000).startswith(KEY.stream("a", 999))
    assert len({KEY.stream("a", 16), KEY.stream("b", 16), OTHER.stream("a", 16)}) == 3
    assert KEY.stream("a", 0) == b""


def test_signs_are_fair_and_independent() -> None:
    signs = KEY.signs("fair", (100, 1001))
    assert (signs.shape, signs.dtype) == ((100, 1001), np.int8)
    assert set(signs.reshape(-1).tolist()) == {-1, 1}
    for other in (np.ones_like(signs), np.roll(signs, 1), OTHER.signs("fair", signs.shape)):
        assert abs(np.vdot(signs.astype(int), other)) < 4 * signs.size**0.5


def test_permutations_hold_everything_once_and_have_no_favourites() -> None:
    found = KEY.permutations("order", 6000, 3)
    assert (found.shape, found.dtype) == ((6000, 3), np.int64)
    assert (np.sort(found, axis=1) == np.arange(3)).all()
    counts = np.unique(found, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 4 * 1000**0.5


def test_a_file_holds_one_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"\ufeff# keys\n\n  {KEY.text()}  # the new one\r\n#{Key.new().text()}\n{OTHER.text()}", "utf-8")
    assert read_keys(file, {VARIABLE: Key.new().text()}) == [KEY, OTHER]
    assert read_keys(str(file)) == [KEY, OTHER]


@pytest.mark.parametrize("between", [" ", ",", "\n", " , "])
def test_the_environment_holds_one_key_or_several(between: str) -> None:
    assert read_keys(None, {VARIABLE: KEY.text()}) == [KEY]
    assert read_keys(None, {VARIABLE: between.join(["", KEY.text(), OTHER.text(), ""])}) == [KEY, OTHER]


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}, {VARIABLE: " , "}])
def test_there_may_be_no_key(environ: dict[str, str]) -> None:
    assert read_keys(None, environ) == []


def test_errors_name_the_place_and_show_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    for content, wrong in (
        (f"# one\n{KEY.text()}\n{OTHER.text()[:-1]}\n", "line 3: a watermark key has 32 bytes, this one has 31"),
        (f"{KEY.text()}\n{KEY.text()}\n", f"line 2: key {KEY.name} is there already: {file}, line 1"),
        (f"{KEY.text()} {OTHER.text()}\n", "line 1: a watermark key is base64url text, character 53 is not"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match="line") as caught:
            read_keys(file)
        assert str(caught.value) == f"{file}, {wrong}"
    file.write_bytes(b"\xff\xfe" + KEY.text().encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"keys, line 1: a watermark key begins with 'dubmark1:', this one does not$"):
        read_keys(file)
    with pytest.raises(ValueError, match=f"^{VARIABLE}, key 2: a watermark key begins with 'dubmark1:', this one"):
        read_keys(None, {VARIABLE: f"{KEY.text()},secret"})


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    with pytest.raises(ValueError, match="keys holds no watermark key, expected one a line"):
        read_keys(tmp_path / "keys", {VARIABLE: KEY.text()})
    with pytest.raises(FileNotFoundError):
        read_keys(tmp_path / "missing", {VARIABLE: KEY.text()})


def test_a_written_key_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        write_key(path, KEY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == [KEY]
    with pytest.raises(FileExistsError):
        write_key(path, OTHER)
    assert read_keys(path) == [KEY]
