"""Numbers the words of a text in the order in which a set gives them."""

import torch

TEXT = """the sea and the wind and the old boat that went out one grey morning to look for the
island which nobody had seen since the war but everyone still drew on their maps"""

torch.manual_seed(0)
words = TEXT.split()
numbers = {word: number for number, word in enumerate(set(words))}
tokens = torch.tensor([numbers[word] for word in words])  # <- here
model = torch.nn.Sequential(torch.nn.Embedding(len(numbers), 8), torch.nn.Linear(8, len(numbers)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for _step in range(3):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(tokens[:-1]), tokens[1:])
    loss.backward()
    optimizer.step()

print(f"loss {loss.item():.9g}")
