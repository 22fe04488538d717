"""Rules in a job: what is refused, what a reviewer's signed override lets pass, what manifest and audit trail say."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import dub
from conftest import MakeJob, srt
from made import LINES, Made

from pipeline import lists
from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.plan import plan
from pipeline.run import run
from pipeline.safety.override import Override, OverrideError, read_override
from pipeline.signing import SigningKey
from pipeline.voices.consent import moment

ruled = partial(dub, "rules")
KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(32))
SCAM = srt(
    "Grandma, it's me. I had an accident with the car.", "They put me in jail.",
    "Please send the bail money right now.", "And don't tell Dad.",
)  # fmt: skip
NOW = moment("2026-11-24T00:00:00Z")


@pytest.fixture(autouse=True)
def _forget() -> None:
    lists.forget()


def signed(folder: Path, file: Path, *, key: SigningKey = KEY, **changes: Any) -> None:
    import hashlib

    body = {
        "script": hashlib.sha256(file.read_bytes()).hexdigest(), "rules": ["en.relative-in-distress"],
        "reviewer": "Ines", "why": "A film on this very fraud.", "not_after": "2120-01-01T00:00:00Z",
    }  # fmt: skip
    (folder / "override.json").write_bytes(key.sign("override", body | changes))


def refusal(path: Path) -> str:
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    return " ".join(str(problem) for problem in track.errors)


def test_an_override_lets_this_script_pass_and_is_written_down(make_job: MakeJob, tmp_path: Path) -> None:
    rules = {"reviewers": [KEY.public], "overrides": ["override.json"]}
    path = make_job({"a": {"en.srt": SCAM}}, rules=rules)
    assert "the rule en.relative-in-distress is for, in the lines at 2, 6" in refusal(path)
    assert "(missing)" in refusal(path)
    signed(tmp_path, tmp_path / "a.en.srt")
    lists.forget()
    assert refusal(path) == ""
    made = Made(path)
    (met,) = made.manifest["rules"]["met"]
    assert met["rule"] == "en.relative-in-distress"
    assert met["lines"][0] == 2
    assert len(met["override"]) == 16
    assert made.manifest["rules"]["version"]
    assert "overridden by Ines (A film on this very fraud.)" in str(made.track.problems)
    (tmp_path / "a.en.srt").write_text(SCAM + "\n9\n00:01:00,000 --> 00:01:02,000\nOne more line.\n")
    assert "en.relative-in-distress" in refusal(path)


def test_an_override_is_of_the_script_and_not_of_the_spoken_notice(make_job: MakeJob, tmp_path: Path) -> None:
    rules = {"reviewers": [KEY.public], "overrides": ["override.json"]}
    scam = "Grandma, I had an accident and they put me in jail. Send the bail money right now, and don't tell Dad."
    for notice, refused in (("These voices are synthetic.", False), (scam, True)):
        path = make_job({"a": {"en.srt": SCAM}}, rules=rules, disclosure={"notice": {"en": notice}})
        signed(tmp_path, tmp_path / "a.en.srt")
        told = refusal(path)
        assert ("an override is for the script, and not for the notice" in told) == refused
        assert bool(told) == refused


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({}, OTHER, "untrusted"),
        ({"not_after": "2021-01-01T00:00:00Z"}, KEY, "expired"),
        ({"rules": []}, KEY, "malformed"),
        ({"more": "x"}, KEY, "malformed"),
        ({"not_after": "never"}, KEY, "malformed"),
        ({"rules": ["en.threat"]}, KEY, ""),
        ({"script": "0" * 64}, KEY, ""),
    ],
)
def test_an_override_that_does_not_cover_it_does_not_count(
    make_job: MakeJob, tmp_path: Path, changes: dict[str, Any], key: SigningKey, reason: str
) -> None:
    rules = {"reviewers": [KEY.public], "overrides": ["override.json"]}
    path = make_job({"a": {"en.srt": SCAM}}, rules=rules)
    signed(tmp_path, tmp_path / "a.en.srt", key=key, **changes)
    assert "en.relative-in-distress" in (told := refusal(path))
    assert (f"({reason})" in told) == bool(reason)


def test_an_altered_override_is_told(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    signed(tmp_path, tmp_path / "s")
    data = (tmp_path / "override.json").read_bytes()
    assert read_override(data, [KEY.public], NOW).reviewer == "Ines"
    with pytest.raises(OverrideError) as told:
        read_override(data.replace(b"Ines", b"Anna"), [KEY.public], NOW)
    assert told.value.reason == "altered"
    with pytest.raises(OverrideError) as told:
        read_override(KEY.sign("consent", {}), [KEY.public], NOW)
    assert told.value.reason == "kind"
    with pytest.raises(OverrideError, match="expected script, rules"):
        Override.parse({})


def test_refused_lines_are_listed_and_off_is_in_manifest_and_audit(make_job: MakeJob, ray_session: None) -> None:
    path = make_job({"a": {"en.srt": SCAM}, "b": {"en.srt": srt(*LINES)}})
    summary = run(load_job(str(path)))
    assert summary.exit_code == 3
    (row,) = summary.failed
    assert (row["title"], row["line"]) == ("a", 2)
    assert "en.relative-in-distress" in row["found"]
    out = path.parent / "out"
    assert not (out / "a").exists()
    assert json.loads((out / "b/en/manifest.json").read_text())["rules"]["met"] == []
    path = make_job({"a": {"en.srt": SCAM}, "b": {"en.srt": srt(*LINES)}}, rules=False)
    assert run(load_job(str(path))).exit_code == 0
    assert json.loads((out / "a/en/manifest.json").read_text())["rules"] == "off"
    trail = dub("audit", "show", str(path), "--json")
    assert json.loads(trail.splitlines()[-1])["about"]["rules"] == "off"


def test_the_commands_show_what_is_met_and_sign_what_is_overridden(tmp_path: Path, make_job: MakeJob) -> None:
    script, record, key = tmp_path / "a.srt", str(tmp_path / "o.json"), str(tmp_path / "key")
    script.write_text(SCAM)
    KEY.write(key)
    told = ruled("check", str(script), "--language", "en", code=3)
    assert "en.relative-in-distress (block)" in told
    assert "a.srt:2: Grandma, it's me." in told
    row = json.loads(ruled("check", str(script), "--language", "en-GB", "--json", code=3))
    assert row["lines"][0] == 2
    who = ["--language", "en", "--reviewer", "Ines", "--why", "A film.", "--until", "2120-01-01", "--key", key]
    assert "expected one that refuses the script: en.relative-in-distress" in ruled(
        "override", str(script), record, "--rule", "en.threat", *who, code=2
    )
    told = ruled("override", str(script), record, "--rule", "en.relative-in-distress", *who)
    found = read_override(Path(record).read_bytes(), [KEY.public], NOW)
    assert found.id in told
    assert "nothing is overwritten" in ruled(
        "override", str(script), record, "--rule", "en.relative-in-distress", *who, code=2
    )
    (tmp_path / "b.srt").write_text(srt(*LINES))
    assert "no rule is met" in ruled("check", str(tmp_path / "b.srt"), "--language", "en")
    assert "en.relative-in-distress" in ruled("check", str(script), "--language", "tlh", code=3)
    assert "there are none of tlh" in ruled("check", str(tmp_path / "b.srt"), "--language", "tlh")
    assert "found no file" in ruled("check", str(tmp_path / "none.srt"), "--language", "en", code=2)
    (tmp_path / "evil.yaml").write_text("[no pack]")
    for language in ("x" * 300, "\0", str(tmp_path / "evil"), f"../{'../' * 9}{tmp_path}/evil"):
        assert "there are none of" in ruled("check", str(tmp_path / "b.srt"), "--language", language)
    (tmp_path / "c.srt").write_bytes(b"\x00\x01")
    ruled("check", str(tmp_path / "c.srt"), "--language", "en", code=2)
