"""The evidence pack as a document in; one HTML page out, which needs nothing but itself and prints on A4.

What the document holds comes from logs and policies, so all of it is escaped; the page has no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from residency.cli.audit.register_rows import recipient_word
from residency.cli.audit.report_charts import bars, days, shares
from residency.cli.audit.report_codes import coded, meaning
from residency.cli.audit.report_pieces import STYLE, Below, Span, breakable, figure, table
from residency.cli.audit.report_words import WORDS
from residency.policy.explain_cite import cite
from residency.policy.explain_words import Language

__all__ = ["report_page"]

_SHOWN: Final = 200
_CSP: Final = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(document: Mapping[str, Any], language: str) -> str:
    """The page of a report's document, in `en` or `vi`."""
    return "".join(_Page(document, language).parts())


class _Page:
    def __init__(self, document: Mapping[str, Any], language: str) -> None:
        self._all = document
        self._language: Language = "vi" if language == "vi" else "en"
        self._words = WORDS[language]

    def parts(self) -> Iterator[str]:
        """The page, piece by piece, in its order: coverage stands before what it qualifies."""
        say = self._words
        title = f"{say['title']}: {self._all['origin']}"
        yield f'<!doctype html><html lang="{self._language}"><head><meta charset="utf-8">'
        yield f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">'
        yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
        yield f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        yield from self._head()
        for name, section in (
            ("coverage", self._coverage), ("policies", self._policies), ("decisions", self._decisions),
            ("refusals", self._refusals), ("transfers", self._transfers), ("retention", self._retention),
            ("open", self._open), ("ages", self._ages), ("verification", self._verification),
        ):  # fmt: skip
            yield f'<h2 id="{name}">{escape(say[name])}</h2>'
            yield from section()
        yield "</body></html>\n"

    # -- sections ----------------------------------------------------------------------------------------------

    def _head(self) -> Iterator[str]:
        say, period, coverage = self._words, self._all["period"], self._all["coverage"]
        yield f"<h1>{escape(say['title'])}</h1>"
        start, end = period["from"], period["to"]
        told = say["whole_log"] if start is None and end is None else f"{start or '…'} – {end or '…'}"
        lines = [f"<code>{escape(self._all['origin'])}</code>"]
        who = self._all["who"]
        if who is not None:
            places = ", ".join(who["established_in"])
            lines.append(f"{say['operator']}: {escape(who['deployment'])} ({say['established']} {escape(places)})")
        lines.append(f"{say['period']}: {escape(told)}")
        lines.append(f"{say['as_of']} {escape(period['told_as_of'] or '-')}")
        yield f"<p>{'<br>'.join(lines)}</p>"
        people = ("" if coverage["people_exact"] else f"{say['at_least']} ") + f"{coverage['people']:,}"
        yield '<div class="figures">'
        for number, word in (
            (f"{coverage['entries']:,}", say["entries"]), (f"{coverage['decisions']:,}", say["decided"]),
            (people, say["people"]),
        ):  # fmt: skip
            yield f"<div><b>{number}</b>{escape(word)}</div>"
        yield "</div>"
        if self._all["findings"]:
            yield f'<div class="find"><b>{escape(say["findings"])}</b><ul>'
            for finding in self._all["findings"]:
                yield f"<li>{escape(self._finding(finding))}</li>"
            yield "</ul></div>"
        yield f'<p class="small">{escape(say["beside"])}</p>'

    def _finding(self, finding: Mapping[str, Any]) -> str:
        words = self._words[f"f_{finding['code']}"]
        if "filing" in finding:
            about = "" if finding["flow"] is None else f": {finding['flow']}"
            return f"{finding['filing']} ({finding['jurisdiction']}): {words}{about}"
        return f"{words}: {finding['count']:,}" if "count" in finding else words

    def _coverage(self) -> Iterator[str]:
        say, told = self._words, self._all["coverage"]
        presumed, decisions = told["decided_by_presumption"], told["decisions"]
        yield figure(
            shares(
                [(say["by_presumption"], presumed), (say["by_signals"], decisions - presumed)], say["by_presumption"]
            )
        )
        rows = [
            (say["by_presumption"], presumed, decisions),
            (say["not_replayable"], decisions - told["replayed"], decisions),
            (say["observing"], told["decisions_that_only_observe"], decisions),
            (say["uncovered"], told["covered_by_no_law"], decisions),
            (say["exempt"], told["exempt_requests"], told["entries"]),
            (say["early"], told["refused_before_a_decision"], told["entries"]),
        ]
        yield table(
            ("", say["count"], "%"),
            [(name, count, f"{count / whole:.1%}" if whole else "-") for name, count, whole in rows],
            " nn",
        )  # fmt: skip
        outside = told["entries_before"] + told["entries_after"]
        if outside:
            yield f'<p class="small">{outside:,} {escape(say["outside"])}</p>'
        if told["not_observed"]:
            names = ", ".join(told["not_observed"])
            yield f"<p>{escape(say['not_observed'])}: <code>{escape(names)}</code></p>"
        for heads, counted in (
            ((say["anchor"], say["decided"]), told["presumptions"]),
            ((say["why"], say["decided"]), self._words_of("gap", told["not_replayable"])),
            ((say["exempt"], say["requests"]), told["exempt_by_route"]),
            ((say["early"], say["requests"]), told["refused_early_by_reason"]),
        ):
            if counted:
                yield table(heads, counted.items(), " n")

    def _policies(self) -> Iterator[str]:
        say = self._words
        heads = (
            say["digest"],
            say["version"],
            say["first"],
            say["last"],
            say["entries"],
            say["decided"],
            say["archived"],
        )
        yield self._listed(
            heads,
            [
                (each["digest"][:16], each["version"], _day(each["first_entry"]), _day(each["last_entry"]),
                 each["entries"], each["decisions"], self._yes(each["archived"]))
                for each in self._all["policies"]
            ],
            " nwwnn ",
        )  # fmt: skip
        yield f"<p>{self._all['facts']['changes']:,} {escape(say['facts'])}</p>"

    def _decisions(self) -> Iterator[str]:
        say, told = self._words, self._all["decisions"]
        chart = days(told["by_day"], say["by_day"], say)
        if chart:
            yield f"<h3>{escape(say['by_day'])}</h3>{figure(chart)}"
        effects = (say["permit"], say["hold"], say["deny"])
        heads = (say["article"], say["rule"], *effects, say["observed"], say["exempted"], say["outranked"])
        yield self._listed(heads, list(self._articles()), "  nnnnnn")
        yield f"<h3>{escape(say['by_route'])}</h3>"
        rows = [(each["activity"] or "-", each["permit"], each["hold"], each["deny"]) for each in told["by_activity"]]
        yield self._listed((say["route"], *effects), rows, " nnn")

    def _articles(self) -> Iterator[Sequence[object] | Span]:
        before = None
        for each in self._all["decisions"]["by_article"]:
            law = self._words["not_archived"]
            if each["law"] is not None:
                law = f"{each['jurisdiction']} · {cite(each['law'], self._language)}"
            if law != before:
                yield Span(law)
            before = law
            article = "" if each["article"] is None else cite(each["article"], self._language)
            counts = (each[role] or "" for role in ("permit", "hold", "deny", "observed", "exempted", "outranked"))
            yield (article, each["rule"], *counts)

    def _refusals(self) -> Iterator[str]:
        say, told = self._words, self._all["refusals"]
        for name, counted in (
            ("by_reason", told["by_reason"]), ("by_rule", told["by_rule"]), ("by_route", told["by_activity"]),
            ("would", told["would_refuse_if_enforced"]),
        ):  # fmt: skip
            if counted:
                yield f"<h3>{escape(say[name])}</h3>"
                yield figure(bars({key or "-": count for key, count in counted.items()}, say[name]))
        codes = dict.fromkeys([*told["by_reason"], *told["would_refuse_if_enforced"]])
        means = [(code, sentence) for code in codes if (sentence := meaning(code, self._language))]
        if means:
            yield table((say["reason"], say["means"]), means, "  ")
        if not told["total"] and not told["would_refuse_if_enforced"]:
            yield f"<p>{escape(say['none'])}</p>"

    def _transfers(self) -> Iterator[str]:
        say, told = self._words, self._all["transfers"]
        if told["acts_without_a_place"]:
            yield f"<p><b>{told['acts_without_a_place']:,}</b> {escape(say['placeless'])}</p>"
        rows: list[Sequence[object] | Span] = []
        for flow in told["flows"]:
            place = recipient_word(flow["place"], say["nobody_knows"])
            where = f"{flow['sink']}: {place} ({flow['provider']}, {flow['keys']})"
            people = ("" if flow["subjects_exact"] else f"{say['at_least']} ") + f"{flow['subjects']:,}"
            rows.append((
                flow["jurisdiction"], f"{flow['activity']} ({flow['operation']})",
                self._listing("category", flow["categories"]), where, self._listing("abroad", flow["how"]),
                _day(flow["first"]), flow["count"], people,
            ))  # fmt: skip
            unknown = f"{flow['outcome_unknown']:,} {say['unknown']}" if flow["outcome_unknown"] else ""
            rows.append(Below(_grounds(flow["grounds"], say, unknown)))
        heads = (
            say["jurisdiction"], say["flow"], say["categories"], say["recipient"], say["abroad_by"], say["first"],
            say["acts"], say["people"],
        )  # fmt: skip
        yield self._listed(heads, rows, "     wnn")
        if told["dossiers"]:
            yield self._listed(
                (
                    say["dossier"], say["jurisdiction"], say["state"], say["first_transfer"], say["term_ends"],
                    say["filings"],
                ),
                [
                    (each["filing"], each["jurisdiction"], coded("state", each["state"], self._language),
                     each["began_on"] or "-", each["last_day"] or "-",
                     ", ".join(f"{f['number']} ({f['on']})" for f in each["filings"]))
                    for each in told["dossiers"]
                ],
                "   ww ",
            )  # fmt: skip

    def _retention(self) -> Iterator[str]:
        say, told = self._words, self._all["retention"]
        yield f"<p>{told['entries_with_detail']:,} {escape(say['detail_is'])}"
        if told["oldest_detail"] is not None:
            oldest, newest = _day(told["oldest_detail"]), _day(told["newest_detail"])
            yield f"; {escape(say['oldest'])} {oldest}, {escape(say['newest'])} {newest}"
        yield "</p>"
        if told["held"] is None:
            yield f"<p>{escape(say['held_unknown'])}</p>"
        else:
            yield f"<h3>{escape(say['held'])}</h3>"
            words = ("country", "class", "count", "oldest", "newest", "floor_runs", "ceiling_passed")
            kept = [
                (each["country"], each["class"], each["count"], _day(each["oldest"]), _day(each["newest"]),
                 each["floor_runs"], each["ceiling_passed"])
                for each in told["held"]
            ]  # fmt: skip
            yield self._listed([say[word] for word in words], kept, "  nwwnn")
        rows: dict[tuple[str, ...], list[str]] = {}
        for each in told["duties"]:
            until = "" if each["oldest_detail_until"] is None else _day(each["oldest_detail_until"])
            until += f" ({say['passed']})" if each["passed"] else ""
            citation = each["rule"] if each["citation"] is None else cite(each["citation"], self._language)
            term = " ".join(say.get(word, word) for word in each["term"].split())
            key = (citation, say[f"{each['bound']}_"], term, coded("event", each["from"], self._language), until)
            rows.setdefault(key, []).append(coded("category", each["category"], self._language))
        listed = [(key[0], ", ".join(names), *key[1:]) for key, names in rows.items()]
        heads = (say["article"], say["categories"], say["bound"], say["term"], say["from"], say["oldest_until"])
        yield self._listed(heads, listed, "  ww  ")

    def _open(self) -> Iterator[str]:
        say = self._words
        heads = (say["entry"], say["begun"], say["age"], say["route"], say["sink"])
        rows = [
            (each["index"], (each["at"] or "")[:19].replace("T", " "), _age(each["age_seconds"], say),
             each["activity"] or "-", each["sink"] or "-")
            for each in self._all["open_intents"][:_SHOWN]
        ]  # fmt: skip
        yield self._listed(heads, rows, "nwn  ")
        more = len(self._all["open_intents"]) - len(rows)
        if more:
            yield f'<p class="small">{more:,} {escape(say["more"])}</p>'

    def _ages(self) -> Iterator[str]:
        say = self._words
        rows = []
        for each in self._all["ages"]:
            remark = [coded("state", each["result"], self._language)] if each.get("result") else []
            if each.get("confidence"):
                remark.append(f"{say['confidence']}: {coded('confidence', each['confidence'], self._language)}")
            if each.get("next_update"):
                remark.append(f"{say['next_update']} {_day(each['next_update_on'])}")
            word = say["day" if each["age_days"] == 1 else "days"]
            age = "-" if each["age_days"] is None else f"{each['age_days']:,} {word}"
            kind, on = coded("kind", each["kind"], self._language), _day(each.get("on", each["of"]))
            rows.append((kind, each["name"], on, age, ", ".join(remark)))
        yield self._listed((say["kind"], say["name"], say["of"], say["age"], say["remark"]), rows, "  wn ")

    def _verification(self) -> Iterator[str]:
        say, told = self._words, self._all["verification"]
        yield f"<p>{escape(say['holds'])}</p>"
        steps = (
            "" if told["largest_clock_step"] is None else f" ({say['largest']} {told['largest_clock_step']['what']})"
        )
        yield table(
            ("", ""),
            [
                (say["entries"], f"{told['size']:,}"), (say["again"], f"{told['records_decided_again']:,}"),
                (say["wrong"], f"{told['records_wrong']:,}"), (say["steps"], f"{told['clock_steps_back']:,}{steps}"),
            ],
            " n", head=False,
        )  # fmt: skip
        if told["first_wrong"]:
            yield self._listed(
                (say["entry"], say["wrong"]), [(each["index"], each["what"]) for each in told["first_wrong"]], "n "
            )
        yield f"<h3>{escape(say['key'])}</h3><pre>{escape(told['key'])}</pre>"
        if not told["key_given"]:
            yield f"<p><b>{escape(say['key_own'])}</b></p>"
        yield f"<h3>{escape(say['checkpoint'])}</h3><pre>{escape(told['checkpoint'])}</pre>"
        first = self._all["period"]["first_entry"]
        number = 0 if first is None else first["index"]
        commands = (
            f"residency audit verify {told['log']} --key log.vkey\n"
            f"residency audit prove {told['log']} {number} --key log.vkey > proof.json"
        )
        yield f"<p>{escape(say['how'])}</p><pre>{escape(commands)}</pre><p>{escape(say['public'])}</p>"

    # -- pieces ------------------------------------------------------------------------------------------------

    def _listed(self, heads: Sequence[str], rows: Sequence[Sequence[object] | Span], kinds: str) -> str:
        return table(heads, rows, kinds) if rows else f"<p>{escape(self._words['none'])}</p>"

    def _listing(self, kind: str, codes: Iterable[str]) -> str:
        return ", ".join(coded(kind, code, self._language) for code in codes)

    def _words_of(self, kind: str, counted: Mapping[str, int]) -> dict[str, int]:
        return {coded(kind, code, self._language): count for code, count in counted.items()}

    def _yes(self, holds: bool) -> str:
        return self._words["yes" if holds else "no"]


def _grounds(grounds: Iterable[Mapping[str, Any]], say: Mapping[str, str], unknown: str) -> str:
    lines = []
    for ground in grounds:
        parts = [*ground["rules"], *ground["met"], *ground["running"], *ground["exemptions"]]
        told = "; ".join(parts) or say["no_rule"]
        if ground["refused"] is not None:
            told = f"{say['no_ground']} ({ground['refused']})"
        lines.append(f"{ground['count']:,} × {breakable(told)}")
    more = [f"({escape(unknown)})"] if unknown else []
    return "<br>".join([f"{escape(say['ground'])}:", *lines, *more])


def _day(at: str | None) -> str:
    return "-" if at is None else at[:10]


def _age(seconds: float, say: Mapping[str, str]) -> str:
    number, word = next(
        ((seconds / unit, word) for unit, word in ((86_400, "days"), (3_600, "hours")) if seconds >= unit),
        (seconds / 60, "minutes"),
    )
    return f"{number:,.1f} {say[word]}"
