"""How networks are trained, one method a file. To add one, add a file here and nothing else."""

from edgewise.methods.base import Method as Method
