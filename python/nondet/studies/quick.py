"""`nondet run quick`: the paper's central finding (Table 8 beside Tables 1 and 3) on digits, in a
minute.
"""

from nondet.row import Row
from nondet.study import Preset, Study

QUICK = Study(
    name="quick",
    title="What spreads the results of training?",
    rows=(
        Row("control"),
        Row("initialization", ("init",)),
        Row("shuffling", ("shuffle",)),
        Row("augmentation", ("augment",)),
        Row("dropout", ("stochastic",)),
        Row("low-level order", ("lowlevel",)),
        Row("low-level race", ("lowlevel",), {"lowlevel": "atomic"}),
        Row("one bit", ("bit",)),
        Row("all sources", ("init", "shuffle", "augment", "stochastic", "lowlevel")),
    ),
    presets={
        # Learning rate, momentum, weight decay, warm-up and bias rate are the paper's; epochs and
        # batch are scaled to 1,347 images of 8x8 pixels.
        "laptop": Preset(
            runs=10,
            models=("linear", "hidden"),
            settings={
                "dataset": "digits",
                "epochs": 20,
                "batch_size": 64,
                "lr": 0.4,
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "warmup_epochs": 3,
                "bias_lr_scale": 0.1,
                "crop_padding": 1,
            },
            model_settings={"hidden": {"dropout": 0.1}},
        ),
    },
)
