"""The client's calls about what people keep of experiments: names, notes, tags, stars, and saved views."""

from collections.abc import Iterator, Mapping, Sequence

from service.client.calls import Calls
from service.schemas.experiments import ExperimentBody, ExperimentDetail, NotificationBody, ViewBody


class ViewCalls(Calls):
    """The part of the client that lists, marks and remembers experiments."""

    def experiments(
        self, *, state: str | None = None, tag: str | None = None, q: str | None = None, starred: bool | None = None
    ) -> Iterator[ExperimentBody]:
        """Experiments, newest first; q is part of name, notes or a tag. Pages are fetched as they are needed."""
        asked = {"state": state, "tag": tag, "q": q, "starred": starred}
        for item in self._pages("/experiments", asked):
            yield ExperimentBody.model_validate(item)

    def change(
        self,
        experiment: str,
        *,
        name: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        priority: int | None = None,
        starred: bool | None = None,
    ) -> ExperimentDetail:
        """Change what is given and leave the rest."""
        given = {"name": name, "notes": notes, "tags": tags and list(tags), "priority": priority, "starred": starred}
        body = {key: value for key, value in given.items() if value is not None}
        return ExperimentDetail.model_validate(self._send("PATCH", f"/experiments/{experiment}", body))

    def views(self, experiment: str) -> list[ViewBody]:
        """Saved views of its page, by name."""
        return [ViewBody.model_validate(one) for one in self._call("GET", f"/experiments/{experiment}/views")["items"]]

    def save_view(self, experiment: str, name: str, parameters: Mapping[str, str]) -> ViewBody:
        """Keep parameters of its page's address under a name; a view of the same name is replaced."""
        body = {"name": name, "parameters": dict(parameters)}
        return ViewBody.model_validate(self._send("POST", f"/experiments/{experiment}/views", body))

    def delete_view(self, experiment: str, view: int) -> None:
        """Forget a saved view."""
        self._call("DELETE", f"/experiments/{experiment}/views/{view}")

    def notifications(self, experiment: str) -> list[NotificationBody]:
        """What was told, or is to be told, to the addresses of its grid's `notify`; the newest first."""
        found = self._call("GET", f"/experiments/{experiment}/notifications")
        return [NotificationBody.model_validate(one) for one in found["items"]]
