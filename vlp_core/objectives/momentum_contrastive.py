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
                images = torch.cat([fresh_images, self.queue.images])
                texts = torch.cat([fresh_texts, self.queue.texts])
                # All places of the queue, for how many are filled is known on the device alone.
                there = torch.cat([torch.ones_like(fresh_images[:, 0], dtype=torch.bool), self.queue.filled()])
                share = self.alpha * min(1.0, view.batch.epoch / self.ramp)
                positive = self._positives(view, there)
                to_text = share * _alike(scale * other_image, texts, there).softmax(dim=1) + (1 - share) * positive
                to_image = share * _alike(scale * other_text, images, there).softmax(dim=1) + (1 - share) * positive
            loss_text = -(to_text * _alike(scale * image, texts, there).log_softmax(dim=1)).sum(dim=1).mean()
            loss_image = -(to_image * _alike(scale * text, images, there).log_softmax(dim=1)).sum(dim=1).mean()
            if view.training:
                image_id, text_id = view.global_ids()
                self.queue.push(images=fresh_images, texts=fresh_texts, image_id=image_id, text_id=text_id)
        return (loss_text + loss_image) / 2

    def _positives(self, view: View, there: Tensor) -> Tensor:
        """float [B, W·B + queue], rows that sum to 1."""
        batch, (images, texts) = view.batch, view.global_ids()
        images = torch.cat([images, self.queue.image_id])
        texts = torch.cat([texts, self.queue.text_id])
        same = (batch.image_id[:, None] == images[None]) | (batch.text_id[:, None] == texts[None])
        same &= there
        return same.float() / same.sum(dim=1, keepdim=True)


def _alike(rows: Tensor, others: Tensor, there: Tensor) -> Tensor:
    """Products [B, N], and for those that are not there so little that a softmax makes 0 of it."""
    return (rows @ others.T).masked_fill(~there, torch.finfo(rows.dtype).min)
