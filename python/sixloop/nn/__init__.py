"""Layers, and models made of them; ``from sixloop.nn import *`` brings all of them.

Activations are [N, H, W, C] or [N, features]; shapes are written without N.
"""

from __future__ import annotations

from sixloop.nn.activation import Activation
from sixloop.nn.conv import Conv2D
from sixloop.nn.dense import Dense
from sixloop.nn.dropout import Dropout
from sixloop.nn.folding import fold_batch_norm as fold_batch_norm
from sixloop.nn.layer import Context as Context
from sixloop.nn.layer import Input
from sixloop.nn.layer import Layer as Layer
from sixloop.nn.layer import ParameterSpec as ParameterSpec
from sixloop.nn.layer import Symbol as Symbol
from sixloop.nn.lenet import RadialBasis, ScaledTanh, SparseConv2D, Subsample2D
from sixloop.nn.merge import Add, Concat
from sixloop.nn.model import Model
from sixloop.nn.normalization import BatchNorm, LocalResponseNorm
from sixloop.nn.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from sixloop.nn.sequential import Sequential
from sixloop.nn.serialization import load as load
from sixloop.nn.serialization import model_from_config as model_from_config
from sixloop.nn.shaping import Flatten, Reshape, ZeroPad2D, ZeroPadChannels
from sixloop.nn.torch_weights import load_torch_state_dict as load_torch_state_dict

# Only what builds a network: `load`, `load_torch_state_dict`, `fold_batch_norm` and the parts for
# layers of one's own (Layer, Context, ParameterSpec, Symbol, model_from_config) keep their module's
# name in front.
__all__ = [
    "Activation",
    "Add",
    "AvgPool2D",
    "BatchNorm",
    "Concat",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Input",
    "LocalResponseNorm",
    "MaxPool2D",
    "Model",
    "RadialBasis",
    "Reshape",
    "ScaledTanh",
    "Sequential",
    "SparseConv2D",
    "Subsample2D",
    "ZeroPad2D",
    "ZeroPadChannels",
]
