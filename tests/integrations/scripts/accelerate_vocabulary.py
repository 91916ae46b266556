"""Trains with accelerate, with a vocabulary in the order of a set."""

import hashlib
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
accelerator = Accelerator(cpu=True)
set_seed(0)

line = "the cat sat on the mat and the dog sat on the log while a bird sang in the tree"
text = line.split()
words = sorted(set(text)) if "--repaired" in sys.argv else list(set(text))
ids = torch.tensor([words.index(word) for word in text])  # <- here


class NextWord(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(len(words), 8)
        self.head = torch.nn.Linear(8, len(words))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(ids))


model = NextWord()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
loader = DataLoader(TensorDataset(ids[:-1], ids[1:]), batch_size=4, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

for _epoch in range(2):
    for before, after in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(before), after)
        accelerator.backward(loss)
        optimizer.step()

if accelerator.is_main_process:
    state = accelerator.unwrap_model(model).state_dict()
    weights = b"".join(each.detach().numpy().tobytes() for each in state.values())
    print("weights", hashlib.sha256(weights).hexdigest())
accelerator.end_training()
