"""The layers whose outputs and gradients are recorded from Keras and compared with gradlite's.

Both sides import this list, so what is recorded and what is tested cannot drift apart. A case is plain data; its inputs
and weights come from `fixed_arrays` by name. No framework is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fixed_arrays import integers, uniform


@dataclass(frozen=True)
class LayerCase:
    """One layer and how it is called.

    `input_kind`: "uniform" floats in [-2, 2); "tied" floats, many of them equal; "indices" int32 below `index_limit`.
    `calls`: how often the layer is called in a row, each time with new inputs; what is recorded is the last call.
    """

    name: str
    layer: str
    input_shapes: tuple[tuple[int, ...], ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    training: bool | None = None
    input_kind: str = "uniform"
    index_limit: int = 0
    calls: int = 1
    adapt_shape: tuple[int, ...] | None = None

    @property
    def differentiable_input(self) -> bool:
        return self.input_kind != "indices"

    def inputs(self, call: int = 0) -> list[np.ndarray]:
        """The inputs of one call."""
        arrays = []
        for position, shape in enumerate(self.input_shapes):
            key = f"layer/{self.name}/input{position}/call{call}"
            if self.input_kind == "indices":
                arrays.append(integers(key, shape, 0, self.index_limit))
            elif self.input_kind == "tied":
                arrays.append(integers(key, shape, 0, 3).astype(np.float32))
            else:
                arrays.append(uniform(key, shape, -2.0, 2.0))
        return arrays

    def adapt_data(self) -> np.ndarray | None:
        """What `adapt` is given, for layers that have it."""
        return None if self.adapt_shape is None else uniform(f"layer/{self.name}/adapt", self.adapt_shape, -3.0, 5.0)

    def weights(self, names_and_shapes: list[tuple[str, tuple[int, ...]]]) -> list[np.ndarray]:
        """Weights for `set_weights`, in the layer's order; variances are positive."""
        arrays = []
        for position, (weight_name, shape) in enumerate(names_and_shapes):
            low, high = (0.5, 2.0) if "variance" in weight_name else (-1.0, 1.0)
            arrays.append(uniform(f"layer/{self.name}/weight{position}", tuple(shape), low, high))
        return arrays

    def cotangent(self, shape: tuple[int, ...]) -> np.ndarray:
        """The fixed weights w of the differentiated scalar sum(output * w)."""
        return uniform(f"layer/{self.name}/cotangent", tuple(shape))


def case(name: str, layer: str, *input_shapes: tuple[int, ...], **options: Any) -> LayerCase:
    """A `LayerCase`; options that are not its fields are the layer's keyword arguments."""
    own = {key: options.pop(key) for key in list(options) if key in LayerCase.__dataclass_fields__}
    return LayerCase(name, layer, input_shapes, kwargs=options, **own)


DENSE = [
    case("dense_rank2", "Dense", (4, 5), units=3),
    case("dense_rank3", "Dense", (2, 3, 5), units=4),
    case("dense_rank4_no_bias", "Dense", (2, 2, 3, 4), units=2, use_bias=False),
    case("dense_relu", "Dense", (4, 5), units=6, activation="relu"),
    case("dense_softmax", "Dense", (4, 5), units=6, activation="softmax"),
    case("dense_tanh", "Dense", (3, 5), units=4, activation="tanh"),
    case("dense_gelu_rank3", "Dense", (2, 3, 5), units=4, activation="gelu"),
    case("dense_one_row_one_unit", "Dense", (1, 1), units=1, activation="sigmoid"),
]

