"""From folders of scans to batches: read, check, prepare, augment, sample."""
