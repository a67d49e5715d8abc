"""Pictures through an encoder of timm's: any ViT, ResNet or Swin by name, or one of one's own size."""

from functools import partial
from itertools import chain
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.func import functional_call

from vlp_core.encoders.patches import check_grid
from vlp_core.errors import UserError, nearest
from vlp_core.nn.attention import check_heads
from vlp_core.nn.batch_norm import over_all_ranks
from vlp_core.nn.blocks import first_std, initialise
from vlp_core.sequence import Sequence


class PictureEncoder(nn.Module):
    """float pixels [B, 3, H, W] -> states [B, N, dim]: a ViT's tokens (the first one is of the whole picture), or the
    grid of a CNN or a Swin row by row, mapped to `dim` where it is of another width.

    pool: what halves the grid again after the body, such as a max pooling.
    count: how many of the states are of a place of the picture, at a side of `image_size`.
    """

    def __init__(
        self,
        body: nn.Module,
        image_size: int,
        dim: int | None = None,
        *,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body, self.pool = over_all_ranks(body), pool or nn.Identity()
        width = cast(int, self.body.num_features)
        self.dim = dim or width
        named = getattr(self.body, "cls_token", None) is not None
        self.extra = int(getattr(self.body, "num_prefix_tokens", None) or 0)  # tokens before a ViT's patches
        self.before = self.extra if named else 0
        self.projection: nn.Module = nn.Linear(width, self.dim) if self.dim != width else nn.Identity()
        self.count = self._count(image_size)

    def forward(self, pixels: Tensor, keep: Tensor | None = None) -> Sequence:
        """`keep` int64 [B, K]: the places that are looked at; the body sees all, but the others are left out then."""
        extra, places = self._states(pixels).tensor_split([self.extra], dim=1)
        if keep is not None:
            places = places.gather(1, keep[:, :, None].expand(-1, -1, places.shape[-1]))
        return Sequence(self.projection(torch.cat([extra[:, : self.before], places], dim=1)), before=self.before)

    def _states(self, pixels: Tensor) -> Tensor:
        states: Tensor = self.body(pixels)
        if states.ndim == 4:  # timm's CNNs give channels first, its Swins last
            last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
            grid = self.pool(states.permute(0, 3, 1, 2) if last else states)
            states = grid.flatten(2).transpose(1, 2)
        return states

    def _count(self, image_size: int) -> int:
        """By a picture of that side that has a shape and no numbers, for every body divides it in a way of its own."""
        named = chain(self.named_parameters(), self.named_buffers())
        weights = {name: tensor.detach().to("meta") for name, tensor in named}
        training, self.count = self.training, 0
        self.eval()  # batch norm leaves its statistics alone
        pixels = torch.empty(1, 3, image_size, image_size, device="meta")
        with torch.no_grad():
            sequence: Sequence = functional_call(self, weights, (pixels,))
        self.train(training)
        return sequence.states.shape[1] - self.before


def by_name(
    name: str,
    *,
    image_size: int,
    dim: int | None = None,
    pool: nn.Module | None = None,
    **options: Any,
) -> PictureEncoder:
    """An encoder of timm's by its name; UserError with the nearest name where timm has none such."""
    sized: dict[str, Any] = {"img_size": image_size} if _takes_size(name) else {}
    body = body_by_name(name, **sized, **options)
    return PictureEncoder(body, image_size, dim, pool=pool)


def body_by_name(name: str, **options: Any) -> nn.Module:
    """timm's model without what pools and classifies; UserError for an unknown name, and one that gives no states."""
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    try:
        body: nn.Module = timm.create_model(name, num_classes=0, global_pool="", **options)
    except AssertionError as error:  # of those that were distilled, whose states depend on a token of their own
        raise UserError(f"timm's {name} is no encoder by itself ({error}); name one that was not distilled") from error
    return body


def vit(
    *, image_size: int, patch: int, dim: int, depth: int, heads: int, eps: float = 1e-6, **options: Any
) -> PictureEncoder:
    """A vision transformer of timm's with sizes of one's own; `options` as timm has them. UserError for sizes that do
    not fit one another."""
    check_grid(image_size, patch)
    check_heads(dim, heads)
    body = timm.models.VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        global_pool="",
        norm_layer=partial(timm.layers.LayerNorm, eps=eps),
        **options,
    )
    initialise(body, dim)
    nn.init.normal_(cast(Tensor, body.pos_embed), std=first_std(dim))
    return PictureEncoder(body, image_size)


def named_or_vit(name: str | None, sizes: tuple[int, int, int], *, patch: int, image_size: int) -> PictureEncoder:
    """timm's model of that name, mapped to the width; without one a vision transformer of these sizes.

    sizes: width, blocks and attention heads.
    """
    dim, depth, heads = sizes
    if name is not None:
        return by_name(name, image_size=image_size, dim=dim)
    return vit(image_size=image_size, patch=patch, dim=dim, depth=depth, heads=heads)


def resnet(*, image_size: int, width: int, dim: int, stride: int = 16) -> PictureEncoder:
    """A ResNet of timm's with one block a stage, of `width` to 8 · `width` channels; a place every `stride` pixels."""
    body = timm.models.ResNet(
        block=timm.models.resnet.BasicBlock,  # type: ignore[arg-type]
        layers=(1, 1, 1, 1),
        channels=tuple(width * 2**stage for stage in range(4)),
        output_stride=stride,
        num_classes=0,
        global_pool="",
    )
    return PictureEncoder(body, image_size, dim)


def _takes_size(name: str) -> bool:
    with torch.device("meta"):
        try:
            body_by_name(name, img_size=224)
        except TypeError:
            return False
    return True
