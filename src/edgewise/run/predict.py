"""`edgewise predict`: masks for new images, each on its image's own grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgewise.data.folders import find_images
from edgewise.files import output_folder
from edgewise.run.folder import RunFolder
from edgewise.run.trained import load, predict_all


def predict(run: Path, images: Sequence[Path], out: Path) -> Mapping[str, str]:
    """Predict image files, or all images of folders.

    Returns:
        What went wrong, by case id; empty if all went well.

    Raises:
        RunError: `run` is no trained run.
        DataError: no image was found.
        OutputError: `out` cannot be written.
    """
    trained = load(RunFolder(path=run))
    files = find_images(images, len(trained.channels))
    return predict_all(trained, files, output_folder(out))
