"""An engine for tests that fails on demand: eSpeak NG, until a text asks otherwise."""

import os
import sys
import time
from collections.abc import Iterator, Sequence

from pipeline.engines import Spoken
from pipeline.engines.espeak import Espeak
from pipeline.model import Chunk


class Faulty(Espeak):
    """`POISON` kills the process, `RAISE` raises, `EXIT` exits as Python does, `MUTE` gives no sound.

    Every chunk that it is given is noted in the folder `log`, one row a try, and takes `pause` seconds. `broken` is
    why the engine does not load.
    """

    def __init__(self, log: str = "", pause: float = 0.0, broken: str = ""):
        self.log, self.pause, self.broken = log, pause, broken

    def load(self) -> None:
        if self.broken:
            raise RuntimeError(self.broken)
        super().load()

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        for chunk in chunks:
            time.sleep(self.pause)
            if self.log:
                with open(os.path.join(self.log, f"{os.getpid()}"), "a") as file:
                    file.write(chunk.text + "\n")
            if "POISON" in chunk.text:
                os._exit(9)
            if "RAISE" in chunk.text:
                raise RuntimeError("the engine is unwell")
            if "EXIT" in chunk.text:
                sys.exit(3)
            if "MUTE" in chunk.text:
                yield Spoken(chunk=chunk, samples=super()._fit(chunk)[0] * 0)
                continue
            yield from super().speak([chunk])
