"""Which kernel the lessons run on: the interpreter that started JupyterLab, and no other."""

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager


class OwnKernel(KernelSpecManager):
    """A catalogue with one entry, ``python3``, which is this very interpreter.

    Jupyter would also look into the folders of the user and the system, where a kernel of the same name may
    point to another Python, without kdlab. (``kernel_dirs`` is no setting, hence a class.)
    """

    def _kernel_dirs_default(self) -> list[str]:
        return []

    def _ensure_native_kernel_default(self) -> bool:
        return True

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The kernel, told to keep its warnings about its own wiring out of the learner's terminal."""
        spec = super().get_kernel_spec(kernel_name)
        spec.argv.append("--IPKernelApp.log_level=40")
        return spec
