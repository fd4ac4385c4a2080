"""Recorded decisions and the archive of policies in; what each says, in English and Vietnamese, out."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from residency.audit.proof_document import Story
from residency.audit.recall import Beside
from residency.cli.archive_folder import Archive
from residency.policy.explain import explain
from residency.policy.explain_render import Page
from residency.policy.explain_words import LANGUAGES, say
from residency.policy.recorded import Recorded, When
from residency.policy.replay import Replayer

__all__ = ["Stories"]


class Stories:
    """Tells decisions by the policies that made them; the same story is kept once.

    `told` are the stories so far, `gaps` counts the decisions that could not be told, by reason.
    """

    def __init__(self, archive: Archive) -> None:
        self._replayer = Replayer(archive.policy, archive.facts)
        self._known: dict[str, int] = {}
        self.told: list[Story] = []
        self.gaps: Counter[str] = Counter()

    def of(self, index: int, taken: tuple[Recorded, When] | Beside) -> int | None:
        """The number in `told` of what entry `index` tells; None where it tells of no decision, or cannot be told."""
        if isinstance(taken, Beside):
            return None
        answer = self._replayer.replay(*taken)
        if answer.decision is None or answer.gap is not None:
            self.gaps[answer.gap.value if answer.gap is not None else "its policy has no such activity or sink"] += 1
            return None
        if answer.wrong:
            # A story of what the policy says would contradict the entry that it stands beside.
            self.gaps[f"entry {index} is not what its policy decides ({', '.join(answer.wrong)})"] += 1
            return None
        told = explain(answer.decision, None)
        story: Story = {language: _plain(told.page(language), say("given", language)) for language in LANGUAGES}
        text = json.dumps(story)
        number = self._known.get(text)
        if number is None:
            number = self._known[text] = len(self.told)
            self.told.append(story)
        return number


def _plain(page: Page, without: str) -> dict[str, Any]:
    """A page as JSON values, but for a section that says `without` and nothing else: signals are in the detail."""
    return {
        "title": page.title,
        "lead": list(page.lead),
        "sections": [
            {
                "title": section.title,
                "items": [{"text": i.text, "notes": list(i.notes), "link": i.link} for i in section.items],
            }
            for section in page.sections
            if [item.text for item in section.items] != [without]
        ],
    }
