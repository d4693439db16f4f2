"""Where networks compute."""

import torch


class DeviceError(ValueError):
    """There is no such device here; the text says which there are."""


def require_device(name: str) -> None:
    """Check that PyTorch can compute on a device.

    Raises
    ------
    DeviceError
        Where it cannot.
    """
    try:
        torch.zeros(1, device=name)
    # A build without CUDA asserts; which error it is else depends on the device.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise DeviceError(f"there is no device {name!r} here, there are {', '.join(found)}") from error