CONVOLUTIONS = [
    case("conv1d_valid", "Conv1D", (2, 9, 3), filters=4, kernel_size=3),
    case("conv1d_same_stride", "Conv1D", (2, 10, 3), filters=4, kernel_size=4, strides=3, padding="same"),
    case("conv1d_causal", "Conv1D", (2, 8, 3), filters=4, kernel_size=3, padding="causal"),
    case("conv1d_causal_dilated", "Conv1D", (2, 9, 2), filters=3, kernel_size=3, padding="causal", dilation_rate=2),
    case("conv1d_dilated_relu", "Conv1D", (2, 11, 2), filters=3, kernel_size=3, dilation_rate=3, activation="relu"),
    case("conv1d_groups", "Conv1D", (2, 8, 4), filters=6, kernel_size=3, groups=2),
    case("conv2d_valid", "Conv2D", (2, 7, 6, 3), filters=4, kernel_size=3),
    case("conv2d_same", "Conv2D", (2, 6, 5, 3), filters=4, kernel_size=3, padding="same", activation="relu"),
    case("conv2d_1x1", "Conv2D", (2, 4, 5, 3), filters=5, kernel_size=1),
    case("conv2d_even_kernel_same", "Conv2D", (2, 5, 6, 2), filters=3, kernel_size=(2, 4), padding="same"),
    case("conv2d_stride_valid", "Conv2D", (2, 8, 9, 2), filters=3, kernel_size=(3, 2), strides=(2, 3)),
    case("conv2d_stride_same", "Conv2D", (2, 7, 8, 2), filters=3, kernel_size=3, strides=2, padding="same"),
    case("conv2d_stride_same_even", "Conv2D", (2, 8, 7, 2), filters=3, kernel_size=4, strides=(3, 2), padding="same"),
    case(
        "conv2d_stride_wider_than_kernel", "Conv2D", (1, 9, 9, 2), filters=3, kernel_size=2, strides=3, padding="same"
    ),
    case("conv2d_dilation_valid", "Conv2D", (2, 9, 8, 2), filters=3, kernel_size=3, dilation_rate=(2, 3)),
    case("conv2d_dilation_same", "Conv2D", (2, 7, 6, 2), filters=3, kernel_size=3, padding="same", dilation_rate=2),
    case("conv2d_groups", "Conv2D", (2, 6, 6, 4), filters=6, kernel_size=3, groups=2, use_bias=False),
    case("conv2d_depthwise_by_groups", "Conv2D", (2, 5, 5, 4), filters=4, kernel_size=3, groups=4, padding="same"),
    case("conv2d_kernel_as_large_as_input", "Conv2D", (3, 4, 5, 2), filters=3, kernel_size=(4, 5)),
    case("conv2d_transpose_valid", "Conv2DTranspose", (2, 4, 5, 3), filters=2, kernel_size=3),
    case("conv2d_transpose_same", "Conv2DTranspose", (2, 4, 5, 3), filters=2, kernel_size=3, padding="same"),
    case(
        "conv2d_transpose_stride_valid", "Conv2DTranspose", (2, 3, 4, 3), filters=2, kernel_size=(3, 4), strides=(2, 3)
    ),
    case(
        "conv2d_transpose_stride_same",
        "Conv2DTranspose",
        (2, 3, 4, 3),
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
        activation="relu",
    ),
    case(
        "conv2d_transpose_stride_same_even",
        "Conv2DTranspose",
        (2, 3, 4, 2),
        filters=3,
        kernel_size=4,
        strides=2,
        padding="same",
    ),
    case(
        "conv2d_transpose_stride_wider_than_kernel",
        "Conv2DTranspose",
        (2, 3, 3, 2),
        filters=2,
        kernel_size=2,
        strides=3,
    ),
    case(
        "conv2d_transpose_output_padding_same",
        "Conv2DTranspose",
        (2, 3, 4, 2),
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
        output_padding=0,
    ),
    case(
        "conv2d_transpose_output_padding_valid",
        "Conv2DTranspose",
        (2, 3, 4, 2),
        filters=2,
        kernel_size=3,
        strides=(2, 3),
        output_padding=(1, 2),
    ),
    case("conv2d_transpose_dilation", "Conv2DTranspose", (2, 4, 4, 2), filters=2, kernel_size=3, dilation_rate=2),
    case("depthwise_valid", "DepthwiseConv2D", (2, 6, 5, 3), kernel_size=3),
    case("depthwise_multiplier", "DepthwiseConv2D", (2, 6, 5, 3), kernel_size=(3, 2), depth_multiplier=2),
    case("depthwise_stride_same", "DepthwiseConv2D", (2, 7, 6, 3), kernel_size=3, strides=2, padding="same"),
    case(
        "depthwise_dilation_relu",
        "DepthwiseConv2D",
        (2, 7, 6, 2),
        kernel_size=3,
        dilation_rate=2,
        padding="same",
        activation="relu",
    ),
    case("separable_valid", "SeparableConv2D", (2, 6, 5, 3), filters=4, kernel_size=3),
    case(
        "separable_same_multiplier",
        "SeparableConv2D",
        (2, 6, 5, 3),
        filters=4,
        kernel_size=3,
        padding="same",
        depth_multiplier=2,
        activation="relu",
    ),
    case("separable_stride", "SeparableConv2D", (2, 7, 7, 2), filters=3, kernel_size=2, strides=2, use_bias=False),
]

