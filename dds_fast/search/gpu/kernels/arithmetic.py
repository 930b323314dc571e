"""Products by precision, and the elementwise functions, on tiles."""

from __future__ import annotations

import triton
import triton.language as tl
from triton import knobs

# The interpreter multiplies the bit patterns of bfloat16 numbers (triton-lang/triton#11584), and
# cuts numbers off where the hardware rounds them. There they are rounded and multiplied as float32,
# which is what the hardware computes.
EMULATED = tl.constexpr(knobs.runtime.interpret)

SELU_SCALE = tl.constexpr(1.0507009873554805)
SELU_SCALE_ALPHA = tl.constexpr(1.7580993408473766)
LEAKY_SLOPE = tl.constexpr(0.01)


@triton.jit
def rounded(x):
    """To the nearest bfloat16 number, half to even."""
    if EMULATED:
        bits = x.to(tl.float32).to(tl.int32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
        return bits.to(tl.float32, bitcast=True)
    else:
        return x.to(tl.bfloat16)


@triton.jit
def multiply_add(a, b, total, PRECISION: tl.constexpr):
    """``total + a @ b`` of float32 tiles (`a` may be bfloat16 where that is the precision)."""
    if PRECISION == "bfloat16":
        return tl.dot(rounded(a), rounded(b), total, input_precision="ieee")
    elif PRECISION == "bf16x3":
        a_high, b_high = rounded(a), rounded(b)
        a_low = rounded(a - a_high.to(tl.float32))
        b_low = rounded(b - b_high.to(tl.float32))
        total = tl.dot(a_low, b_high, total, input_precision="ieee")
        total = tl.dot(a_high, b_low, total, input_precision="ieee")
        return tl.dot(a_high, b_high, total, input_precision="ieee")
    elif PRECISION == "tf32":
        return tl.dot(a, b, total, input_precision="tf32")
    else:
        return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def expm1_negative(x):
    """expm1 for x <= 0 (or NaN), accurate relative to the result also near 0.

    ``x = n ln 2 + r``, ``expm1(r) = r + r^2 q(r)`` with the polynomial of the CPU kernels.
    """
    x = tl.where(x < -20.0, -20.0, x)
    n = tl.floor(x * 1.44269504 + 0.5)
    r = x - n * 0.693359375 + n * 2.12194440e-4
    q = r * 1.3882509665563703e-3 + 8.366580121219158e-3
    q = q * r + 4.166720062494278e-2
    q = q * r + 1.666654348373413e-1
    q = q * r + 4.999999701976776e-1
    power = ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)
    return (q * (r * r) + r) * power + (power - 1.0)


@triton.jit
def tanh(x):
    t = expm1_negative(-2.0 * tl.abs(x))
    magnitude = -t / (t + 2.0)
    return tl.where(x < 0.0, -magnitude, magnitude)


@triton.jit
def activate(x, ACTIVATION: tl.constexpr):
    """An activation by name; "none" for a layer without."""
    if ACTIVATION == "selu":
        negative = expm1_negative(tl.where(x > 0.0, 0.0, x)) * SELU_SCALE_ALPHA
        return tl.where(x > 0.0, x * SELU_SCALE, negative)
    elif ACTIVATION == "leaky_relu":
        return tl.where(x > 0.0, x, x * LEAKY_SLOPE)
    else:
        return x


@triton.jit
def slope(y, ACTIVATION: tl.constexpr):
    """Derivative of the activation, from its output."""
    if ACTIVATION == "selu":
        return tl.where(y > 0.0, SELU_SCALE, y + SELU_SCALE_ALPHA)
    else:
        return tl.where(y > 0.0, 1.0, LEAKY_SLOPE)
