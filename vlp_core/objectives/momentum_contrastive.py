"""Contrast against the answers of a twin and a queue of earlier batches (ALBEF, arXiv:2107.07651, section 3.2)."""

import torch
from torch import Tensor, nn

from vlp_core.nn.gather import gather
from vlp_core.nn.queue import Queue
from vlp_core.view import View


class MomentumContrastive(nn.Module):
    """Symmetric InfoNCE over [all ranks' batch; queue] with soft targets.

    Targets are α · softmax(the twin's similarities) + (1 − α) · the positives, where α grows to `alpha` over `ramp`
    epochs. Rows that show the same picture or say the same share the positive's mass.
    """

    def __init__(self, *, queue: int, dim: int, alpha: float = 0.4, ramp: float = 1.0) -> None:
        super().__init__()
        self.queue = Queue(queue, dim)
        self.alpha, self.ramp = alpha, ramp

    def forward(self, view: View) -> Tensor:
        assert view.twin is not None, "the system of this objective has a twin"
        image, text, scale = view.image_vectors(), view.text_vectors(), view.scale()
        other_image, other_text = view.twin.image_vectors(), view.twin.text_vectors()
        with torch.autocast(image.device.type, enabled=False):
            image, text, scale = image.float(), text.float(), scale.float()
            with torch.no_grad():
                other_image, other_text = other_image.float(), other_text.float()
                fresh_images, fresh_texts = gather(other_image), gather(other_text)
                filled = self.queue.filled()
                images = torch.cat([fresh_images, self.queue.images[filled]])
                texts = torch.cat([fresh_texts, self.queue.texts[filled]])
                share = self.alpha * min(1.0, view.batch.epoch / self.ramp)
                positive = self._positives(view, filled)
                to_text = share * (scale * other_image @ texts.T).softmax(dim=1) + (1 - share) * positive
                to_image = share * (scale * other_text @ images.T).softmax(dim=1) + (1 - share) * positive
            loss_text = -(to_text * (scale * image @ texts.T).log_softmax(dim=1)).sum(dim=1).mean()
            loss_image = -(to_image * (scale * text @ images.T).log_softmax(dim=1)).sum(dim=1).mean()
            if view.training:
                image_id, text_id = view.global_ids()
                self.queue.push(images=fresh_images, texts=fresh_texts, image_id=image_id, text_id=text_id)
        return (loss_text + loss_image) / 2

    def _positives(self, view: View, filled: Tensor) -> Tensor:
        """float [B, W·B + queued], rows that sum to 1."""
        batch, (images, texts) = view.batch, view.global_ids()
        images = torch.cat([images, self.queue.image_id[filled]])
        texts = torch.cat([texts, self.queue.text_id[filled]])
        same = (batch.image_id[:, None] == images[None]) | (batch.text_id[:, None] == texts[None])
        return same.float() / same.sum(dim=1, keepdim=True)
