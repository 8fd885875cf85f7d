"""Errors a user can act on: what was wrong, where, and how to mend it. The command line prints them bare."""


class EdgewiseError(Exception):
    """Everything we raise on purpose; the command line turns it into one message and exit code 2."""


class DataError(EdgewiseError):
    """A dataset, an image or a label file cannot be used as it is."""


class ExperimentError(EdgewiseError, ValueError):
    """An experiment file has a misspelt key, a mistyped value or a contradiction."""


class OutputError(EdgewiseError):
    """An output folder or file cannot be written."""


class RunError(EdgewiseError):
    """A run folder is missing, unfinished or does not fit what is asked of it."""


class DivergedError(RunError):
    """A training whose loss, gradient or weights are no longer finite numbers."""


class SpacingError(EdgewiseError, ValueError):
    """Voxel spacing is missing, not positive, or of the wrong length."""


class ShapeError(EdgewiseError, ValueError):
    """An array has the wrong rank or shape."""


class LogitsError(EdgewiseError, ValueError):
    """A network's output holds NaN."""


class LabelError(EdgewiseError, ValueError):
    """Labels are not integers, or out of range."""


class StudyError(EdgewiseError, ValueError):
    """A study file contradicts itself, or its folder does not fit it."""


class EngineError(EdgewiseError, ValueError):
    """An engine is not installed, or cannot work here."""
