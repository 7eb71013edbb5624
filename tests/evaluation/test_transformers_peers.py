from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from transformers import (
    DetrConfig,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    MaskFormerSwinConfig,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerImageProcessor,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SwinConfig,
)

from bottomup_fast.data.dataset import Sample
from bottomup_fast.errors import InputError
from bottomup_fast.evaluation.masks import Masks
from bottomup_fast.evaluation.peers import open_method
from bottomup_fast.evaluation.peers.universal import Panoptic
from bottomup_fast.segmentation import Segmentation

SWIN = {
    "image_size": 64,
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "window_size": 2,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
SMALL = {"mask_feature_size": 32, "num_labels": 3}
TRANSFORMER = {
    "feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "dim_feedforward": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "num_queries": 6,
}
SIDES = {"height": 64, "width": 64}


@pytest.fixture(autouse=True)
def quiet():
    transformers.logging.set_verbosity_error()


@pytest.fixture
def sample():
    image = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)
    return Sample("noise", image, np.zeros((40, 56), np.int32), {})


def sure(model):
    """Make random class scores sharp, so that some queries pass the threshold."""
    with torch.no_grad():
        model.class_predictor.weight.mul_(40)
    return model


def check_partition(found, sample):
    assert isinstance(found, Segmentation)
    assert found.labels.shape == sample.labels.shape
    assert len(found) > 0
    assert ((found.scores > 0.5) & (found.scores <= 1)).all()


def test_mask2former(tmp_path, sample):
    torch.manual_seed(0)
    config = Mask2FormerConfig(backbone_config=SwinConfig(**SWIN), **SMALL, **TRANSFORMER)
    model = sure(Mask2FormerForUniversalSegmentation(config)).eval()
    processor = Mask2FormerImageProcessor(size=SIDES)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    found = open_method(f"mask2former:{tmp_path}", "cpu")(sample)
    check_partition(found, sample)
    with torch.inference_mode():
        outputs = model(**processor(images=sample.image, return_tensors="pt"))
    (expected,) = processor.post_process_panoptic_segmentation(outputs, target_sizes=[(40, 56)])
    infos = sorted(expected["segments_info"], key=lambda info: info["id"])
    seen = [info for info in infos if (expected["segmentation"] == info["id"]).any()]
    for label, info in enumerate(seen, 1):
        np.testing.assert_array_equal(found.labels == label, expected["segmentation"] == info["id"])
    assert found.scores.tolist() == pytest.approx([info["score"] for info in seen])


def test_maskformer(tmp_path, sample):
    torch.manual_seed(1)
    decoder = DetrConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
    )
    backbone = MaskFormerSwinConfig(**SWIN)
    config = MaskFormerConfig(
        fpn_feature_size=32, backbone_config=backbone, decoder_config=decoder, **SMALL
    )
    sure(MaskFormerForInstanceSegmentation(config)).save_pretrained(tmp_path)
    MaskFormerImageProcessor(size=SIDES).save_pretrained(tmp_path)
    found = open_method(f"maskformer:{tmp_path}", "cpu")(sample)
    assert isinstance(found, Segmentation)
    assert found.labels.shape == (40, 56)


class OneFormerProcessorWithoutText:
    """OneFormer's processor with a tokenizer that needs no vocabulary."""

    def __init__(self, image_processor):
        self.image_processor = image_processor

    def __call__(self, images, task_inputs, return_tensors):
        assert task_inputs == ["panoptic"]
        inputs = self.image_processor(images=images, return_tensors=return_tensors)
        inputs["task_inputs"] = torch.ones(1, 7, dtype=torch.long)
        return inputs

    def post_process_panoptic_segmentation(self, *arguments, **options):
        return self.image_processor.post_process_panoptic_segmentation(*arguments, **options)


def test_oneformer_fuses_what_is_stuff(tmp_path, sample):
    torch.manual_seed(0)
    classes = {str(n): {"name": f"class {n}", "isthing": int(n == 1)} for n in range(3)}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    images = OneFormerImageProcessor(
        size=SIDES, repo_path=str(tmp_path), class_info_file="classes.json", num_text=0
    )
    sizes = {key: size for key, size in TRANSFORMER.items() if key != "feature_size"}
    config = OneFormerConfig(
        backbone_config=SwinConfig(**SWIN),
        conv_dim=32,
        mask_dim=32,
        mask_feature_size=32,
        num_labels=3,
        task_seq_len=7,
        max_seq_len=7,
        text_encoder_width=32,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=8,
        text_encoder_context_length=7,
        text_encoder_n_ctx=0,
        query_dec_layers=1,
        use_task_norm=True,
        is_training=False,
        **sizes,
    )
    model = OneFormerForUniversalSegmentation(config)
    method = Panoptic(model, OneFormerProcessorWithoutText(images), torch.device("cpu"))
    assert method.fused == {0, 2}
    found = method(sample)
    assert isinstance(found, Segmentation)
    assert found.labels.shape == (40, 56)


def test_sam_s_masks(tmp_path, sample):
    torch.manual_seed(0)
    shared = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
    config = SamConfig(
        vision_config={
            **shared,
            "output_channels": 16,
            "image_size": 64,
            "patch_size": 16,
            "mlp_dim": 16,
            "window_size": 2,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={**shared, "mlp_dim": 16, "iou_head_hidden_dim": 16},
    )
    SamModel(config).save_pretrained(tmp_path)
    SamImageProcessor(size={"longest_edge": 64}, pad_size=SIDES).save_pretrained(tmp_path)
    method = open_method(f"sam:{tmp_path}", "cpu")
    method.settings = {"points_per_crop": 4}
    assert len(method(sample)) == 0  # SAM's own thresholds pass nothing random
    method.settings |= {"pred_iou_thresh": -9, "stability_score_thresh": 0}
    found = method(sample)
    assert isinstance(found, Masks)
    assert found.size == (40, 56)
    assert len(found) > 0


@pytest.mark.parametrize("kind", ["mask2former", "maskformer", "oneformer", "sam"])
def test_a_folder_without_a_model_is_named(tmp_path, kind):
    with pytest.raises(InputError) as raised:
        open_method(f"{kind}:{tmp_path}", "cpu")
    assert str(raised.value).startswith(f"{tmp_path}: no ")
    assert "\n" not in str(raised.value)


def test_pickled_weights_are_refused(tmp_path):
    torch.manual_seed(0)
    config = Mask2FormerConfig(backbone_config=SwinConfig(**SWIN), **SMALL, **TRANSFORMER)
    model = Mask2FormerForUniversalSegmentation(config)
    config.save_pretrained(tmp_path)
    Mask2FormerImageProcessor(size=SIDES).save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="no Mask2FormerForUniversalSegmentation"):
        open_method(f"mask2former:{tmp_path}", "cpu")
