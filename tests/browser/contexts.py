"""Windows of a browser that share nothing."""

from typing import Any

from playwright.sync_api import Browser, BrowserContext


def context_of(browser: Browser, service: str, **options: Any) -> BrowserContext:
    """Cookies and windows of their own."""
    context = browser.new_context(base_url=service, **options)
    context.set_default_timeout(120_000)
    return context
