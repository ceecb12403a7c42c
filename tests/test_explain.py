"""`sixloop explain`: which algorithm each layer gets, why, and what the machine allows it."""

from __future__ import annotations

import re

import pytest

import sixloop
from sixloop import cli, models, nn, ops
from sixloop.inspect.explain import Machine, explain
from test_cli import fail, run

MACHINE = Machine(peak_gflops=100, memory_gbs=10)  # ridge: 10 FLOP a byte


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_layer_with_products_has_its_passes():
    model = models.define("lenet5")
    made = explain(model, 64, training=True, machine=MACHINE)
    assert [row.which for row in made.rows if row.name == "conv2d_2"] == [
        "forward",
        "grad_input",
        "grad_weight",
    ]
    # Nobody needs the gradient of the images.
    assert [row.which for row in made.rows if row.name == "conv2d_1"] == ["forward", "grad_weight"]
    assert len(made.rows) == 5 * 3 - 1
    assert made.others == 3
    assert {row.which for row in explain(model, machine=MACHINE).rows} == {"forward"}


def test_layers_before_which_nothing_learns_have_no_input_gradient():
    image = nn.Input((8, 8, 3))
    left = nn.Conv2D(4, 3, name="left")(nn.MaxPool2D(2)(image))
    right = nn.Conv2D(4, 3, name="right")(nn.BatchNorm()(image))
    model = nn.Model(image, [nn.Flatten()(left), nn.Flatten()(right)])
    rows = explain(model, training=True, machine=MACHINE).rows
    assert [row.which for row in rows if row.name == "left"] == ["forward", "grad_weight"]
    assert "grad_input" in [row.which for row in rows if row.name == "right"]


def test_figures_of_a_row():
    image = nn.Input((16, 20, 32))
    model = nn.Model(image, nn.Conv2D(48, 3, padding=1, name="conv")(image))
    (row,) = explain(model, 2, machine=MACHINE).rows
    assert row.plan == ops.conv2d_plan("forward", (2, 16, 20, 32), (3, 3, 32, 48), padding=1)
    assert row.plan.algorithm == "winograd4x4"
    assert row.flop == 2 * (2 * 16 * 20) * 48 * 9 * 32
    assert row.bytes == 4 * (2 * 16 * 20 * (32 + 48) + 9 * 32 * 48)
    layer = model.layers[0]
    assert row.scratch_bytes == layer.scratch(2, 4, (16, 20, 32)).forward > 0
    assert row.gflops is None
    assert row.kernel.startswith("winograd 4x4 + gemm_strip ")


def test_products_are_explained_by_the_product_that_runs():
    image = nn.Input((400,))
    model = nn.Model(image, nn.Dense(120, name="fc")(nn.Dense(400)(image)))
    rows = {row.which: row for row in explain(model, 8, training=True, machine=MACHINE).rows[2:]}
    assert rows["forward"].plan == ops.gemm_plan(8, 120, 400)
    assert rows["grad_input"].plan == ops.gemm_plan(8, 400, 120, transpose_b=True)
    assert rows["grad_weight"].plan == ops.gemm_plan(400, 120, 8, transpose_a=True)
    assert rows["grad_weight"].flop == rows["forward"].flop == 2 * 8 * 120 * 400


def test_the_roof():
    assert MACHINE.roof(2) == 20
    assert MACHINE.roof(50) == 100
    image = nn.Input((400,))
    model = nn.Model(image, nn.Dense(120, name="fc")(image))
    text = str(explain(model, 1, machine=MACHINE))
    assert re.search(r"fc +forward +1x400 to 120 +gemm .* 0\.5 +5 +memory$", text, re.MULTILINE)
    text = str(explain(model, 512, machine=MACHINE))
    assert re.search(r" 100 +arithmetic$", text, re.MULTILINE)


