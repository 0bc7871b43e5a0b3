"""Where DICOM results are sent: destinations, and an outbox for those that cannot be reached."""
