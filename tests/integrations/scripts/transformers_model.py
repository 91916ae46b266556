"""Makes a tiny language model before the Trainer of transformers sets its seed."""

import hashlib
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

if "--repaired" in sys.argv:
    set_seed(0)
config = GPT2Config(vocab_size=26, n_positions=8, n_embd=16, n_layer=2, n_head=2)
model = GPT2LMHeadModel(config)  # <- here

ids = (torch.arange(48 * 8).reshape(48, 8) * 7) % 26
arguments = TrainingArguments(
    output_dir=sys.argv[1],
    per_device_train_batch_size=8,
    max_steps=4,
    save_strategy="no",
    report_to="none",
    use_cpu=True,
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
examples = [{"input_ids": row, "labels": row} for row in ids]
trainer = Trainer(model=model, args=arguments, train_dataset=examples)
trainer.train()

weights = b"".join(each.detach().numpy().tobytes() for each in model.state_dict().values())
print("weights", hashlib.sha256(weights).hexdigest())
