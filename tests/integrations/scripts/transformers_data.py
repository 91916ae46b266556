"""Trains a tiny language model with the Trainer of transformers, on texts that `random` shuffles.

The Trainer seeds `random` too, but only after the texts were shuffled.
"""

import hashlib
import random
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

if "--repaired" in sys.argv:
    random.seed(0)


def tokens(text: str) -> dict[str, torch.Tensor]:
    ids = torch.tensor([ord(char) - ord("a") for char in text])  # <- here
    return {"input_ids": ids, "labels": ids}


texts = [chr(ord("a") + number % 20) * 3 + "mondays"[: 5 + number % 2][:5] for number in range(48)]
random.shuffle(texts)
examples = [tokens(text) for text in texts]

set_seed(1)
model = GPT2LMHeadModel(GPT2Config(vocab_size=26, n_positions=8, n_embd=16, n_layer=2, n_head=2))
arguments = TrainingArguments(
    output_dir=sys.argv[1],
    per_device_train_batch_size=8,
    num_train_epochs=1,
    learning_rate=1e-2,
    logging_steps=2,
    save_strategy="no",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
trainer = Trainer(model=model, args=arguments, train_dataset=examples)
trainer.train()

weights = b"".join(each.detach().numpy().tobytes() for each in model.state_dict().values())
print("weights", hashlib.sha256(weights).hexdigest())
