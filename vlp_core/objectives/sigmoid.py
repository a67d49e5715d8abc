"""Each picture and text on their own: do they belong together? (SigLIP, Zhai et al., 2023, arXiv:2303.15343)"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlp_core.nn.gather import first_row, gather
from vlp_core.objectives.contrastive import DualView

START = {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
"""What a model learns its scale and bias from (section 3.2), as open_clip's configuration names them: nearly all pairs
do not belong together, and to begin with are held not to."""


class Sigmoid(nn.Module):
    """−Σ log σ(z · (scale · x·y + bias)) / B over all pairs, z = 1 for a picture and its own text, else −1 (eq. 1)."""

    def forward(self, view: DualView) -> Tensor:
        image, text, scale, bias = view.image_vectors(), view.text_vectors(), view.scale(), view.bias()
        with torch.autocast(image.device.type, enabled=False):
            logits = scale.float() * image.float() @ gather(text.float()).T + bias.float()
            own = torch.arange(len(image), device=image.device) + first_row(len(image))
            sign = torch.full_like(logits, -1.0)
            sign[torch.arange(len(image), device=image.device), own] = 1.0
            return -F.logsigmoid(sign * logits).sum() / len(image)
