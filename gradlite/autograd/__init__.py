"""The tape: operations and their records, the backward pass, modes of recording, checkpoints and gradient checks."""

import sys

from gradlite.autograd.checkpoint import checkpoint, is_recomputing
from gradlite.autograd.engine import backward, grad
from gradlite.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from gradlite.autograd.modes import enable_grad, is_grad_enabled, no_grad
from gradlite.autograd.node import Node
from gradlite.autograd.op import Op, WithDerivatives, as_tensor, as_tensors, op, transfer
from gradlite.methods import late

late.autograd = sys.modules[__name__]

__all__ = [
    "GradcheckError",
    "Node",
    "Op",
    "WithDerivatives",
    "as_tensor",
    "as_tensors",
    "backward",
    "checkpoint",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "is_recomputing",
    "no_grad",
    "op",
    "transfer",
]
