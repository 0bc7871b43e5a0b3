"""Images that do not lie on this machine: in a PACS, an Orthanc, or an object store."""
