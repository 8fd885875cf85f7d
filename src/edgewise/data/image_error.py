"""What is said of an image that cannot be used."""

import re
from pathlib import Path

from typing_extensions import override

from edgewise.errors import DataError


class ImageError(DataError):
    """One image cannot be used; keeps the parts of its message, so that a check can list them.

    Attributes:
        file: the file, or the folder of a DICOM series.
        problem: what is wrong with it.
        mend: what the user can do.
    """

    def __init__(self, file: Path, problem: str, mend: str) -> None:
        # All parts go to the base class, because an exception crosses processes as its `args`.
        super().__init__(file, problem, mend)
        self.file, self.problem, self.mend = file, problem, mend

    @override
    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. {self.mend}"


def reason_of(error: Exception) -> str:
    """What a library says of a file that it cannot read, in one line."""
    # The last line is the precise one, but for afterthoughts ("Reason: No such file", "- could it be bad?").
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    precise = [line for line in lines if not line.startswith(("-", "Reason:"))]
    reason = (precise or [type(error).__name__])[-1].rstrip(".")
    return re.sub(r"^(sitk::|ITK )?ERROR: (\w+\(0x\w+\): )?", "", reason)