POOLING = [
    case("max_pool1d", "MaxPooling1D", (2, 9, 3), pool_size=2),
    case("max_pool1d_same", "MaxPooling1D", (2, 9, 3), pool_size=3, strides=2, padding="same"),
    case("average_pool1d", "AveragePooling1D", (2, 9, 3), pool_size=2),
    case("average_pool1d_same", "AveragePooling1D", (2, 10, 3), pool_size=4, strides=3, padding="same"),
    case("max_pool2d", "MaxPooling2D", (2, 6, 8, 3)),
    case("max_pool2d_odd_size", "MaxPooling2D", (2, 7, 5, 3)),
    case("max_pool2d_same_odd_size", "MaxPooling2D", (2, 7, 5, 3), padding="same"),
    case("max_pool2d_overlapping", "MaxPooling2D", (2, 7, 8, 3), pool_size=3, strides=2),
    case("max_pool2d_overlapping_same", "MaxPooling2D", (2, 7, 8, 2), pool_size=(3, 2), strides=(1, 3), padding="same"),
    case("max_pool2d_stride_wider", "MaxPooling2D", (2, 9, 8, 2), pool_size=2, strides=3),
    case("max_pool2d_ties", "MaxPooling2D", (2, 8, 8, 2), input_kind="tied", pool_size=3, strides=2, padding="same"),
    case("average_pool2d", "AveragePooling2D", (2, 6, 8, 3), pool_size=2),
    case("average_pool2d_odd_size", "AveragePooling2D", (2, 7, 5, 3), pool_size=(2, 3)),
    case("average_pool2d_same", "AveragePooling2D", (2, 7, 5, 3), pool_size=2, padding="same"),
    case("average_pool2d_overlapping_same", "AveragePooling2D", (2, 7, 6, 2), pool_size=3, strides=2, padding="same"),
    case("average_pool2d_stride_wider", "AveragePooling2D", (2, 9, 8, 2), pool_size=2, strides=3),
    case("global_max_pool1d", "GlobalMaxPooling1D", (2, 5, 3)),
    case("global_average_pool1d", "GlobalAveragePooling1D", (2, 5, 3), keepdims=True),
    case("global_max_pool2d", "GlobalMaxPooling2D", (2, 4, 5, 3)),
    case("global_max_pool2d_keepdims", "GlobalMaxPooling2D", (2, 4, 5, 3), keepdims=True),
    case("global_average_pool2d", "GlobalAveragePooling2D", (2, 4, 5, 3)),
    case("global_average_pool2d_keepdims", "GlobalAveragePooling2D", (2, 4, 5, 3), keepdims=True),
]

NORMALIZATION = [
    case("batch_norm_training", "BatchNormalization", (6, 4), training=True, calls=3),
    case("batch_norm_inference", "BatchNormalization", (6, 4), training=False),
    case("batch_norm_images_training", "BatchNormalization", (3, 4, 5, 2), training=True, calls=3),
    case("batch_norm_images_inference", "BatchNormalization", (3, 4, 5, 2), training=False),
    case(
        "batch_norm_momentum_epsilon", "BatchNormalization", (5, 3), training=True, calls=3, momentum=0.7, epsilon=0.1
    ),
    case("batch_norm_axis1", "BatchNormalization", (3, 4, 5, 2), training=True, calls=3, axis=1),
    case("batch_norm_axis1_inference", "BatchNormalization", (3, 4, 5, 2), training=False, axis=1),
    case("batch_norm_no_center", "BatchNormalization", (5, 3), training=True, calls=3, center=False),
    case("batch_norm_no_scale", "BatchNormalization", (5, 3), training=True, calls=3, scale=False),
    case("batch_norm_neither", "BatchNormalization", (5, 3), training=True, calls=3, center=False, scale=False),
    case("batch_norm_one_row", "BatchNormalization", (1, 3), training=True),
    case("batch_norm_frozen", "BatchNormalization", (5, 3), training=True, trainable=False),
    case("layer_norm", "LayerNormalization", (4, 6)),
    case("layer_norm_rank3", "LayerNormalization", (2, 3, 5), epsilon=0.01),
    case("layer_norm_two_axes", "LayerNormalization", (2, 3, 4, 2), axis=[2, 3]),
    case("layer_norm_no_center", "LayerNormalization", (4, 6), center=False),
    case("layer_norm_no_scale", "LayerNormalization", (4, 6), scale=False),
    case("group_norm", "GroupNormalization", (2, 4, 3, 6), groups=3),
    case("group_norm_instance", "GroupNormalization", (2, 4, 3, 6), groups=-1),
    case("group_norm_one_group", "GroupNormalization", (2, 5, 4), groups=1, epsilon=0.01),
    case("group_norm_no_center_scale", "GroupNormalization", (2, 5, 4), groups=2, center=False, scale=False),
]

