"""Continuous batching: codes do not depend on what else is in the batch."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from higgs_plain import plain
from tiny import V3_TOKENS, tiny_v2, tiny_v3
from transformers import GenerationConfig

from pipeline.engines.higgs import prompt as prompts
from pipeline.engines.higgs.decode import Decoder, Row, Said
from pipeline.engines.higgs.sampling import Sampling

LENGTH, COUNT = 384, 9
GREEDY, SEEDED = Sampling(temperature=0), Sampling()
WARY = Sampling(temperature=1.0, top_p=0.95, top_k=50, window=7, repeats=2)
SPECIAL = prompts.Special(bos=1024, eos=1025, tokens={name: 300 + n for n, name in enumerate(V3_TOKENS)})


def prompt(model: Any, number: int) -> prompts.Prompt:
    """Of another length and with another reference for each number; the first has none."""
    draw = torch.Generator().manual_seed(number)
    codes, text = torch.randint(0, 1024, (5 * number, 8), generator=draw), "hello world " * (number + 1)
    if model.lead == 0:
        return prompts.v3(lambda text: list(text.encode()), SPECIAL, text, codes, "said " * number)
    written = [300, *([307, 309] if number else []), *text.encode(), 306]
    return prompts.v2(lambda _: written, model.special, "", codes)


def rows(model: Any, count: int = COUNT) -> list[Row]:
    return [
        Row(name=n, prompt=prompt(model, n), seed=0xFEDCBA9876543210 + 7919 * n, limit=30 + 7 * n) for n in range(count)
    ]


def spoken(decoder: Decoder, given: list[Row]) -> dict[int, Said]:
    decoder.waiting.extend(given)
    return {said.row.name: said for batch in decoder.run() for said in batch}


@pytest.fixture(scope="module", params=["v3", "v2"])
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_v3() if request.param == "v3" else tiny_v2()


@pytest.fixture(scope="module")
def alone(model: Any) -> Callable[[Sampling], list[torch.Tensor]]:
    """Codes of every row by itself, with a cache that grows."""
    known: dict[Sampling, list[torch.Tensor]] = {}

    def speak(how: Sampling) -> list[torch.Tensor]:
        if how not in known:
            known[how] = [plain(model, r.prompt, seed=r.seed, limit=r.limit, sampling=how) for r in rows(model)]
        return known[how]

    return speak


@pytest.mark.parametrize("how", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("size", [1, 4, COUNT])
def test_a_batch_speaks_what_each_row_speaks_alone(size: int, how: Sampling, model: Any, alone: Any) -> None:
    """Static cache against growing cache, padded prompts against bare ones, refilled slots against fresh ones."""
    found = spoken(Decoder(model, rows=size, length=LENGTH, sampling=how), rows(model))
    for number, codes in enumerate(alone(how)):
        assert torch.equal(found[number].codes, codes), number
    assert {said.ended for said in found.values()} == {True, False}
    assert len({len(codes) for codes in alone(how)}) > 3


def test_repetition_aware_sampling_does_not_depend_on_the_batch_either(model: Any) -> None:
    one, many = (spoken(Decoder(model, rows=size, length=LENGTH, sampling=WARY), rows(model)) for size in (1, 5))
    assert all(torch.equal(one[n].codes, many[n].codes) for n in range(COUNT))


def test_v2_speaks_what_transformers_generates() -> None:
    model = tiny_v2()
    for row in rows(model)[1:6]:
        codes = row.prompt.codes
        generated = model.generate(
            input_ids=torch.tensor([row.prompt.ids]), audio_input_ids=codes[None],
            audio_input_ids_mask=torch.ones(1, len(codes), dtype=torch.bool),
            generation_config=GenerationConfig(
                do_sample=False, max_new_tokens=row.limit, eos_token_id=301, pad_token_id=0
            ),
        )  # fmt: skip
        theirs = prompts.undelayed(generated[0, len(codes) + 1 :])
        ours = spoken(Decoder(model, rows=1, length=LENGTH, sampling=GREEDY), [row])[row.name].codes
        assert len(ours) > 2
        assert torch.equal(ours, theirs[: len(ours)])


def test_the_same_seed_draws_the_same_and_another_one_does_not(model: Any) -> None:
    row = rows(model)[3]
    other = Row(name=row.name, prompt=row.prompt, seed=row.seed + 1, limit=row.limit)
    decoder = Decoder(model, rows=2, length=LENGTH, sampling=SEEDED)
    first, again, changed = (spoken(decoder, [given])[row.name].codes for given in (row, row, other))
    assert torch.equal(first, again)
    assert not torch.equal(first[:20], changed[:20])


def test_rows_that_are_added_while_it_runs_are_spoken(model: Any, alone: Any) -> None:
    decoder, given = Decoder(model, rows=2, length=LENGTH, sampling=SEEDED), rows(model)
    decoder.waiting.extend(given[:2])
    found: dict[int, Said] = {}
    for batch in decoder.run():
        found |= {said.row.name: said for said in batch}
        decoder.waiting.extend(given[2:])
        given = []
    assert sorted(found) == list(range(COUNT))
    assert all(torch.equal(found[n].codes, codes) for n, codes in enumerate(alone(SEEDED)))


def test_out_of_memory_halves_the_rows_and_loses_none(model: Any, alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = model.step

    def short_of_memory(codes: torch.Tensor, cache: Any) -> torch.Tensor:
        if len(codes) > 3:
            raise torch.OutOfMemoryError
        return step(codes, cache)

    monkeypatch.setattr(model, "step", short_of_memory)
    decoder = Decoder(model, rows=8, length=LENGTH, sampling=SEEDED)
    found = spoken(decoder, rows(model))
    assert decoder.rows == 2
    assert all(torch.equal(found[n].codes, codes) for n, codes in enumerate(alone(SEEDED)))


def test_out_of_memory_of_a_single_row_is_an_error(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model, "step", full)
    with pytest.raises(torch.OutOfMemoryError):
        spoken(Decoder(model, rows=2, length=LENGTH, sampling=GREEDY), rows(model))


def test_what_a_time_out_leaves_is_told(model: Any) -> None:
    decoder = Decoder(model, rows=2, length=LENGTH, sampling=GREEDY)
    decoder.waiting.extend(rows(model))
    found = [said for batch in decoder.run(deadline=time.monotonic() - 1) for said in batch]
    assert sorted(said.row.name for said in found) == list(range(COUNT))
    assert all(said.codes is None and said.error == "time-out" for said in found)


def test_a_closed_decoder_starts_afresh(model: Any, alone: Any) -> None:
    decoder = Decoder(model, rows=3, length=LENGTH, sampling=SEEDED)
    decoder.waiting.extend(rows(model))
    running = decoder.run()
    next(running)
    running.close()
    decoder.waiting.clear()
    found = spoken(decoder, rows(model))
    assert all(torch.equal(found[n].codes, codes) for n, codes in enumerate(alone(SEEDED)))


def test_a_prompt_that_does_not_fit_is_refused_and_the_others_are_spoken(model: Any) -> None:
    long = Row(name=99, prompt=prompt(model, 40), seed=1, limit=50)
    found = spoken(Decoder(model, rows=2, length=LENGTH, sampling=GREEDY), [*rows(model, 3), long])
    assert found[99].error.endswith("of the 384 positions of a row; raise engine.options.length")
    assert all(found[n].codes is not None for n in range(3))
