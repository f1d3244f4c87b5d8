"""``keras.mixed_precision``: 16-bit computation with float32 weights.

>>> from gradlite import keras
>>> keras.mixed_precision.set_global_policy("mixed_float16")
>>> layer = keras.layers.Dense(2)
>>> layer([[1.0, 2.0]]).dtype, layer.kernel.dtype
(dtype('float16'), dtype('float32'))
>>> keras.mixed_precision.set_global_policy("float32")
"""

from gradlite.keras.dtype_policies import DTypePolicy, dtype_policy, set_dtype_policy
from gradlite.keras.optimizers import LossScaleOptimizer

Policy = DTypePolicy
global_policy = dtype_policy
set_global_policy = set_dtype_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
