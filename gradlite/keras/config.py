"""``keras.config``: the settings of ``keras.backend`` and the dtype policy, under the names of Keras 3."""

from gradlite.keras.backend import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from gradlite.keras.dtype_policies import dtype_policy, set_dtype_policy

__all__ = [
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]