def test_an_algorithm_that_was_asked_for_and_float64():
    image = nn.Input((16, 16, 32))
    model = nn.Model(image, nn.Conv2D(32, 3, algorithm="im2col")(image))
    model.build(dtype="float64")
    (row,) = explain(model, machine=MACHINE).rows
    assert row.plan.algorithm == "im2col"
    assert row.plan.reason == "asked for"
    assert "_f64_" in row.plan.kernels[0]
    assert row.bytes % 8 == 0


def test_measured(capsys):
    out = run(capsys, "explain", "lenet5", "--batch", 2, "--training", "--measure", "--threads", 1)
    assert re.match(
        r"lenet5, batch 2: \w+, 1 threads; peak [\d,]+ GFLOP/s, memory [\d.]+ GB/s", out
    )
    shares = re.findall(r"(?:memory|arithmetic) +[\d.]+ +(\d+)%$", out, re.MULTILINE)
    assert len(shares) == 14
    assert "Not listed: 3 calls of other layers, which memory bounds." in out


def test_command(capsys):
    before = sixloop.memory_stats()["allocated"]
    out = run(capsys, "explain", "vgg16", "--training", "--batch", 8)
    assert sixloop.memory_stats()["allocated"] == before  # no parameters, no activations
    assert re.search(
        r"^features\.2 +grad_weight +8x224x224x64, 3x3 to 64, padding 1 +winograd4x4 +"
        r"tiles of 4x4: at least 24 +transformed tiles +winograd 4x4 \+ gemm_columns ",
        out,
        re.MULTILINE,
    )
    assert "3 channels, fewer than 16" in out
    assert "Winograd's algorithm does fewer and may pass the roof" in out
    out = run(capsys, "explain", "resnet50", "--variant", "v1.5", "--classes", 7)
    assert re.search(r"1x2048 to 7 +gemm", out)


def test_a_gpu_on_the_command_line(capsys):
    command = ["explain", "lenet5", "--batch", 8, "--training", "--device", "cuda"]
    if "build has no CUDA" in sixloop.cuda.why():
        assert "there are no plans for cuda: this build has no CUDA" in fail(capsys, *command)
        return
    out = run(capsys, *command, "--precision", "bf16", "--capability", "8.6")
    assert out.startswith("lenet5, batch 8: cuda, compute capability 8.6, bf16\n")
    assert re.search(
        r"^conv2d_2 +grad_weight .* implicit_gemm .* tensor cores by mma\.sync +.*product_bf16_",
        out,
        re.MULTILINE,
    )
    assert "roof" not in out
    assert "ordinary cores" in run(capsys, *command, "--capability", "9.0")
    assert "capability must be at least (8, 0)" in fail(capsys, *command, "--capability", "7.5")


def test_saved_model(capsys):
    model = models.build("small_cnn", input_shape=(8, 8, 1))
    model.save("saved")
    assert "conv2d_1  forward" in run(capsys, "explain", "saved")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vgg17"], "'vgg17' is neither a network (perceptron"),
        (["vgg16", "--batch", "0"], "invalid positive integer value: '0'"),
        (["saved", "--classes", "3"], "--classes"),
        (["empty"], "has neither convolutions nor dense layers to explain"),
        (["lenet5", "--precision", "bf16"], 'precision "bf16" is for float32 models on cuda'),
        (["lenet5", "--precision", "tf32"], "precision 'tf32' is for device=\"cuda\""),
        (["lenet5", "--capability", "9.0"], 'capability is for device="cuda"'),
        (["lenet5", "--device", "cuda", "--capability", "x"], "invalid X.Y value: 'x'"),
        (["lenet5", "--depth", "8"], "lenet5 has no option 'depth'"),
    ],
)
def test_errors_are_one_line(capsys, arguments, message):
    models.build("perceptron").save("saved")
    image = nn.Input((4, 4, 1))
    empty = nn.Model(image, nn.MaxPool2D(2)(image))
    empty.build()
    empty.save("empty")
    assert message in fail(capsys, "explain", *arguments)


def test_a_batch_is_at_least_one():
    with pytest.raises(ValueError, match="batch must be positive; got 0"):
        explain(models.define("lenet5"), 0)


def test_help_has_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert "bench" in text
    assert "explain" in text
