"""Where weights go is decided by what a system is made of, never by its name."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, cast

import timm
from timm.layers import QuickGELU
from torch import nn

from vlp_core.dual_encoder import DualEncoder
from vlp_core.encoders.patches import PatchEmbed
from vlp_core.encoders.pictures import PictureEncoder
from vlp_core.encoders.pooled import PooledEncoder
from vlp_core.encoders.words import WordEmbed, WordEncoder
from vlp_core.errors import UserError
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.fusion.single_stream import IMAGE, TEXT, SingleStream
from vlp_core.heads.pixels import PixelDecoder
from vlp_core.interop.names import State, as_stream, part, renamed, under
from vlp_core.interop.trained import VIT, Picture, Pixels, Sizes, Text, Whole
from vlp_core.model import VLModel
from vlp_core.nn.blocks import Block, Trunk
from vlp_core.system import System


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Weights by their names in a system.

    complete: beginnings of names; all that the system has of them must be there, but for cross-attention.
    zero: rows of tables that begin as zeros.
    note: what is worth telling.
    """

    state: State
    complete: tuple[str, ...]
    zero: tuple[tuple[str, int], ...] = ()
    note: str | None = None


def place_picture(system: System, tower: Picture) -> Placed:
    """An encoder of pictures: into one of timm's, or into the patches and the trunk of a single stream."""
    model = cast(VLModel, system.model)
    image = model.image
    if isinstance(image, PatchEmbed):
        placed = _into_stream(image, model.fusion, tower)
    elif isinstance(image, PooledEncoder):
        placed = _into_encoder("model.image.encoder.body", image.encoder, tower, norm="model.image.pool.context_norm.")
    elif isinstance(image, PictureEncoder):
        placed = _into_encoder("model.image.body", image, tower)
    else:
        raise UserError(f"this system's {type(image).__name__} takes no encoder of pictures")
    for name, pixels in _pixel_decoders(system):
        if tower.decoder_sizes is not None:
            patch = isqrt(pixels.pixels.out_features // 3)
            _check(tower.decoder_sizes, _sizes(pixels.trunk, patch), name)
            decoder = under(name, tower.decoder)
            placed = replace(placed, state=placed.state | decoder, complete=(*placed.complete, f"{name}."))
    return replace(placed, note=_other_pixels(model.normalise.values, tower.pixels))


def place_text(system: System, tower: Text) -> Placed:
    """A BERT: its embedding, and its blocks into the trunks that words go through, one after the other."""
    model = cast(VLModel, system.model)
    read, fusion = model.text, model.fusion
    trunks: dict[str, Trunk] = {}
    if isinstance(read, WordEncoder) and not read.causal:
        embed = "model.text.embed"
        trunks["model.text.trunk"] = read.trunk
        if isinstance(fusion, CrossAttention):
            trunks["model.fusion.trunk"] = fusion.trunk
    elif isinstance(read, WordEmbed) and isinstance(read.norm, nn.LayerNorm):
        embed = "model.text"
        if isinstance(fusion, CrossAttention | SingleStream):
            trunks["model.fusion.trunk"] = fusion.trunk
    else:
        raise UserError(f"this system's {type(read).__name__} does not read as a BERT does")
    trunks = {name: trunk for name, trunk in trunks.items() if not trunk.blocks[0].pre}
    found = under(embed, part(tower.state, "embed"))
    if not trunks:
        return Placed(
            state=found, complete=(f"{embed}.",), note="its embedding is taken: no blocks here are like a BERT's"
        )
    ours = [_sizes(trunk) for trunk in trunks.values()]
    _check(tower.sizes, replace(ours[0], depth=sum(one.depth for one in ours)), " and ".join(trunks))
    above = 0
    for name, trunk in trunks.items():
        found |= _blocks(name, trunk, tower.state, above)
        above += len(trunk.blocks)
    zero = (("model.fusion.modality.weight", TEXT),) if isinstance(fusion, SingleStream) else ()
    return Placed(state=found, complete=(f"{embed}.", *(f"{name}." for name in trunks)), zero=zero)


def place_whole(system: System, whole: Whole) -> Placed:
    """A system of the same kind: what it has of this one's parts."""
    dual = isinstance(system.model, DualEncoder)
    if dual != (whole.kind == "clip"):
        raise UserError(f"a {whole.kind} is no such system; one of its encoders may fit as image=…")
    for name, theirs in whole.sizes.items():
        try:
            ours = measure(system.get_submodule(f"model.clip.{name}" if dual else name))
        except AttributeError:  # so torch tells of a part that is not there
            ours = None
        if ours is None:
            raise UserError(f"has {theirs} as {name}, and this system has none there")
        _check(theirs, ours, name)
    complete = ("visual.", "transformer.", "token_embedding.", "ln_final.") if dual else ("model.image.", "model.text.")
    return Placed(state=whole.state, complete=complete)


def measure(module: Any) -> Sizes | None:
    """Of a trunk, of a single stream with its patches, of a transformer of timm's or open_clip's; None: no such."""
    if isinstance(module, Trunk):
        return _sizes(module)
    if isinstance(module, VLModel) and isinstance(module.image, PatchEmbed) and isinstance(module.fusion, SingleStream):
        return _sizes(module.fusion.trunk, module.image.patch)
    if isinstance(module, timm.models.VisionTransformer):
        block, patches = cast(Any, module.blocks[0]), cast(Any, module.patch_embed)
        return Sizes(
            len(module.blocks), module.embed_dim, block.attn.num_heads, patches.patch_size[0], _activation(block.mlp)
        )
    stack = getattr(module, "transformer", module)
    if not hasattr(stack, "resblocks"):
        return None
    heads = stack.resblocks[0].attn.num_heads
    patch = module.conv1.kernel_size[0] if hasattr(module, "conv1") else None
    return Sizes(len(stack.resblocks), stack.width, heads, patch, _activation(stack))


def _into_stream(image: PatchEmbed, fusion: nn.Module, tower: Picture) -> Placed:
    if not isinstance(fusion, SingleStream) or tower.sizes is None or tower.kind != VIT:
        raise UserError(f"a {tower.kind}, and this system takes patches to its transformer as they are; give a ViT")
    clips, takes = "norm_pre.weight" in tower.state, isinstance(image.norm, nn.LayerNorm)
    if clips and not takes:
        raise UserError(
            "its blocks begin with a norm, as a CLIP's do, and this system's do not; give a ViT, or a vilt with "
            f"--model.clip {tower.sizes.activation}"
        )
    if takes and not clips:
        raise UserError("its blocks begin without a norm, and this system's with one, as a CLIP's; give a CLIP's")
    _check(tower.sizes, _sizes(fusion.trunk, image.patch), "model.fusion.trunk")
    return Placed(
        state=as_stream(tower.state),
        complete=("model.image.", "model.fusion.trunk."),
        zero=(("model.fusion.modality.weight", IMAGE),),  # which a picture alone had none of
    )


def _into_encoder(name: str, encoder: PictureEncoder, tower: Picture, *, norm: str = "") -> Placed:
    """`norm`: where a last norm goes that the body has none of."""
    body = encoder.body
    if type(body).__name__ != tower.kind:
        raise UserError(f"a {tower.kind}, and this system's {name} is a {type(body).__name__}; give one of those")
    ours = measure(body)
    if ours is not None and tower.sizes is not None:
        _check(tower.sizes, ours, name)
    first = isinstance(getattr(body, "norm_pre", None), nn.LayerNorm)
    if first and "norm_pre.weight" not in tower.state:
        raise UserError(f"its blocks begin without a norm, and those of {name} with one, as a CLIP's; give a CLIP's")
    if not first and "norm_pre.weight" in tower.state:
        raise UserError(
            f"its blocks begin with a norm, as a CLIP's do, and those of {name} do not; give a ViT, or a system whose "
            "encoder is one of timm's CLIPs by name, such as vit_base_patch16_clip_224"
        )
    found = under(name, tower.state)
    if norm:
        found = {key.replace(f"{name}.norm.", norm): value for key, value in found.items()}
    return Placed(state=found, complete=(f"{name}.", *([norm] if norm else [])))


def _blocks(name: str, trunk: Trunk, state: State, above: int) -> State:
    """The blocks of a trunk, which are theirs from number `above` on; each role of a block begins with the same."""
    found: State = {}
    for number, block in enumerate(trunk.blocks):
        theirs = {key: value for key, value in state.items() if key.startswith(f"blocks.{above + number}.")}
        for role in cast(Block, block).attention:
            rules = (
                (r"^blocks\.\d+\.", f"{name}.blocks.{number}."),
                (r"\.attention\.self\.", f".attention.{role}."),
                (r"\.attention_norm\.self\.", f".attention_norm.{role}."),
            )
            found |= renamed(theirs, rules)
    return found


def _other_pixels(ours: Pixels, theirs: Pixels | None) -> str | None:
    """What is to be told where the encoder was made for pixels of another mean or deviation than it will see."""
    if theirs is None or _shown(theirs) == _shown(ours):
        return None
    return f"was made for pixels of mean and deviation {_shown(theirs)}, and this system sees them by {_shown(ours)}"


def _shown(pixels: Pixels) -> str:
    """Mean and deviation to three digits, beyond which they are the same."""
    return " and ".join("/".join(f"{value:.3g}" for value in values) for values in pixels)


def _pixel_decoders(system: System) -> list[tuple[str, PixelDecoder]]:
    modules = system.objectives.named_modules(prefix="objectives")
    return [(name, module) for name, module in modules if isinstance(module, PixelDecoder)]


def _check(theirs: Sizes, ours: Sizes, where: str) -> None:
    if theirs != ours:
        raise UserError(
            f"has {theirs}, and this system's {where} {ours}; give weights of those sizes, or --model.… theirs"
        )


def _sizes(trunk: Trunk, patch: int | None = None) -> Sizes:
    block = cast(Block, trunk.blocks[0])
    heads = cast(int, next(iter(block.attention.values())).heads)
    return Sizes(len(trunk.blocks), trunk.dim, heads, patch, _activation(block.feed_forward))


def _activation(module: nn.Module) -> str:
    """By transformers' names."""
    for inside in module.modules():
        if isinstance(inside, nn.GELU):
            return "gelu" if inside.approximate == "none" else "gelu_pytorch_tanh"
        if isinstance(inside, QuickGELU) or type(inside).__name__ == "QuickGELU":
            return "quick_gelu"
        if isinstance(inside, nn.ReLU | nn.SiLU):
            return type(inside).__name__.lower()
    return "none"
