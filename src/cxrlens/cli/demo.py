"""``cxrlens demo``."""


def command() -> None: ...
