"""A DICOM node: images are sent to it, screened as they come, and their results sent on."""
