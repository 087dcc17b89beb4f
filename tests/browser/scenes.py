"""What stands in a picture, read from its own scene."""

from typing import Any

from playwright.sync_api import Page

# (x, y, datum, opacity, role) of every mark of a kind, in pixels of the window
MARKS = """(kind) => {
  const view = document.getElementById("figure").view, found = [];
  const ground = view.container().querySelector("canvas").getBoundingClientRect();
  const [x, y] = view.origin(), around = view.padding();
  const walk = (one, left, top) => (one.items || []).forEach((item) => {
    const x = left + (item.x || 0), y = top + (item.y || 0);
    if (one.marktype === kind) found.push([x, y, item.datum, item.opacity ?? 1, one.role]);
    walk(item, x, y);
  });
  walk(view.scenegraph().root, ground.left + around.left + x, ground.top + around.top + y);
  return found;
}"""


def marks(page: Page, kind: str) -> list[Any]:
    """Place, datum, opacity and role of every mark of a kind, in pixels of the window."""
    return page.evaluate(MARKS, kind)
