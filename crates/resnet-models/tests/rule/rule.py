"""The rule that fills weights and inputs, in PyTorch: mod.rs has the same in Rust."""
import zlib
import numpy as np, torch


def fill(name, shape):
    n = int(np.prod(shape))
    z = np.arange(n, dtype=np.uint32)
    z *= np.uint32(2654435761)
    z += np.uint32(zlib.crc32(name.encode()))
    for _ in range(2):
        z ^= z >> np.uint32(16)
        z *= np.uint32(0x45D9F3B)
    z ^= z >> np.uint32(16)
    u = z.astype(np.float64) / 2**32 - 0.5
    if name == "input":
        v = 2 * u
    elif name.endswith("running_mean"):
        v = 0.2 * u
    elif name.endswith("running_var"):
        v = 1 + 0.5 * u
    elif len(shape) == 1:
        v = 0.5 + 0.4 * u if name.endswith("weight") else 0.2 * u
    elif len(shape) == 2:
        v = 2 * u * np.sqrt(3 / shape[1])
    else:
        v = 2 * u * np.sqrt(6 / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32).reshape(shape))
