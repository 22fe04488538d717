"""Documents that are signed, and what is refused of them."""

import json
from pathlib import Path

import pytest

from pipeline.signing import SignatureError, SigningKey, believe, parse, public_key

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
BODY = {"who": "Anna Ångström", "until": 20270101, "languages": ["fr", "de"]}
SIGNED = KEY.sign("consent", BODY)


def refusal(data: bytes, kind: str = "consent", trusted: tuple[str, ...] = (KEY.public,)) -> str:
    with pytest.raises(SignatureError) as caught:
        believe(data, kind, trusted)
    return caught.value.reason


def altered(**keys: object) -> bytes:
    return json.dumps({**json.loads(SIGNED), **keys}).encode()


def test_what_was_signed_is_believed_whatever_its_spacing() -> None:
    assert believe(SIGNED, "consent", [KEY.public]) == BODY
    assert believe(json.dumps(json.loads(SIGNED), indent=4).encode(), "consent", [OTHER.public, KEY.public]) == BODY


def test_the_same_document_has_one_signature() -> None:
    assert KEY.sign("consent", dict(reversed(BODY.items()))) == SIGNED


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (altered(body={**BODY, "languages": ["fr", "de", "en"]}), "altered"),
        (altered(body={**BODY, "more": 1}), "altered"),
        (altered(signature="AAAA"), "altered"),
        (altered(signature="?"), "altered"),
        (altered(key=OTHER.public), "untrusted"),
        (OTHER.sign("consent", BODY), "untrusted"),
        (altered(key="dubkey1:short"), "untrusted"),
        (altered(key=None), "untrusted"),
        (altered(extra=1), "malformed"),
        (altered(body=[1]), "malformed"),
        (SIGNED[:-20], "malformed"),
        (SIGNED.replace(b'"until":', b'"until":20990101,"until":'), "malformed"),
        (SIGNED.replace(b"20270101", b"20270101.5"), "malformed"),
        (SIGNED.replace(b"20270101", b"NaN"), "malformed"),
        (b"\xff" + SIGNED, "malformed"),
        (b"[]", "malformed"),
        (b"", "malformed"),
        (b"[" * 100000, "malformed"),
    ],
)
def test_anything_else_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    assert refusal(data) == reason


def test_a_document_of_one_kind_is_none_of_another() -> None:
    assert refusal(SIGNED, kind="blocklist") == "kind"
    assert refusal(SIGNED.replace(b'"consent"', b'"blocklist"'), kind="blocklist") == "altered"


def test_another_key_in_the_document_does_not_help_a_forger() -> None:
    both = (KEY.public, OTHER.public)
    assert refusal(altered(key=OTHER.public), trusted=both) == "altered"


def test_keys_are_kept_in_files_that_are_never_overwritten_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "issuer.key"
    key = SigningKey.new()
    key.write(file)
    assert SigningKey.read(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    secret = file.read_text().strip().removeprefix("dubsign1:")
    assert secret not in repr(key) + str(key)
    with pytest.raises(FileExistsError):
        key.write(file)
    file.chmod(0o600)
    file.write_text("dubsign1:" + secret[:-3] + "\n")
    with pytest.raises(ValueError, match="43 characters") as caught:
        SigningKey.read(file)
    assert secret[:8] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "dubkey1:", "dubmark1:" + "A" * 43, KEY.public[:-1], KEY.public + "A"])
def test_a_public_key_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="public key"):
        public_key(text)
    assert public_key(KEY.public) == KEY.public


def test_parse_names_the_key_that_stands_twice() -> None:
    with pytest.raises(SignatureError, match="the key 'b' twice"):
        parse(b'{"a": 1, "b": 2, "b": 3}')
