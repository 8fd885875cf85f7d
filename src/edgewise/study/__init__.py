"""Studies: experiments, folds and seeds in one grid, which ends in one comparison and one report."""
