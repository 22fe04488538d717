"""Catalogue to plan: keys that depend on what shapes the audio and on nothing else."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import MakeJob, srt

from pipeline.catalogue import read_catalogue
from pipeline.config import Job, load_job
from pipeline.parse import ConfigError
from pipeline.plan import PARALLEL, TrackPlan, languages, plan, plan_track

Planned = Callable[..., list[TrackPlan]]
ROOMY = {"span": 5.0, "gap": 1.0}


def planned(path: Path) -> list[TrackPlan]:
    job = load_job(str(path))
    return list(plan(job, read_catalogue(job)))


@pytest.fixture
def make(make_job: MakeJob) -> Callable[..., TrackPlan]:
    """The plan of a job with one title and one script."""

    def make(script: str, *, name: str = "fr.srt", title: dict[str, Any] | None = None, **keys: Any) -> TrackPlan:
        (track,) = planned(make_job({"a": {name: script}}, titles={"a": title or {}}, **keys))
        return track

    return make


def keys(track: TrackPlan) -> list[str]:
    assert not track.errors, track.errors
    return [chunk.key for utterance in track.utterances for chunk in utterance.chunks]


def vtt(*cues: tuple[str, str], span: float = 3.0) -> str:
    rows = [
        f"00:00:{n * span:06.3f} --> 00:00:{n * span + span - 0.5:06.3f}\n<v {speaker}>{text}\n"
        for n, (speaker, text) in enumerate(cues)
    ]
    return "WEBVTT\n\n" + "\n".join(rows)


Make = Callable[..., TrackPlan]


def test_equal_inputs_give_equal_plans(make: Make) -> None:
    first, second = make(srt("Bonjour.", "Il pleut.")), make(srt("Bonjour.", "Il pleut."))
    assert first == second
    assert len(set(keys(first))) == 2
    assert all(len(key) == 64 for key in [*keys(first), first.digest])


def test_a_plan_does_not_depend_on_where_the_files_lie(make_job: MakeJob, tmp_path: Path) -> None:
    (before,) = planned(make_job({"a": {"fr.srt": srt("Bonjour.")}}))
    (tmp_path / "deeper").mkdir()
    for file in ("job.yaml", "catalogue.yaml", "a.fr.srt"):
        (tmp_path / file).rename(tmp_path / "deeper" / file)
    (after,) = planned(tmp_path / "deeper" / "job.yaml")
    assert (keys(after), after.digest) == (keys(before), before.digest)


def test_the_window_of_a_roomy_line_changes_no_key(make: Make) -> None:
    before = make(srt("Bonjour.", "Il pleut.", **ROOMY))
    after = make(srt("Bonjour.", "Il pleut.", start=20, span=8.0, gap=3.0))
    assert keys(after) == keys(before)
    assert after.digest != before.digest


def test_a_tight_line_has_a_target_and_a_key_of_its_own(make: Make) -> None:
    text = "Une phrase bien trop longue pour le temps qui lui est donné."
    roomy, tight = make(srt(text, "Oui.", **ROOMY)), make(srt(text, "Oui.", span=1.5, gap=0.1))
    (first, last), (other, same) = keys(roomy), keys(tight)
    assert first != other
    assert last == same
    chunk = tight.utterances[0].chunks[0]
    assert chunk.target is not None
    assert (chunk.target, chunk.max_rate) == (1.55, 1.3)
    assert (roomy.utterances[0].chunks[0].target, roomy.utterances[0].chunks[0].max_rate) == (None, 1.0)


def test_a_tight_line_keeps_its_key_at_another_time_and_in_a_window_of_nearly_the_same_length(make: Make) -> None:
    text = "Une phrase bien trop longue pour le temps qui lui est donné."
    before = keys(make(srt(text, "Oui.", span=1.5, gap=0.1)))
    assert all(keys(make(srt(text, "Oui.", start=start, span=1.5, gap=0.1))) == before for start in range(0, 3000, 60))
    assert keys(make(srt(text, "Oui.", span=1.54, gap=0.1))) == before
    assert keys(make(srt(text, "Oui.", span=1.56, gap=0.1))) != before


def test_text_voice_language_and_the_limits_of_a_tight_line_change_keys(make: Make) -> None:
    script = srt("Une phrase bien trop longue pour le temps qui lui est donné.", "Oui.", span=1.0, gap=0.0)
    found = [
        keys(make(script)),
        keys(make(script.replace("bien", "beaucoup"))),
        keys(make(script, default_voice="f2")),
        keys(make(script, default_voice="f2@60")),
        keys(make(script, name="fr-BE.srt")),
        keys(make(script, fit={"max_rate": 1.2})),
        keys(make(script, title={"cast": {"": "m5"}})),
    ]
    assert len({first for first, *_ in found}) == len(found)


def test_options_of_the_engine_change_keys_where_they_change_its_identity(make: Make, tmp_path: Path) -> None:
    (tmp_path / "identity.py").write_text(
        "from pipeline.engines.espeak import Espeak\n"
        "class Own(Espeak):\n"
        "    def __init__(self, model='a', log=''): self.model = model\n"
        "    def identity(self): return {**super().identity(), 'model': self.model}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        found = [
            keys(make(srt("Bonjour."), engine={"name": "identity:Own", "options": options}))
            for options in ({}, {"model": "a"}, {"log": "x"}, {"model": "b"})
        ]
    assert found[0] == found[1] == found[2] != found[3]
    assert keys(make(srt("Bonjour."))) not in found


def test_delivery_and_names_change_the_digest_but_no_key(make: Make, make_job: MakeJob) -> None:
    before = make(srt("Bonjour."))
    for other in (
        make(srt("Bonjour."), delivery={"loudness": -16}),
        make(srt("Bonjour."), delivery={"format": "opus"}),
        make(srt("Bonjour."), fit={"max_stretch": 1.1}),
        planned(make_job({"b": {"fr.srt": srt("Bonjour.")}}))[0],
    ):
        assert keys(other) == keys(before)
        assert other.digest != before.digest
    assert make(srt("Bonjour."), speak={"batch": 7}, name="fr.srt").digest == before.digest


def test_titles_share_the_takes_of_equal_lines(make_job: MakeJob) -> None:
    scripts = {"a": {"fr.srt": srt("Bonjour.", "Il pleut.")}, "b": {"fr.srt": srt("Merci.", "Bonjour.")}}
    first, second = planned(make_job(scripts))
    assert len({*keys(first), *keys(second)}) == 3
    assert keys(first)[0] == keys(second)[1]
    assert first.digest != second.digest


def test_a_voice_comes_from_the_cast_the_default_or_the_name(make: Make) -> None:
    script = vtt(("Anna", "Oui."), ("Bob", "Non."))
    cast = {"cast": {"anna": "f3", "Bob": "m2@50"}}
    assert make(script, name="fr.vtt", title=cast).voices == (("Anna", "f3"), ("Bob", "m2"))
    assert make(script, name="fr.vtt", default_voice="m7").voices == (("Anna", "m7"), ("Bob", "m7"))
    voices = dict(make(script, name="fr.vtt").voices)
    assert len(set(voices.values())) == 2


def test_the_narrator_has_the_first_of_the_own_voices(make: Make) -> None:
    assert make(srt("Bonjour.")).voices == (("", "m1"),)


def test_an_own_voice_stays_when_another_speaker_joins(make: Make) -> None:
    names = ("Anna", "Bob", "Carla", "David")
    whole = dict(make(vtt(*((name, "Oui.") for name in names)), name="fr.vtt").voices)
    assert len(set(whole.values())) == 4
    for name in names:
        assert dict(make(vtt((name, "Oui.")), name="de.vtt").voices) == {name: whole[name]}


def test_thirty_speakers_have_thirty_voices(make: Make) -> None:
    cues = [(f"Speaker {n}", "Oui.") for n in range(30)]
    voices = dict(make(vtt(*cues, span=1.0), name="fr.vtt").voices)
    assert len(set(voices.values())) == 30


def test_an_own_voice_leaves_those_of_the_cast_alone(make: Make) -> None:
    free = dict(make(vtt(("Anna", "Oui."), ("Bob", "Non.")), name="fr.vtt").voices)
    taken = make(vtt(("Anna", "Oui."), ("Bob", "Non.")), name="fr.vtt", title={"cast": {"Bob": free["Anna"]}})
    assert dict(taken.voices)["Anna"] != dict(taken.voices)["Bob"] == free["Anna"]


def test_capitals_make_no_other_speaker(make: Make) -> None:
    voices = dict(make(vtt(("Anna", "Oui."), ("ANNA", "Non.")), name="fr.vtt").voices)
    assert voices["Anna"] == voices["ANNA"]


def problem(track: TrackPlan) -> tuple[str, str, str]:
    """The only problem of a track that cannot be made, with the name of its file."""
    assert track.utterances == ()
    (found,) = track.errors
    return found.file.rpartition("/")[2], found.found, found.expected


def test_a_speaker_without_a_voice_is_a_problem(make: Make) -> None:
    track = make(vtt(("Anna", "Oui.")), name="fr.vtt", default_voice=None)
    assert problem(track) == (
        "catalogue.yaml",
        "speaker 'Anna' of title 'a' without a voice",
        "the speaker in the title's cast, or a default_voice in the job file",
    )


def test_a_wrong_voice_is_a_problem(make: Make) -> None:
    file, found, _ = problem(make(vtt(("Anna", "Oui.")), name="fr.vtt", title={"cast": {"Anna": "soprano"}}))
    assert file == "catalogue.yaml"
    assert found.startswith("found voice 'soprano', expected an eSpeak variant (m1, f1, ")
    assert found.endswith("(speaker 'Anna' of title 'a')")


def test_an_unknown_language_is_a_problem(make: Make) -> None:
    assert problem(make(srt("Bonjour."), name="xx.srt")) == (
        "catalogue.yaml",
        "language 'xx' in title 'a'",
        "one that the engine espeak speaks; `dub languages` lists them",
    )


def test_a_language_without_a_script_is_a_problem(make: Make) -> None:
    track = make(srt("Bonjour."), title={"languages": ["de"]})
    assert problem(track) == ("catalogue.yaml", "no script for 'de' in title 'a'", "one of its scripts: fr")


def test_a_script_that_is_not_there_is_a_problem(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job({"a": {"fr.srt": srt("Bonjour."), "de.srt": srt("Hallo.")}})
    (tmp_path / "a.fr.srt").unlink()
    sound, missing = planned(path)
    assert problem(missing) == ("a.fr.srt", f"{tmp_path}/a.fr.srt does not exist", "a file that can be read")
    assert len(keys(sound)) == 1


def test_a_script_with_nothing_to_speak_is_a_problem(make: Make) -> None:
    track = make(srt("[door slams]", "♪ la la ♪"))
    assert problem(track) == ("a.fr.srt", "2 lines with nothing to speak", "at least one spoken line")
    assert len(keys(make(srt("[door slams]", "♪ la la ♪"), descriptions=True))) == 2


def test_an_engine_that_is_not_there_stops_the_plan(make: Make) -> None:
    with pytest.raises(
        ConfigError, match=r"engine: found 'festival', expected one of espeak, higgs, openai or package\.module:Class"
    ):
        make(srt("Bonjour."), engine="festival")


def test_media_give_the_length_of_the_programme(make: Make, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(12 * 8000 + 4000), 8000)
    track = make(srt("Bonjour."), title={"media": "a.wav"})
    assert track.programme == 12.5
    assert track.utterances[-1].window == 12.5
    silent = make(srt("Bonjour."))
    assert (silent.programme, silent.utterances[-1].window) == (None, None)
    assert keys(track) == keys(silent)


def test_media_that_cannot_be_used_are_a_problem(make: Make, tmp_path: Path) -> None:
    assert problem(make(srt("Bonjour."), title={"media": "nope.mp4"})) == (
        "nope.mp4",
        f"{tmp_path}/nope.mp4 does not exist",
        "the title's media",
    )
    (tmp_path / "bad.mp4").write_bytes(b"rubbish" * 100)
    file, _, expected = problem(make(srt("Bonjour."), title={"media": "bad.mp4"}))
    assert (file, expected) == ("bad.mp4", "audio or video with a known length")


def test_utterances_have_their_lines_times_and_windows(make: Make) -> None:
    (first, second) = make(srt("- Qui est là ?\n- Moi.", "Bon", start=1, span=2, gap=1)).utterances[:2]
    assert [(u.id, u.lines, u.text) for u in (first, second)] == [
        ("1", ("1",), "Qui est là ?"),
        ("1~2", ("1",), "Moi."),
    ]
    assert (first.start, second.end) == (1, 3)
    assert first.end == second.start
    assert second.window == 3.95


def test_a_long_utterance_has_several_chunks_that_share_its_room(make: Make) -> None:
    text = "Le gardien du phare n'a pas vu de bateau depuis trois jours. " * 4
    (utterance, _) = make(srt(text, "Oui.", span=9.0)).utterances
    assert len(utterance.chunks) > 1
    assert " ".join(chunk.text for chunk in utterance.chunks) == text.strip()
    targets = [chunk.target for chunk in utterance.chunks]
    assert utterance.window is not None
    assert utterance.start is not None
    assert sum(t for t in targets if t is not None) <= utterance.window - utterance.start
    assert None not in targets


def test_a_name_in_the_text_is_a_speaker_only_if_the_cast_has_it(make: Make) -> None:
    script = srt("ANNA: Bonjour.", "NOTE: rien.")
    track = make(script, title={"cast": {"Anna": "f3"}})
    assert [(u.speaker, u.text) for u in track.utterances] == [("ANNA", "Bonjour."), ("", "NOTE: rien.")]
    assert dict(track.voices) == {"ANNA": "f3", "": "m1"}


def test_languages_are_those_of_the_title_that_the_job_asks_for(make_job: MakeJob) -> None:
    scripts = {"a": {"fr.srt": "", "de.srt": "", "it.srt": ""}}

    def asked(title: list[str] | None, wanted: list[str] | None) -> list[str]:
        job: Job = load_job(
            str(make_job(scripts, titles={"a": {"languages": title} if title else {}}, languages=wanted))
        )
        return languages(job, read_catalogue(job)[0])

    assert asked(None, None) == ["de", "fr", "it"]
    assert asked(None, ["it", "fr"]) == ["fr", "it"]
    assert asked(["de", "it"], ["it", "fr"]) == ["it"]
    assert asked(["de", "de"], None) == ["de"]


def test_a_pool_of_processes_plans_as_one_process_does(make_job: MakeJob) -> None:
    scripts: dict[str, dict[str, str | bytes]] = {
        f"t{n}": {
            "fr.srt": srt("Bonjour.", f"Numéro {n}."),
            "xx.srt": "",
            "de.vtt": vtt(("Anna", f"Ja {n}."), ("Bob", "Nein.")),
        }
        for n in range(PARALLEL // 3 + 1)
    }
    job = load_job(str(make_job(scripts)))
    titles = read_catalogue(job)
    alone = [plan_track(job, title, language) for title in titles for language in languages(job, title)]
    assert len(alone) >= PARALLEL
    assert [asdict(track) for track in plan(job, titles)] == [asdict(track) for track in alone]


def test_a_language_that_no_title_has_is_a_wrong_job(make_job: MakeJob) -> None:
    job = load_job(str(make_job({"a": {"fr.srt": srt("Bonjour.")}}, languages=["fr", "it"])))
    with pytest.raises(ConfigError, match="languages: found 'it', expected one of the catalogue's: fr"):
        list(plan(job, read_catalogue(job)))


def test_a_scam_is_refused_with_its_rule_and_its_lines_and_off_lets_it_pass(make_job: Any) -> None:
    scam = srt("Grandma, it's me.", "I had an accident.", "Send the bail money.", "And don't tell Dad.")
    scripts = {"scam": {"en.srt": scam, "xx.srt": scam}, "film": {"en.srt": srt("The bank was robbed, Grandma.")}}
    job = load_job(str(make_job(scripts, languages=["en"])))
    tracks = {track.title: track for track in plan(job, read_catalogue(job))}
    (problem,) = tracks["scam"].errors
    assert problem.found == "what the rule en.relative-in-distress is for, in the lines at 2, 10, 14"
    assert problem.line == 2
    assert not tracks["scam"].utterances
    assert not tracks["film"].errors
    off = load_job(str(make_job(scripts, languages=["en"], rules="off")))
    assert not any(track.errors for track in plan(off, read_catalogue(off)))
