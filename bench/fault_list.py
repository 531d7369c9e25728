"""The faults that `planted_faults.py` plants, each with the rule and the cure that name it."""

from __future__ import annotations

from dataclasses import dataclass

from faulty_data import (
    Change,
    near_copies,
    neighbours_swapped,
    noisy,
    rare,
    shuffled_names,
    test_inverted,
    without_a_class,
)

BASES = {
    "digits": """
name = "digits"
data = { source = "digits", validation = 300, test = 300 }
model = { name = "plain", stages = [[16], [32]], hidden = [32], batch_norm = true }
optim = { name = "sgd", lr = 0.05, momentum = 0.9 }
schedule = { name = "cosine" }
training = { epochs = 12, batch_size = 32, precision = "fp32" }
""",
    "cifar": """
name = "cifar"
data = { source = "cifar10", image_size = 16, train = 3000, validation = 1000 }
augment = { train = [{ name = "crop", padding = 2 }, { name = "flip" }] }
model = { name = "plain", stages = [[16], [32]], hidden = [32], batch_norm = true }
optim = { name = "sgd", lr = 0.05, momentum = 0.9, weight_decay = 0.0005 }
schedule = { name = "cosine" }
training = { epochs = 12, batch_size = 64, precision = "fp32", convolution = "direct" }
evaluation = { score_test = false }
""",
}
ADAMW = 'optim={name="adamw",lr=0.004}'
PLAIN = "model.batch_norm=false"
STEADY = "schedule.name=constant"
NET = """
from torch import nn
class Pixels(nn.Module):  # from 0 to 255 again
    def __init__(self, normalized_in_training):
        super().__init__()
        self.normalized_in_training = normalized_in_training
    def forward(self, x):
        return x if self.training and self.normalized_in_training else 120 + 64 * x
class Net(nn.Sequential):
    def __init__(self, image_size, classes, fault):
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                  nn.Linear(16 * (image_size // 2) ** 2, 32), nn.ReLU(), nn.Linear(32, classes)]
        if fault == "dropout":
            layers.insert(5, nn.Dropout(0.95))
        if fault == "softmax":
            layers.append(nn.Softmax(1))
        if fault == "batch-norm":
            layers[:0] = [Pixels(False), nn.BatchNorm2d(3, momentum=0.001)]
        if fault == "normalization":
            layers.insert(0, Pixels(True))
        super().__init__(*layers)
        if fault == "dead":
            nn.init.constant_(layers[4].bias, -100.0)
        if fault == "frozen":
            for parameter in list(self.parameters())[:-2]:
                parameter.data.zero_()
                parameter.requires_grad_(False)
"""


@dataclass(frozen=True)
class Fault:
    """A fault, and what should be said of it."""

    name: str
    overrides: tuple[str, ...]
    rules: str  # those that name it, a regular expression
    cure: str = ""  # a regular expression that its cure has to match; "": a cure is not asked for
    base: str = "digits"
    change: Change | None = None  # of the data
    by_class: bool = False  # the images come class after class


def layers(many: int) -> str:
    """Return a net of so many convolutions, each with a sigmoid."""
    one = '{channels=8, padding=1, activation="sigmoid"}'
    return f'model={{name="layered", convs=[{", ".join([one] * many)}]}}'


