"""ResNet-20 on CIFAR-10: 85% or more within two hours on two cores.

    python docs/recipes/resnet20_cifar10.py --data-dir DIR [--out DIR]

DIR has train/<class>/*.jpg and test/<class>/*.jpg, or the files of the binary version. The network
and its shortcuts without parameters are those of He et al. 2016, "Deep Residual Learning for Image
Recognition", section 4.2, and so are the batch size, the momentum, and the pictures: shifted by up
to four pixels and mirrored at random. The schedule is not: one cycle (Smith and Topin 2019,
"Super-Convergence") reaches in 20 epochs what the paper's steps take some 80 for.
"""

from __future__ import annotations

from pathlib import Path

import _recipe

from sixloop import Trainer, data, models, optim, schedules

EPOCHS, BATCH_SIZE, LR = 20, 128, 0.2
# Of the training images, as fractions of 1, in the order red, green, blue.
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def main() -> None:
    options = _recipe.parse(__doc__)
    folder = Path(options.data_dir)
    train, test = data.load(folder) if (folder / "train").is_dir() else data.cifar10(folder)
    train = train.with_transforms(
        data.random_crop(32, padding=4), data.horizontal_flip(), data.normalize(MEAN, DEVIATION)
    )
    test = test.with_transforms(data.normalize(MEAN, DEVIATION))

    trainer = Trainer(
        models.build("resnet_cifar", depth=20),
        optim.SGD(LR, momentum=0.9, weight_decay=5e-4),
        schedule=schedules.OneCycle(LR, steps=EPOCHS * train.batch_count(BATCH_SIZE)),
    )
    _recipe.run(
        "resnet20_cifar10", options, trainer, train, test, EPOCHS, BATCH_SIZE, required=0.85
    )


if __name__ == "__main__":
    main()
