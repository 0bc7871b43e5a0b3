"""An architecture, a saliency method and a source of images for cxrlens."""
