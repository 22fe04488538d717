"""`engine: higgs` as a job uses it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engines import Engine, open_engine
from pipeline.engines.higgs import prompt as prompts
from pipeline.engines.higgs.decode import Decoder
from pipeline.engines.higgs.engine import AGAIN, Higgs, _reference, _tags
from pipeline.engines.higgs.model import HiggsV3
from pipeline.model import Chunk
from pipeline.text.directions import parse

Make = Callable[..., Any]


@pytest.fixture
def make(checkpoints: dict[str, Path], clips: dict[str, str]) -> Make:
    def make(generation: str = "v3", **options: Any) -> Any:
        voices = {"anna": {"clip": clips["anna"], "text": "This is the voice of Anna."}}
        given = {"model": str(checkpoints[generation]), "device": "cpu", "rows": 3, "length": 640, "voices": voices}
        return open_engine("higgs", given | options)

    return make


def chunks(engine: Engine, count: int = 4, **more: Any) -> list[Chunk]:
    texts = ("Yes.", "Oui, non", "So what?", "Go on.", "Who?")
    facts = {"language": "en", "voice": engine.voice("anna"), "predicted": 2.0}
    return [Chunk(key=f"key{n}", text=texts[n], **(facts | more)) for n in range(count)]


def spoken(engine: Any, given: list[Chunk]) -> dict[str, Any]:
    found = [*engine.speak(given)]
    assert sorted(one.chunk.key for one in found) == sorted(chunk.key for chunk in given)  # none lost, none twice
    return {one.chunk.key: one for one in found}


@pytest.mark.parametrize("mode", ["none", "nf4", "int8"])
@pytest.mark.parametrize("generation", ["v3", "v2"])
def test_it_speaks_whatever_the_quantisation(generation: str, mode: str, make: Make) -> None:
    engine = make(generation, quantization=mode)
    engine.load()
    for one in spoken(engine, chunks(engine)).values():
        assert not one.error
        assert one.samples.dtype == np.float32
        assert len(one.samples) % 960 == 0
        assert np.std(one.samples) > 0.01


def test_a_take_does_not_depend_on_its_company(make: Make) -> None:
    together, alone = make(rows=5), make(rows=1)
    together.load()
    alone.load()
    company = spoken(together, chunks(together, 5))
    for chunk in chunks(alone, 5):
        # In bf16 a batch is rounded otherwise than a row, which may turn a draw; test_decode holds float32 to it.
        assert company[chunk.key].error == spoken(alone, [chunk])[chunk.key].error == ""
    again = spoken(together, chunks(together, 5)[::-1])
    assert all(np.array_equal(again[key].samples, company[key].samples) for key in company)


def test_cloning_changes_the_prompt() -> None:
    special = prompts.Special(bos=1024, eos=1025, tokens={name: -n for n, name in enumerate(prompts.CONTROL, 1)})
    codes, none = torch.arange(24).reshape(3, 8), torch.zeros(0, 8, dtype=torch.long)
    tts, ref_text, ref_audio, text, audio = (special.tokens[name] for name in prompts.CONTROL)

    def encode(text: str) -> list[int]:
        return list(text.encode())

    def v3(*given: Any, **more: Any) -> list[int]:
        return prompts.v3(encode, special, "Hi", *given, **more).ids

    clip = [prompts.PLACEHOLDER] * 10
    assert v3(none) == [tts, text, *b"Hi", audio]
    assert v3(codes) == [tts, ref_audio, *clip, text, *b"Hi", audio]
    assert v3(codes, "ab", "<|x|>") == [tts, ref_text, *b"ab", ref_audio, *clip, text, *b"<|x|>Hi", audio]
    rows = prompts.v3(encode, special, "Hi", codes).codes
    assert rows[0].tolist() == [0] + [1024] * 7
    assert rows[2].tolist() == [16, 9, 2, *[1024] * 5]
    assert rows[9].tolist() == [1025] * 7 + [23]
    assert torch.equal(prompts.undelayed(rows), codes)


def test_a_script_gives_no_orders() -> None:
    assert prompts.plain("<|audio|>Boo<|tts|>") == "< |audio|>Boo< |tts|>"
    special = prompts.Special(bos=1024, eos=1025, tokens=dict.fromkeys(prompts.CONTROL, 0))
    heard: list[str] = []
    none = torch.zeros(0, 8, dtype=torch.long)
    prompts.v3(lambda text: heard.append(text) or [], special, "<|sfx:burping|>Hi", none, tags="<|emotion:fear|>")  # type: ignore[func-returns-value]
    assert heard == ["<|emotion:fear|>< |sfx:burping|>Hi"]


def test_directions_become_tags_and_the_clip_of_an_emotion_takes_its_place(make: Make, clips: dict[str, str]) -> None:
    fear = parse("afraid, whispering, very fast, deep, dramatic, sighs")
    assert _tags(fear, "", 0) == (
        "<|emotion:fear|><|style:whispering|><|prosody:speed_very_fast|><|prosody:pitch_low|>"
        "<|prosody:expressive_high|><|sfx:sigh|>"
    )
    assert _tags(parse("afraid"), "fear", 1) == "<|prosody:speed_fast|>"
    engine = make(voices={"anna": {"clip": clips["anna"], "emotions": {"fear": clips["anna-afraid"]}}})
    voice = engine.voices["anna"]
    assert _reference(voice, fear) == (voice.emotions["fear"], "fear")
    assert _reference(voice, parse("angry")) == (voice.clip, "")
    assert voice.spelling != make().voices["anna"].spelling


def test_a_bad_take_is_spoken_again_and_then_given_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    row = Higgs._row
    monkeypatch.setattr(Higgs, "_row", lambda self, attempt: seeds.append(0) or row(self, attempt))
    engine = make()
    engine.load()
    long = chunks(engine, 1)[0].__class__(
        key="k", text="A line of many words, which nobody can say in no time at all.", language="en",
        voice=engine.voice("anna"), predicted=30.0,
    )  # fmt: skip
    found = spoken(engine, [long])["k"]
    assert found.samples is None
    assert found.error.startswith(("too short: found", "no end: found"))
    assert found.error.endswith(f"; spoken {AGAIN + 1} times")
    assert len(seeds) == AGAIN + 1


def test_a_line_that_is_too_long_for_its_time_is_spoken_faster(make: Make) -> None:
    engine = make()
    engine.load()
    free = spoken(engine, chunks(engine, 5))
    tight = spoken(engine, chunks(engine, 5, target=0.05, max_rate=1.4))
    assert {one.rate for one in free.values()} == {1.0}
    assert any(one.rate == 1.4 for one in tight.values())
    assert all(len(tight[key].samples) <= len(free[key].samples) for key in free)


def test_what_a_time_out_leaves_is_told(make: Make) -> None:
    engine = make()
    engine.load()
    engine.timeout = -1
    assert {one.error for one in spoken(engine, chunks(engine)).values()} == {"time-out"}


def test_out_of_memory_loses_no_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make(rows=4)
    engine.load()
    before = spoken(engine, chunks(engine))
    step = HiggsV3.step

    def short(self: HiggsV3, codes: torch.Tensor, cache: Any) -> torch.Tensor:
        if len(codes) > 1:
            raise torch.OutOfMemoryError
        return step(self, codes, cache)

    monkeypatch.setattr(HiggsV3, "step", short)
    after = spoken(engine, chunks(engine))
    assert isinstance(engine._decoder, Decoder)
    assert engine._decoder.rows == 1
    assert before.keys() == after.keys()


def test_a_closed_batch_leaves_nothing_behind(make: Make) -> None:
    engine = make()
    engine.load()
    running = engine.speak(chunks(engine, 5))
    next(running)
    running.close()
    assert len(spoken(engine, chunks(engine, 2))) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": ""}, "engine.options.model: found nothing, expected a checkpoint folder"),
        ({"model": "boson/higgs"}, "engine.options.revision: found nothing"),
        ({"model": "boson/higgs", "revision": "0" * 40}, "engine.options.accept_licence: found False, expected true"),
        ({"accept_licence": "no"}, "engine.options.accept_licence: found 'no', expected true or false"),
        ({"quantization": "int4"}, "engine.options.quantization: found 'int4', expected one of none, int8, nf4"),
        ({"rows": 0}, "engine.options.rows: found 0, expected a whole number from 1 to 4096"),
        ({"device": "tpu"}, "engine.options.device: found 'tpu', expected one of cuda, cpu"),
        ({"memory": 1}, r"engine\.options\.memory: found 1 GB for a replica that needs 2\.\d GB of GPU memory"),
        ({"colour": 1}, "does not take these options"),
        (
            {"voices": {"bob": {"clip": "nowhere.wav"}}},
            "engine.options.voices.bob.clip: found nowhere.wav, which cannot",
        ),
        ({"voices": {"bob": {"clip": __file__}}}, "engine.options.voices.bob.clip: found .*, which cannot be read"),
        ({"voices": {"bob": {"clip": None}}}, "engine.options.voices.bob.clip: found nothing"),
        (
            {"voices": {"bob": {"size": 1}}},
            "engine.options.voices.bob: found the key 'size', expected a mapping of clip",
        ),
        ({"voices": ["bob"]}, r"engine.options.voices: found \['bob'\], expected voices by name"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], told: str, make: Make) -> None:
    with pytest.raises(ValueError, match=told):
        make(**options)


def test_a_clip_must_be_3_to_10_s_long(make: Make, clips: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"found [01]\.\d s of sound in .*, expected 3 to 10 s"):
        make(voices={"bob": {"clip": clips["short"]}})


def test_a_voice_is_known_by_what_its_clip_holds(make: Make, clips: dict[str, str]) -> None:
    engine = make()
    spelling = engine.voice("anna")
    assert spelling.startswith("anna@")
    assert engine.voice(spelling) == spelling
    with pytest.raises(ValueError, match=r"found voice 'bob', expected one of engine\.options\.voices: anna"):
        engine.voice("bob")
    with pytest.raises(ValueError, match="plan again"):
        engine.voice("anna@0000")
    assert engine.own_voices() == ()


def test_no_gpu_is_told_in_one_sentence(make: Make) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(RuntimeError, match=r"found no GPU on this worker, expected one: set speak\.gpus"):
        make(device="cuda").load()


def test_opening_it_imports_no_torch(checkpoints: dict[str, Path], clips: dict[str, str]) -> None:
    options = {"model": str(checkpoints["v3"]), "voices": {"anna": {"clip": clips["anna"]}}}
    code = (
        "import sys; from pipeline.engines import open_engine; "
        f"engine = open_engine('higgs', {options!r}); engine.identity(); engine.notes(); "
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_plan_says_what_a_replica_needs(make: Make) -> None:
    licence, needed = make(rows=8).notes()
    assert "research and non-commercial use" in licence
    assert "with 8 rows of 640 positions, quantization none needs 2." in needed
    assert json.dumps(make().identity())
    assert make(rows=8).identity() == make(rows=2).identity()
    assert make(quantization="nf4").identity() != make().identity()
    assert make(temperature=0.5).identity() != make().identity()
