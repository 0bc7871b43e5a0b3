"""From a mixed folder of radiographs to a retake worklist."""
