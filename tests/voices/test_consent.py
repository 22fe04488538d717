"""Thirty ways to forge or misuse a consent, each refused with its reason."""

import json
from typing import Any

import pytest

from pipeline.signing import SigningKey
from pipeline.voices.consent import (
    Consent,
    ConsentError,
    cover,
    moment,
    phrase,
    read_consent,
    read_revocations,
    revoke,
)

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
CLIP, SWAPPED, SAID = "a" * 64, "b" * 64, "c" * 64
NOW = moment("2026-11-24T12:00:00Z")
BODY: dict[str, Any] = {
    "voice": "anna", "subject": "Anna Berg", "granted_by": "Anna Berg", "purposes": ["dubbing"],
    "languages": ["fr", "de"], "titles": ["lighthouse"], "not_before": "2026-01-01T00:00:00Z",
    "not_after": "2027-01-01T00:00:00Z", "clips": [CLIP], "statement": SAID, "phrase": "I, Anna Berg, allow it. 4 2",
}  # fmt: skip
USE = {"voice": "anna", "clips": [CLIP], "purpose": "dubbing", "language": "fr", "title": "lighthouse"}


def signed(key: SigningKey = KEY, **changes: Any) -> bytes:
    return key.sign("consent", {**BODY, **changes})


def altered(**changes: Any) -> bytes:
    document = json.loads(signed())
    document["body"] |= changes
    return json.dumps(document).encode()


def without(name: str) -> bytes:
    return KEY.sign("consent", {k: v for k, v in BODY.items() if k != name})


def reason(data: bytes, now: float = NOW, **use: Any) -> str:
    with pytest.raises(ConsentError) as caught:
        cover(read_consent(data, [KEY.public], now), **{**USE, **use})
    assert str(caught.value).strip(), "a refusal says what was found"
    return caught.value.reason


def test_a_consent_covers_what_it_names() -> None:
    consent = read_consent(signed(), [OTHER.public, KEY.public], NOW)
    cover(consent, **USE)  # type: ignore[arg-type]
    cover(read_consent(signed(titles=["*"], languages=["*"]), [KEY.public], NOW), **{**USE, "title": "x"})  # type: ignore[arg-type]
    assert consent == Consent.parse(BODY)
    assert len(consent.id) == 16
    assert consent.sign(KEY) == signed()


