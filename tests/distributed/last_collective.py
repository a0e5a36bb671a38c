"""A process of two whose last act is a collective: the moment at which gloo's threads still hold its tensors."""

import torch
import torch.distributed as dist
from torch import nn

from jal_hf.training.process_end import end_well

if __name__ == "__main__":
    end_well()
    dist.init_process_group("gloo")
    network = nn.parallel.DistributedDataParallel(nn.Linear(4, 4))
    for _ in range(5):
        network(torch.randn(8, 4)).sum().backward()
    dist.all_gather_object([None, None], {"done": True})
