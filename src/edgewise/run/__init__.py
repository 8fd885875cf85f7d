"""The imperative shell: folders, seeds, devices and clocks. Each module is one verb, calling the stages in order."""
