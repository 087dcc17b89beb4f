"""`nfa up`: everything on this machine, until Ctrl-C or SIGTERM."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.allowance import allowance
from service.cli.display import err, out, print_json, print_warning
from service.cli.local_service import LocalService, running
from service.cli.options import DEFAULT_URL, AsJson, Home
from service.cli.versions import package_version

_LOOK_SECONDS = 0.5


def up(
    home: Home = Path(".nfa"),
    host: Annotated[str, typer.Option(envvar="NFA_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="NFA_PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Start the service on this machine: database, API, dispatcher and a local Ray. Ctrl-C stops it."""
    stop_on_sigterm()
    try:
        with starting() as tell, running(home, host, port, tell) as service:
            tell("")
            print_warning(service.warning)
            _welcome(service, as_json=as_json)
            while True:
                time.sleep(_LOOK_SECONDS)
                for line in service.tend():
                    err.print(line)
    except KeyboardInterrupt:
        err.print("Stopped. What was running goes on at the next start.")


def stop_on_sigterm() -> None:
    """Treat SIGTERM like Ctrl-C, so that everything that was started is stopped in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class starting:  # noqa: N801
    """A spinner that says what is being started; telling it "" ends it."""

    def __enter__(self) -> "starting":
        self._status = err.status("")
        return self

    def __call__(self, step: str) -> None:
        """Say the next step."""
        if step:
            self._status.update(f"{step} ..")
            self._status.start()
        else:
            self._status.stop()

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def _welcome(service: LocalService, *, as_json: bool) -> None:
    """One screen: where it is, what it is made of, what to do next."""
    trainers = service.trainers
    if as_json:
        print_json({"url": service.url, "home": str(service.home), "trainers": trainers, "pid": os.getpid()})
        return
    ray = os.environ.get("NFA_RAY_ADDRESS")
    kept = os.environ.get("NFA_DATABASE_URL")
    reach = "for every machine that has a token" if service.is_open else "for this machine only"
    why = "" if ray or os.environ.get("NFA_TRAINERS") else f": {allowance().why}"
    facts = {
        "address": f"{service.url} ({reach})",
        "reference": f"{service.url}/docs",
        "home": f"{service.home}",
        "database": kept.split("@")[-1] if kept else "SQLite in the home",
        "trainers": f"{trainers} on {f'the Ray at {ray}' if ray else 'a local Ray'}{why}",
    }
    out.print(Text(f"\nNFA service {package_version('nfa-service')} is running\n", "bold"))
    for name, value in facts.items():
        out.print(Text.assemble(f"  {name:<10}", value), soft_wrap=True)
    out.print("\nNow, in another terminal:\n")
    if service.url != DEFAULT_URL:
        out.print(f"  export NFA_URL={service.url}", soft_wrap=True)
    out.print("  nfa presets                   grids that ship with the service")
    out.print("  nfa presets run weight-decay  submit one and watch it")
    out.print("  nfa submit GRID               submit your own")
    out.print("\nCtrl-C stops the service; nothing is lost.")
