"""Speaking one row after the other with transformers' growing cache: what everybody writes first."""

import torch
from transformers import DynamicCache

from pipeline.engines.higgs.model import HiggsV2, HiggsV3
from pipeline.engines.higgs.prompt import PLACEHOLDER, Prompt, undelayed
from pipeline.engines.higgs.sampling import Sampling, draw


@torch.inference_mode()
def plain(model: HiggsV3 | HiggsV2, prompt: Prompt, *, seed: int, limit: int, sampling: Sampling) -> torch.Tensor:
    """Codes (frames, codebooks) of one prompt, after at most `limit` rows."""
    cache, books, rows, winding = DynamicCache(), model.books, [], 0
    signed = seed - (1 << 64) * (seed >> 63)
    hidden = _first(model, prompt, cache)
    while len(rows) < limit and winding < books - 1:
        head = model.audio.weight if isinstance(model, HiggsV3) else model.audio_lm_head.weight
        logits = (hidden @ head.T).view(1, books, model.codes)
        counters = (torch.tensor([number], device=model.device) for number in (signed, len(rows)))
        drawn = draw(logits, *counters, sampling)[0]
        drawn[max(0, len(rows) - model.lead + 1) :] = model.special.bos
        drawn[:winding] = model.special.eos
        ends = (drawn == model.special.eos)[: None if model.hoarse else 1].any()
        if winding or (ends and (model.early or len(rows) >= books)):
            winding += 1
        rows.append(drawn)
        if isinstance(model, HiggsV3):
            found = model.model(inputs_embeds=model.fused(drawn)[None, None], past_key_values=cache, use_cache=True)
        else:
            found = model.model(audio_input_ids=drawn[None, None], past_key_values=cache, use_cache=True)
        hidden = found.last_hidden_state[:, -1]
    return undelayed(torch.stack(rows)[model.lead :]).cpu()


def _first(model: HiggsV3 | HiggsV2, prompt: Prompt, cache: DynamicCache) -> torch.Tensor:
    ids = torch.tensor([prompt.ids], device=model.device)
    codes = prompt.codes.to(model.device)
    if isinstance(model, HiggsV3):
        embeds = model.model.embed_tokens(ids.clamp(min=0))
        embeds[ids == PLACEHOLDER] = model.fused(codes)
        found = model.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
    else:
        there = torch.ones(1, len(codes), dtype=torch.bool, device=model.device)
        clip = {"audio_input_ids": codes[None], "audio_input_ids_mask": there} if len(codes) else {}
        found = model.model(input_ids=ids, past_key_values=cache, use_cache=True, **clip)
    return found.last_hidden_state[:, -1]