@pytest.mark.parametrize(
    ("data", "use", "expected"),
    [
        pytest.param(altered(titles=["*"]), {}, "altered", id="titles widened after signing"),
        pytest.param(altered(languages=["*"]), {}, "altered", id="languages widened after signing"),
        pytest.param(altered(purposes=["dubbing", "adverts"]), {}, "altered", id="purposes widened after signing"),
        pytest.param(altered(clips=[CLIP, SWAPPED]), {}, "altered", id="a clip added after signing"),
        pytest.param(altered(not_after="2099-01-01T00:00:00Z"), {}, "altered", id="prolonged after signing"),
        pytest.param(altered(voice="tom"), {"voice": "tom"}, "altered", id="another voice after signing"),
        pytest.param(altered(subject="Tom Ek"), {}, "altered", id="another subject after signing"),
        pytest.param(signed(OTHER), {}, "untrusted", id="signed by another key"),
        pytest.param(
            signed(OTHER).replace(OTHER.public.encode(), KEY.public.encode()), {}, "altered", id="a key's name borrowed"
        ),
        pytest.param(signed().replace(b'"signature":"', b'"signature":"AAAA'), {}, "altered", id="a signature changed"),
        pytest.param(KEY.sign("revocations", BODY), {}, "kind", id="a document of another kind"),
        pytest.param(
            KEY.sign("blocklist", BODY).replace(b'"blocklist"', b'"consent"'), {}, "altered", id="its kind renamed"
        ),
        pytest.param(signed()[:-30], {}, "malformed", id="truncated"),
        pytest.param(b"", {}, "malformed", id="empty"),
        pytest.param(json.dumps(BODY).encode(), {}, "malformed", id="not signed at all"),
        pytest.param(signed(more="x"), {}, "malformed", id="an extra field, signed"),
        pytest.param(altered(more="x"), {}, "altered", id="an extra field, not signed"),
        pytest.param(
            signed().replace(b'"titles":', b'"titles":["*"],"titles":'), {}, "malformed", id="a key twice, one signed"
        ),
        pytest.param(without("clips"), {}, "malformed", id="a field missing"),
        pytest.param(signed(titles=[]), {}, "malformed", id="no title"),
        pytest.param(signed(titles="lighthouse"), {}, "malformed", id="a text where texts are expected"),
        pytest.param(signed(statement="yes"), {}, "malformed", id="a statement without a hash"),
        pytest.param(signed(clips=["A" * 64]), {}, "malformed", id="a hash in capitals, which has no second spelling"),
        pytest.param(signed(not_after="2026-12-31"), {}, "malformed", id="a day for a time"),
        pytest.param(signed(not_after="2025-12-31T00:00:00Z"), {}, "malformed", id="ended before it began"),
        pytest.param(signed(), {"clips": [SWAPPED]}, "clip", id="another clip under the same name"),
        pytest.param(signed(), {"clips": [CLIP, SWAPPED]}, "clip", id="a second clip that it does not name"),
        pytest.param(signed(), {"clips": []}, "clip", id="no clip"),
        pytest.param(signed(), {"voice": "tom"}, "voice", id="for another voice"),
        pytest.param(signed(), {"title": "harbour"}, "title", id="replayed under another title"),
        pytest.param(signed(), {"title": "Lighthouse"}, "title", id="replayed under a title of another case"),
        pytest.param(signed(), {"language": "en"}, "language", id="in another language"),
        pytest.param(signed(), {"purpose": "adverts"}, "purpose", id="for another purpose"),
    ],
)
def test_a_forged_or_misused_consent_is_refused_with_its_reason(data: bytes, use: Any, expected: str) -> None:
    assert reason(data, **use) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2025-12-31T23:54:59Z", "not-yet"),
        ("2025-12-31T23:55:00Z", None),  # the issuer's clock may be five minutes ahead
        ("2026-12-31T23:59:59Z", None),
        ("2027-01-01T00:00:00Z", "expired"),  # nothing is added at the end
        ("2031-01-01T00:00:00Z", "expired"),
    ],
)
def test_a_consent_holds_for_its_time(now: str, expected: str | None) -> None:
    if expected:
        assert reason(signed(), moment(now)) == expected
    else:
        assert read_consent(signed(), [KEY.public], moment(now)).subject == "Anna Berg"


def test_a_revocation_is_signed_and_never_taken_back() -> None:
    name, when = Consent.parse(BODY).id, "2026-11-24T12:00:00Z"
    first = revoke(None, KEY, ["0" * 16], "withdrawn", when)
    second = revoke(first, KEY, [name, "0" * 16], "again", when)
    assert read_revocations(first, [KEY.public]) == (1, frozenset(["0" * 16]))
    assert read_revocations(second, [KEY.public], 1) == (2, frozenset(["0" * 16, name]))
    assert json.loads(second)["body"]["revoked"]["0" * 16]["why"] == "withdrawn"
    for data, newest, expected in [
        (first, 2, "older"),  # an older list, put back
        (second.replace(name.encode(), b"f" * 16), 0, "altered"),
        (revoke(None, OTHER, [name], "", when), 0, "untrusted"),
        (signed(), 0, "kind"),
        (KEY.sign("revocations", {"version": 1}), 0, "malformed"),
        (KEY.sign("revocations", {"version": True, "revoked": {}}), 0, "malformed"),
    ]:
        with pytest.raises(ConsentError) as caught:
            read_revocations(data, [KEY.public], newest)
        assert caught.value.reason == expected
    with pytest.raises(ConsentError, match="16 hexadecimal digits"):
        revoke(None, KEY, ["anna"], "", when)
    with pytest.raises(ConsentError, match="none of the trusted"):
        revoke(first, OTHER, [name], "", when)


def test_every_phrase_is_new() -> None:
    assert len({phrase("Anna", "Studio") for _ in range(50)}) > 45
    assert phrase("Anna", "Studio").startswith("I, Anna, allow Studio to use")
