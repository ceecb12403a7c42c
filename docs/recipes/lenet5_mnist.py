"""LeNet-5 on MNIST: 99.0% or more in about half a minute on two cores.

    python docs/recipes/lenet5_mnist.py --data-dir DIR [--out DIR]

DIR has the four files of MNIST. The network is LeCun et al. 1998, "Gradient-Based Learning Applied
to Document Recognition", in the shape that it is taught in today: ReLU, max pooling, and every
map of the second convolution connected to all of the first.
"""

from __future__ import annotations

import _recipe

from sixloop import Trainer, data, models, optim, schedules

EPOCHS, BATCH_SIZE, LR = 12, 64, 0.1


def main() -> None:
    options = _recipe.parse(__doc__)
    train, test = data.mnist(options.data_dir)
    train = train.with_transforms(data.random_crop(28, padding=2))

    trainer = Trainer(
        models.build("lenet5", variant="modern"),
        optim.SGD(LR, momentum=0.9, weight_decay=5e-4),
        schedule=schedules.OneCycle(LR, steps=EPOCHS * train.batch_count(BATCH_SIZE)),
    )
    _recipe.run("lenet5_mnist", options, trainer, train, test, EPOCHS, BATCH_SIZE, required=0.99)


if __name__ == "__main__":
    main()
