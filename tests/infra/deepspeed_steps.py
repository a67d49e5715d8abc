"""Three steps of a small model under each configuration named on the command line; prints, as JSON, what became of it.

A process of its own: DeepSpeed keeps its process group, and ZeRO-3 its hooks, for as long as a process lives.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn


def model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))


def flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def adamw(network: nn.Module) -> torch.optim.AdamW:
    """With an epsilon that keeps a gradient of nearly nothing from becoming a whole step by rounding."""
    return torch.optim.AdamW(network.parameters(), lr=1e-2, eps=1e-4)


def main(paths: list[str]) -> None:
    import deepspeed
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False  # it would want a compiler
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, 16), torch.randn(8, 4)

    plain = model()
    optimizer = adamw(plain)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(plain(inputs), targets).backward()
        optimizer.step()

    results = {}
    for path in paths:
        network = model()
        engine, *_ = deepspeed.initialize(
            model=network,
            optimizer=adamw(network),
            config={**json.loads(Path(path).read_text()), "train_micro_batch_size_per_gpu": len(inputs)},
        )
        for _ in range(3):
            engine.backward(nn.functional.mse_loss(engine(inputs), targets))
            engine.step()
        with deepspeed.zero.GatheredParameters(list(network.parameters())):
            difference = (flat(network) - flat(plain)).abs().max().item()
        zero = engine.config["zero_optimization"]
        offloaded = [key for key in ("offload_optimizer", "offload_param") if zero.get(key, {}).get("device") == "cpu"]
        results[path] = {"stage": engine.zero_optimization_stage(), "offloaded": offloaded, "difference": difference}
    torch.distributed.destroy_process_group()
    print("RESULTS " + json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
