"""One step of a job of one track, in this process and without Ray; prints what it cost."""

import json
import resource
import sys
import time

from pipeline.assemble import assemble
from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.plan import engine, languages, plan_track
from pipeline.speak import speak
from pipeline.store import Store


def main(step: str, path: str) -> None:
    job = load_job(path)
    title = read_catalogue(job)[0]
    track = plan_track(job, title, languages(job, title)[0])
    store = Store(job.output, job.storage_options)
    began, programme = time.process_time(), 0.0
    if step == "speak":
        chunks = {chunk.key: chunk for utterance in track.utterances for chunk in utterance.chunks}
        engine(job).load()
        failed = [outcome for outcome in speak(list(chunks.values()), engine(job), store) if outcome.error]
        assert not failed, failed
    else:
        programme = assemble(job, track, {}, store)["seconds"]
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": round(cpu, 2), "programme": programme, "peak_mb": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
