"""Makes a weighted histogram whose values fall into one bin."""

import torch

torch.manual_seed(0)
torch.set_num_threads(2)
values = torch.rand(2_000_000)
weights = torch.randn(2_000_000)
histogram = torch.zeros(10)

for _step in range(5):
    bins = values.mul(0.9).long()
    histogram.index_put_((bins,), weights, accumulate=True)  # <- here

print(f"first bin {histogram[0].item():.9g}")