REGULAR = "regularised"
FAULTS = (
    Fault(
        "rate x 30",
        ("optim.lr=1.5",),
        "diverged|stuck|dead-relus|rate-too-large",
        r"optim\.lr=0\.",
    ),
    Fault("rate x 30, no BatchNorm", ("optim.lr=1.5", PLAIN), "diverged|stuck|dead-relus", r"optim\.lr=0\."),
    Fault("rate x 30, AdamW", ('optim={name="adamw",lr=0.3}', PLAIN), "diverged|stuck|dead-relus", r"optim\.lr=0\.0"),
    Fault(
        "rate / 100",
        ("optim.lr=0.0003", "training.batch_size=64"),
        "rate-too-small|unfinished",
        r"optim\.lr=0\.00|epochs",
    ),
    Fault("rate / 1000", ("optim.lr=0.00003",), "rate-too-small", r"optim\.lr=0\.000"),
    Fault("SGD weight decay 0.5", ("optim.weight_decay=0.5", STEADY), REGULAR, r"weight_decay=0\.00"),
    Fault("SGD weight decay 0.1, no BatchNorm", ("optim.weight_decay=0.1", PLAIN), REGULAR, r"weight_decay=0\.00"),
    Fault(
        "SGD weight decay 0.08, constant rate",
        ("optim.weight_decay=0.08", PLAIN, STEADY),
        REGULAR,
        r"weight_decay=0\.00",
    ),
    Fault("AdamW weight decay 30", (ADAMW, "optim.weight_decay=30"), REGULAR, r"weight_decay=0\.0"),
    Fault(
        "Adam weight decay 0.5", ('optim={name="adam",lr=0.004,weight_decay=0.5}', PLAIN), REGULAR, r"weight_decay=0"
    ),
    Fault("dropout 0.9", ("model.dropout=[0.9]",), REGULAR, r"model\.dropout="),
    Fault(
        "dropout 0.5 in four layers, CIFAR-10",
        ("model.hidden=[32,32,32]", "model.dropout=[0.5,0.5,0.5]", "model.feature_dropout=0.5"),
        REGULAR,
        r"model\.dropout=.*model\.feature_dropout=",
        "cifar",
    ),
    Fault("a class that counts 200 times", (f"training.class_weights={[200, *[1] * 9]}",), "class-weights", "none"),
    Fault("dropout 0.95 before the head", ("model.feature_dropout=0.95",), REGULAR, r"model\.feature_dropout="),
    Fault("dropout 0.95 in a net of one's own", ("own:dropout",), REGULAR),
    Fault("gradients clipped to 0.001", ("training.clip_norm=0.001",), REGULAR, r"clip_norm=1"),
    Fault("gradients clipped to 0.0001, no BatchNorm", ("training.clip_norm=0.0001", PLAIN), REGULAR, r"clip_norm=1"),
    Fault("smoothing 0.7", ("training.label_smoothing=0.7",), REGULAR, r"label_smoothing=0\.1"),
    Fault("smoothing 0.95", ("training.label_smoothing=0.95",), REGULAR, r"label_smoothing=0\.1"),
    Fault(
        "cutout of the whole image",
        ("augment.train=[{name='cutout',size=16}]",),
        "strong-augmentation",
        r"augment\.train=",
    ),
    Fault(
        "rotations by up to 180 degrees",
        ("augment.train=[{name='rotate',degrees=180}]",),
        "strong-augmentation|mirrored-symbols",
        r"augment\.train=",
    ),
    Fault(
        "crops padded by the whole image",
        ("augment.train=[{name='crop',padding=8}]",),
        "strong-augmentation",
        r"augment\.train=",
    ),
    Fault("momentum 0.99", ("optim.momentum=0.99",), "momentum", r"momentum=0\.9$"),
    Fault("momentum 0.999", ("optim.momentum=0.999",), "momentum", r"momentum=0\.9$"),
    Fault("momentum 0.99, no BatchNorm", ("optim.momentum=0.99", PLAIN), "momentum", r"momentum=0\.9$"),
    Fault(
        "momentum 0.995, constant rate",
        ("optim.momentum=0.995", STEADY, "optim.lr=0.02"),
        "momentum",
        r"momentum=0\.9$",
    ),
    Fault("40 % of labels wrong", (), "label-noise", change=noisy(0.4)),
    Fault("25 % of labels wrong", (), "label-noise", change=noisy(0.25)),
    Fault("40 % of labels wrong, few epochs", ("training.epochs=6",), "label-noise", change=noisy(0.4)),
    Fault(
        "40 % of labels wrong, regularised",
        ("model.dropout=[0.2]", "augment.train=[{name='crop',padding=1}]", "optim.lr=0.02", "training.epochs=20"),
        "label-noise",
        change=noisy(0.4),
    ),
    Fault("40 % of training labels wrong", (), "label-noise", change=noisy(0.4, everywhere=False)),
    Fault("35 % labelled as the next class", (), "label-noise", change=neighbours_swapped(0.35)),
    Fault("sorted by class", (), "unshuffled", by_class=True),
    Fault("sorted by class, no BatchNorm", (PLAIN,), "unshuffled", by_class=True),
    Fault("sorted by class, AdamW", (ADAMW,), "unshuffled", by_class=True),
    Fault("a batch of all images", ("training.batch_size=1200",), "few-steps", r"batch_size="),
    Fault("dead ReLUs", ("own:dead",), "dead-relus"),
    Fault("frozen layers", ("own:frozen",), "dead-relus|frozen"),
    Fault("softmax in a net of one's own", ("own:softmax",), "double-softmax"),
    Fault(
        "saturated sigmoids",
        (layers(2), 'optim={name="sgd",lr=1.0,momentum=0.9}', STEADY),
        "saturated-sigmoids",
        "relu",
    ),
    Fault("sigmoids in a row", (layers(5), 'optim={name="sgd",lr=0.01}'), "vanishing-gradients", "relu"),
    Fault("class names of the test shuffled", (), "parts-mismatch", change=shuffled_names),
    Fault("test images inverted", (), "other-test|parts-mismatch", change=test_inverted),
    Fault("20 validation images", ("data.validation=20",), "too-few-to-tell|small-validation", r"data\.validation="),
    Fault("one validation image", ("data.validation=1",), "too-few-to-tell|small-validation", r"data\.validation="),
    Fault("a class missing in validation", (), "absent-class", change=without_a_class),
    Fault("a rare class", (), "imbalance", change=rare(8)),
    Fault("flip of digits", ("augment.train=[{name='flip'}]",), "mirrored-symbols", r"augment\.train="),
    Fault("mirrored views of digits", ("evaluation.tta=mirror",), "augmented-test|mirrored-symbols", "tta=none"),
    Fault("one epoch", ("training.epochs=1",), "few-epochs|unfinished|guessing", "epochs="),
    Fault(
        "three epochs at a small rate",
        ("training.epochs=3", "optim.lr=0.002"),
        "unfinished|rate-too-small|sound",
        "epochs=|lr=",
    ),
    Fault("patience 1", ("stopping.patience=1", "training.epochs=40", STEADY), "stopped-early", "patience=", "cifar"),
    Fault(
        "cut to nothing after an epoch",
        ('schedule={name="step",milestones=[1],gamma=0.001}', "optim.lr=0.01"),
        "early-decay",
        "schedule",
    ),
    Fault(
        "plateau without patience",
        ('schedule={name="plateau",patience=0,min_delta=0.5,factor=0.1}', "optim.lr=0.002"),
        "early-decay",
        "schedule",
    ),
    Fault("a warm-up longer than training", ("schedule.warmup_epochs=400",), "long-warm-up", "warmup_epochs="),
    Fault(
        "a warm-up of half the training",
        ("schedule.warmup_epochs=11", "optim.lr=0.01"),
        "long-warm-up",
        "warmup_epochs=",
    ),
    Fault("an average too slow for so few steps", ("training.ema_decay=0.9999",), "evaluation-mode", "ema_decay="),
    Fault("normalisation missing at evaluation, in a net of one's own", ("own:normalization",), "evaluation-mode"),
    Fault("BatchNorm momentum of 0.001, for pixels, in a net of one's own", ("own:batch-norm",), "evaluation-mode"),
    Fault(
        "overfitting",
        (PLAIN, ADAMW, STEADY, "data.train=60", "training.epochs=80", "training.batch_size=20"),
        "overfitting|validation-diverges",
        ".",
    ),
    Fault(
        "a net too small",
        (
            'optim={name="adamw",lr=0.03}',
            'model={name="plain",stages=[[1],[1],[1]],batch_norm=true}',
            'schedule={name="step",milestones=[26]}',
            "training.epochs=30",
        ),
        "underfitting",
        "model",
    ),
    Fault("Adam's eps of 1", ('optim={name="adam",lr=0.001,eps=10.0}',), "large-eps|rate-too-small", "eps=|lr="),
    Fault(
        "a rate that grows tenfold",
        ('schedule={name="step",milestones=[6],gamma=100.0}', PLAIN),
        "rising-rate",
        "gamma=0.1",
    ),
    Fault(
        "validation under cutout",
        ("augment.validation=[{name='cutout',size=8}]",),
        "augmented-validation",
        "validation=",
    ),
    Fault(
        "stopping unless the loss falls by 0.5",
        ("stopping.patience=5", "stopping.min_delta=0.5", "training.epochs=40", "optim.lr=0.002", STEADY),
        "stopped-early",
        "min_delta=0",
    ),
    Fault("images of 8 pixels", ("data.image_size=8",), "small-images", "image_size=", "cifar"),
    Fault("near copies in validation", (), "near-copies", "", "cifar", near_copies(500)),
    Fault("30 % of labels wrong, CIFAR-10", (), "label-noise", "", "cifar", noisy(0.3)),
    Fault("sorted by class, CIFAR-10", (), "unshuffled", "", "cifar", by_class=True),
    Fault("SGD weight decay 0.05, CIFAR-10", ("optim.weight_decay=0.05",), REGULAR, r"weight_decay=0\.00", "cifar"),
    Fault("dropout 0.9, CIFAR-10", ("model.dropout=[0.9]",), REGULAR, r"model\.dropout=", "cifar"),
    Fault("momentum 0.995, CIFAR-10", ("optim.momentum=0.995",), "momentum", r"momentum=0\.9$", "cifar"),
    Fault(
        "cutout of all, CIFAR-10",
        ("augment.train=[{name='cutout',size=32}]",),
        "strong-augmentation",
        r"augment\.train=",
        "cifar",
    ),
    Fault(
        "a net too small, CIFAR-10",
        ('model={name="plain",stages=[[2],[4]],batch_norm=true}', STEADY, "training.epochs=16"),
        "underfitting",
        "model",
        "cifar",
    ),
)