ACTIVATIONS = [
    case("relu", "ReLU", (4, 9)),
    case("relu_max", "ReLU", (4, 9), max_value=1.0),
    case("relu_slope", "ReLU", (4, 9), negative_slope=0.2),
    case("relu_threshold", "ReLU", (4, 9), threshold=0.7),
    case("relu_all", "ReLU", (4, 9), max_value=1.2, negative_slope=0.3, threshold=0.5),
    case("leaky_relu", "LeakyReLU", (4, 9)),
    case("leaky_relu_slope", "LeakyReLU", (4, 9), negative_slope=0.05),
    case("elu", "ELU", (4, 9)),
    case("elu_alpha", "ELU", (4, 9), alpha=0.4),
    case("prelu", "PReLU", (4, 3, 5)),
    case("prelu_shared", "PReLU", (2, 3, 4, 5), shared_axes=[1, 2]),
    case("softmax_layer", "Softmax", (4, 7)),
    case("softmax_layer_axis1", "Softmax", (2, 3, 4), axis=1),
    case("activation_by_name", "Activation", (4, 7), activation="swish"),
]

SHAPES = [
    case("flatten", "Flatten", (3, 2, 4, 5)),
    case("flatten_rank1", "Flatten", (3,)),
    case("reshape", "Reshape", (3, 2, 6), target_shape=(4, 3)),
    case("reshape_inferred", "Reshape", (3, 2, 6), target_shape=(-1, 2)),
    case("permute", "Permute", (3, 2, 4, 5), dims=(3, 1, 2)),
    case("repeat_vector", "RepeatVector", (3, 4), n=3),
    case("zero_padding", "ZeroPadding2D", (2, 3, 4, 2)),
    case("zero_padding_asymmetric", "ZeroPadding2D", (2, 3, 4, 2), padding=((1, 0), (2, 3))),
    case("cropping", "Cropping2D", (2, 6, 7, 2), cropping=((1, 2), (0, 3))),
    case("upsampling_nearest", "UpSampling2D", (2, 3, 4, 2)),
    case("upsampling_nearest_ragged", "UpSampling2D", (2, 3, 4, 2), size=(3, 2)),
    case("upsampling_bilinear", "UpSampling2D", (2, 3, 4, 2), interpolation="bilinear"),
    case("upsampling_bilinear_ragged", "UpSampling2D", (1, 4, 3, 2), size=(2, 3), interpolation="bilinear"),
    case("embedding", "Embedding", (3, 4), input_kind="indices", index_limit=6, input_dim=6, output_dim=5),
    case("embedding_repeated", "Embedding", (5, 9), input_kind="indices", index_limit=2, input_dim=3, output_dim=4),
    case("rescaling", "Rescaling", (2, 3, 4), scale=0.25, offset=-1.0),
    case("normalization_given", "Normalization", (4, 3), mean=[0.5, -1.0, 2.0], variance=[1.0, 0.25, 4.0]),
    case("normalization_scalar", "Normalization", (4, 3), axis=None, mean=0.5, variance=4.0),
    case("normalization_adapted", "Normalization", (4, 3), adapt_shape=(50, 3)),
    case("normalization_adapted_images", "Normalization", (2, 3, 4, 2), adapt_shape=(20, 3, 4, 2)),
    case("normalization_inverted", "Normalization", (4, 3), adapt_shape=(50, 3), invert=True),
    case("dropout_inference", "Dropout", (4, 5), training=False, rate=0.5),
    case("gaussian_noise_inference", "GaussianNoise", (4, 5), training=False, stddev=0.5),
]

MERGING = [
    case("add", "Add", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    case("add_broadcast", "Add", (2, 3, 4), (2, 1, 4)),
    case("subtract", "Subtract", (2, 3, 4), (2, 3, 4)),
    case("multiply", "Multiply", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    case("average", "Average", (2, 3, 4), (2, 3, 4), (2, 3, 4)),
    case("concatenate", "Concatenate", (2, 3, 4), (2, 3, 2)),
    case("concatenate_axis1", "Concatenate", (2, 3, 4), (2, 1, 4), (2, 2, 4), axis=1),
]

CASES = DENSE + CONVOLUTIONS + POOLING + NORMALIZATION + ACTIVATIONS + SHAPES + MERGING
