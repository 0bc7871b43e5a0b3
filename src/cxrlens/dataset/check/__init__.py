"""The check of a data set before it is trained on or scored; the order of these imports is that of the kinds."""

from cxrlens.dataset.check import contents, images, published, annotations, duplicates, outliers, shortcuts  # noqa: I001

__all__ = ["annotations", "contents", "duplicates", "images", "outliers", "published", "shortcuts"]
