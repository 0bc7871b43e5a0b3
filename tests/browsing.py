"""Pages as tests see them: their tags and text, and what happens when a browser opens them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from waiting import PATIENCE


class Page(HTMLParser):
    """The tags with their attributes, and the visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


class Opened:
    """A page in the browser, with what it asked for and complained of.

    What a key, a click or an answer leads to is waited for, with `until` or `becomes`: the browser is a process of its
    own, which may be late.

    Args:
        where: a file or an address.
        width: of the window, px.
        script: JavaScript that is run before the page's own.
        options: further ones of Playwright's `new_page`.
    """

    def __init__(self, browser: Any, where: Path | str, width: int = 1280, *, script: str = "", **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.set_default_timeout(1000 * PATIENCE)
        if script:
            self.page.add_init_script(script)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(where if isinstance(where, str) else where.as_uri())
        self.drawn()

    def drawn(self) -> None:
        """Wait until the page has been drawn: before that the browser takes no keys."""
        self.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def reload(self) -> None:
        self.page.reload()
        self.drawn()

    def until(self, condition: str) -> None:
        """Wait for a condition; Playwright's own waiting evaluates text in the page, which a strict policy forbids."""
        self.becomes(lambda: bool(self.page.evaluate(condition)), True, condition)

    def becomes(self, look: Callable[[], Any], wanted: Any, what: str = "what is seen") -> None:
        """Wait until a look at the page gives what is wanted."""
        end = time.monotonic() + PATIENCE
        while (seen := look()) != wanted:
            assert time.monotonic() < end, f"{what}: {seen!r} never became {wanted!r}"
            self.page.wait_for_timeout(20)

    def texts(self, place: str) -> list[str]:
        """The texts of all elements that a selector names, at one moment."""
        return list(self.page.locator(place).all_inner_texts())

    def barriers(self) -> list[str]:
        """What axe-core finds on the page that keeps people out, "rule: element (why)" each; nothing of a good one."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{rule['id']}: {' '.join(map(str, node['target']))} ({node['failureSummary']})"
            for rule in found
            for node in rule["nodes"]
        ]

    def drag(self, start: tuple[float, float], *stops: tuple[float, float], button: str = "left") -> None:
        """From one point of the browser's window over others."""
        self.page.mouse.move(*start)
        self.page.mouse.down(button=button)
        for stop in stops:
            self.page.mouse.move(*stop, steps=4)
        self.page.mouse.up(button=button)

    def boxes(self, *places: str) -> Sequence[dict[str, float]]:
        """Where the first elements that selectors name are on the screen, px, at one moment."""
        script = "(places) => places.map((place) => document.querySelector(place).getBoundingClientRect().toJSON())"
        return list(self.page.evaluate(script, list(places)))
