"""What `dub detect` says of files, for people and machines."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import web
from proxy import FaultProxy
from test_cli import DUB, dub, hears

from pipeline.evidence import Evidence, examine, look_up
from pipeline.store import Store
from pipeline.watermark import Finding, Key, Payload, embed, write_key

RATE = 24_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, a file whose last 15 of 45 s are marked with it, an unmarked one, and files that are no audio."""
    folder = tmp_path_factory.mktemp("evidence")
    key = Key.new()
    write_key(folder / "key", key)
    plain = np.random.default_rng(1).normal(0, 0.05, 45 * RATE).astype(np.float32)
    part = embed(plain[30 * RATE :], RATE, key, Payload.of(key, "0123456789ab"))
    soundfile.write(folder / "marked.ogg", np.concatenate([plain[: 30 * RATE], part]), RATE)
    soundfile.write(folder / "plain.flac", plain, RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "short.wav", plain[:1000], RATE)
    (folder / "text.mp3").write_text("no sound in here")
    return folder


def test_the_exit_code_tells_whether_all_are_marked(folder: Path) -> None:
    key, marked = ["--keys", f"{folder}/key"], f"{folder}/marked.ogg"
    assert dub("detect", *key, marked).returncode == 0
    assert dub("detect", *key, marked, f"{folder}/plain.flac").returncode == 4
    done = dub("detect", *key, marked, f"{folder}/text.mp3", f"{folder}/none.wav", f"{folder}/short.wav")
    assert done.returncode == 3
    assert "text.mp3: Invalid data found" in done.stdout
    assert "none.wav: does not exist" in done.stdout
    assert "short.wav: found 1,000 samples at 24000 Hz, expected at least 0.25 s" in done.stdout


def test_a_table_shows_where_the_mark_is(folder: Path) -> None:
    row = next(
        x for x in dub("detect", "--keys", f"{folder}/key", f"{folder}/marked.ogg").stdout.splitlines() if "█" in x
    )
    assert "marked" in row
    assert "0123456789ab" in row
    assert "·····" in row.split("█")[0]
    assert row.rstrip().endswith("0:45")


def test_json_has_every_finding(folder: Path) -> None:
    done = dub("detect", "--json", "--keys", f"{folder}/key", f"{folder}/marked.ogg", f"{folder}/silent.wav")
    marked, silent = (json.loads(line) for line in done.stdout.splitlines())
    assert marked["marked"]
    assert marked["seconds"] == 45
    assert marked["findings"][0]["track"] == "0123456789ab"
    assert marked["spans"][0][0] >= 20
    assert marked["spans"][-1][1] == 45
    assert not silent["marked"]
    assert silent["findings"][0]["p"] == 1
    assert silent["findings"][0]["payload"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keys", "none"], "--keys: found no file none, expected one that dub keys new made"),
        (["--search", "slow"], "--search: found 'slow', expected one of fast, forensic"),
        (["--threshold", "2"], "--threshold: found 2.0, expected a p-value between 0 and 1"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, arguments: list[str], message: str) -> None:
    done = dub("detect", *arguments, f"{folder}/plain.flac")
    assert done.returncode == 2
    assert message in done.stderr


def test_without_a_key_nothing_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUBLINE_WATERMARK_KEY")
    done = dub("detect", f"{folder}/plain.flac")
    assert done.returncode == 2
    assert "found no key, expected --keys FILE or keys in the environment variable" in done.stderr


def test_a_new_key_is_private_and_never_overwrites(tmp_path: Path) -> None:
    done = dub("keys", "new", f"{tmp_path}/key")
    assert done.returncode == 0
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "key").read_text().strip()
    assert Key.parse(text).name in done.stdout
    assert text not in done.stdout
    again = dub("keys", "new", f"{tmp_path}/key")
    assert again.returncode == 2
    assert "found a file there, expected none" in again.stderr
    assert (tmp_path / "key").read_text().strip() == text
    assert dub("keys", "new", f"{tmp_path}/no/key").returncode == 2


def test_a_url_is_read(folder: Path) -> None:
    key = Key.parse((folder / "key").read_text())
    assert [found.marked for found in examine(f"file://{folder}/marked.ogg", [key])] == [True]


def test_a_web_server_that_sends_whole_files_only_is_heard_to_the_end(folder: Path) -> None:
    soundfile.write(folder / "long.wav", np.tile(soundfile.read(folder / "marked.ogg")[0], 2), RATE, subtype="PCM_24")
    key = Key.parse((folder / "key").read_text())
    with web.serve(folder) as server:
        [found] = examine(f"http://127.0.0.1:{server.server_port}/long.wav", [key])
    assert (found.marked, found.seconds, found.error) == (True, 90.0, "")


