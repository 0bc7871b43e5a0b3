"""Models that are kept under names: added, checked, removed, and carried to other computers in bundles."""
