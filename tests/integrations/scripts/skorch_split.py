"""Fits a net with skorch, which splits off examples for validation with NumPy's generator."""

import hashlib
import sys

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit

torch.manual_seed(0)
inputs = torch.randn(60, 8).numpy()
targets = (inputs.sum(1) > 0).astype(np.int64)
net = NeuralNetClassifier(
    torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2), torch.nn.Softmax(dim=1)
    ),
    criterion=torch.nn.NLLLoss,
    optimizer=torch.optim.SGD,
    lr=0.1,
    max_epochs=2,
    batch_size=16,
    train_split=ValidSplit(0.2, random_state=0 if "--repaired" in sys.argv else None),
    iterator_train__shuffle=True,
    verbose=0,
)
net.fit(inputs, targets)  # <- here

state = net.module_.state_dict()
weights = b"".join(each.detach().numpy().tobytes() for each in state.values())
print("weights", hashlib.sha256(weights).hexdigest())
