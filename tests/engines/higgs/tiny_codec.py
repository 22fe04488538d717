"""A small random codec with the layers, strides and codebooks of the real one."""

import torch
from transformers import HiggsAudioV2TokenizerConfig, HiggsAudioV2TokenizerModel

RATIOS = [8, 5, 4, 2, 3]


def tiny_codec(seed: int = 0) -> HiggsAudioV2TokenizerModel:
    """In float32, loud enough to hear."""
    torch.manual_seed(seed)
    acoustic = {
        "model_type": "dac", "encoder_hidden_size": 4, "decoder_hidden_size": 64, "hidden_size": 16,
        "downsampling_ratios": RATIOS, "upsampling_ratios": RATIOS, "hop_length": 960, "codebook_dim": 8,
        "n_codebooks": 9, "sampling_rate": 16000,
    }  # fmt: skip
    semantic = {
        "model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 2, "mask_time_prob": 0.0,
    }  # fmt: skip
    config = HiggsAudioV2TokenizerConfig(
        acoustic_model_config=acoustic, semantic_model_config=semantic, target_bandwidths=[0.5, 1, 1.5, 2],
        codebook_dim=8,
    )  # fmt: skip
    model = HiggsAudioV2TokenizerModel(config).eval()
    with torch.no_grad():
        for quantizer in model.quantizer.quantizers:
            quantizer.codebook.embed.normal_()
        codes = torch.randint(0, 1024, (1, 8, 50))
        sound = model.decode(codes).audio_values
        model.acoustic_decoder.conv2.weight *= 0.1 / sound.std()
    return model
