"""Fixtures: tiny models and checkpoints, made once."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path += [
    str(HERE),
    str(ROOT / "benchmarks"),
]  # `import tiny`, `import higgs_plain`; last, for there are more conftests

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are slower on more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def codec_model() -> Any:
    from tiny_codec import tiny_codec

    return tiny_codec()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a v3 and a v2 checkpoint."""
    from tiny import write_v2, write_v3

    folder = tmp_path_factory.mktemp("checkpoints")
    return {"v3": write_v3(folder / "v3"), "v2": write_v2(folder / "v2")}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two reference clips that eSpeak speaks, 3 to 10 s long, and one that is too short."""
    from pipeline.engines import open_engine
    from pipeline.model import Chunk

    engine, folder, found = open_engine("espeak", {}), tmp_path_factory.mktemp("clips"), {}
    texts = {
        "anna": ("f2", "This is the voice of Anna, who keeps the light by the sea, summer and winter."),
        "anna-afraid": ("f2", "Something is out there in the dark, and it is coming nearer every single minute."),
        "short": ("m1", "Too short."),
    }
    for name, (voice, text) in texts.items():
        [spoken] = engine.speak([Chunk(key="", text=text, language="en-us", voice=voice)])
        found[name] = str(folder / f"{name}.wav")
        soundfile.write(found[name], np.asarray(spoken.samples), engine.sample_rate)
    return found
