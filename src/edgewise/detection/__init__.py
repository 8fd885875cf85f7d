"""Objects and where they lie: boxes of label maps, their overlap, and the heatmaps that networks find them by.

A box is (low_0 … low_{d-1}, high_0 … high_{d-1}) in voxels, where voxel i covers i - ½ to i + ½: a single voxel at 3
has the box (2.5, 3.5).
"""
