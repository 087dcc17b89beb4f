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


PASTE = """([root, text]) => {
  const given = new DataTransfer();
  given.setData("text/plain", text);
  root.dispatchEvent(new ClipboardEvent("paste", { clipboardData: given, bubbles: true, cancelable: true }));
}"""


def write_grid(page: Page, text: str) -> None:
    """Paste a grid into the editor of the submit page, in place of what stands there."""
    editor = page.get_by_role("textbox", name="Grid, as YAML or JSON")
    editor.focus()
    page.keyboard.press("ControlOrMeta+A")
    page.evaluate(PASTE, [editor.element_handle(), text])


def type_grid(page: Page, text: str) -> None:
    """Type a grid into the editor that has the focus, in place of what stands there, as hands would."""
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("Delete")
    for number, line in enumerate(text.split("\n")):
        if number:
            # Enter would take a word that is offered, and brings the indentation of the line before
            page.keyboard.press("Escape")
            page.keyboard.press("Enter")
            page.keyboard.press("Shift+Home")
            page.keyboard.press("Delete")
        page.keyboard.type(line)


def marks(page: Page, kind: str) -> list[Any]:
    """Place, datum, opacity and role of every mark of a kind, in pixels of the window."""
    return page.evaluate(MARKS, kind)
