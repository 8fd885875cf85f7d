"""Array types: the only place where axis names are chosen.

B batch, C classes (background is class 0), K image channels, `*space` two or three spatial axes.
Distances and spacings are in mm.
"""

from typing import TypeAlias

from jaxtyping import Bool, Float, Integer
from numpy import ndarray
from torch import Tensor

Spacing: TypeAlias = tuple[float, ...]
Mask = Bool[ndarray, "*space"]
Field = Float[ndarray, "*space"]
Labels = Integer[ndarray, "*space"]
Image = Float[ndarray, "K *space"]
Affine = Float[ndarray, "4 4"]
Logits = Float[Tensor, "B C *space"]
LabelBatch = Integer[Tensor, "B *space"]
FieldBatch = Float[Tensor, "B *space"]
MaskBatch = Bool[Tensor, "B *space"]
Maps = Float[Tensor, "B *channels_and_space"]
PerClass = Float[Tensor, "B C"]
PerImage = Float[Tensor, "B"]
Scalar = Float[Tensor, ""]