def test_a_web_server_that_goes_away_is_an_error_of_its_file(folder: Path) -> None:
    """And not the damage of the file."""
    key = Key.parse((folder / "key").read_text())
    with web.serve(folder) as server, FaultProxy("127.0.0.1", server.server_port, reset=1) as proxy:
        [gone] = examine(f"{proxy.endpoint}/plain.flac", [key])
    assert gone.error
    assert not {"damaged", "exist"} & set(gone.error.split())


def test_ctrl_c_while_a_file_is_copied_says_no_more_than_that(folder: Path) -> None:
    web.SLOW.clear()
    with web.serve(folder) as server:
        url = f"http://127.0.0.1:{server.server_port}/slow"
        command = [DUB, "detect", "--keys", f"{folder}/key", url]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=hears)
        assert web.SLOW.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "dub: stopped\n")


def test_every_language_of_a_film_is_heard(folder: Path) -> None:
    """The original first and the dub second, as films have them."""
    with av.open(f"{folder}/film.mkv", "w") as film:
        names = ("plain.flac", "marked.ogg")
        streams = [film.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in names]
        for stream, name in zip(streams, names, strict=True):
            sound = (np.clip(soundfile.read(folder / name)[0], -1, 1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            frame.rate = RATE
            film.mux([*stream.encode(frame), *stream.encode(None)])
    done = dub("detect", "--keys", f"{folder}/key", f"{folder}/film.mkv")
    assert done.returncode == 0
    assert "(audio 1 of 2)" in done.stdout
    assert "(audio 2 of 2)" in done.stdout
    lines = dub("detect", "--json", "--keys", f"{folder}/key", f"{folder}/film.mkv").stdout.splitlines()
    assert [(found["stream"], found["streams"], found["marked"]) for found in map(json.loads, lines)] == [
        (1, 2, False),
        (2, 2, True),
    ]


def test_a_damaged_file_is_heard_as_far_as_it_can_be_read(folder: Path) -> None:
    sound = soundfile.read(folder / "marked.ogg")[0][30 * RATE :]
    soundfile.write(folder / "whole.flac", sound, RATE)
    data = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(data[: len(data) * 9 // 10])
    done = dub("detect", "--keys", f"{folder}/key", f"{folder}/cut.flac")
    assert done.returncode == 3
    assert "marked" in done.stdout
    assert "cut.flac: Error : flac decoder lost sync" in done.stdout
    assert "(heard as far as 0:11" in done.stdout


def test_a_track_without_a_manifest_is_said_to_have_none(folder: Path) -> None:
    done = dub("detect", "--keys", f"{folder}/key", "--output", f"{folder}/nothing", f"{folder}/marked.ogg")
    assert f"{folder}/nothing: no manifest of track 0123456789ab there" in done.stdout


@pytest.mark.parametrize("source", ["key", "folder"])
def test_a_key_given_for_its_file_is_not_shown(folder: Path, source: str) -> None:
    key = (folder / "key").read_text().strip()
    done = dub("detect", "--keys", key if source == "key" else f"{folder}/{key}", f"{folder}/plain.flac")
    assert done.returncode == 2
    assert "--keys: found a key itself, expected the name of a file that holds it" in done.stderr
    assert key not in done.stdout + done.stderr


@pytest.mark.parametrize("manifest", ["[1]", "5", "null", '{"plan": "0123456789ab"}', "[" * 100_000])
def test_what_is_no_manifest_names_no_track(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/manifest.json").write_text(manifest)
    assert look_up(Store(str(tmp_path)), ["0123456789ab"]) == {}


def finding(**facts: Any) -> Finding:
    shown = {"key": "k", "p": 1e-20, "layer": "phase", "payload": None, "spans": (), "offset": 0.0, "polarity": 1}
    return Finding(**{**shown, **facts})


def test_windows_that_overlap_are_one_span() -> None:
    spans = ((0.0, 10.0, 1e-12), (5.0, 15.0, 1e-30), (10.0, 20.0, 0.3), (20.0, 30.0, 1e-10))
    evidence = Evidence(file="a", seconds=30, findings=(finding(spans=spans),))
    assert evidence.spans() == [(0.0, 15.0), (20.0, 30.0)]
    assert Evidence(file="a", seconds=30, findings=(finding(p=0.5, spans=spans),)).spans() == []
