"""A duty and the deployment that owes it in; what of it nothing here carries out, and what to do instead, out.

Who writes a duty into a policy believes that it is done. `docs/reference/policy-language.md` has the whole table of who
does what; here is told where a deployment leaves a part of it undone. Two ask: `residency check`, of each rule at its
own line, and whoever tells a decision, of the joined duty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from residency.model import Activity, Bound, Decision, Duty, Effect, Operation, Retention
from residency.model.data import category_within, expand
from residency.policy.compiler import Policy
from residency.policy.explain_words import LANGUAGES, Language
from residency.policy.parsed import DeploymentDoc, LawDoc, RuleDoc
from residency.policy.prove_reports import Report, report
from residency.policy.rulebook import Rulebook
from residency.policy.untreated import coming, takes_in, untreated_at_rest

__all__ = ["BY_DETAIL", "BY_ENTRY", "Gap", "gaps", "uncarried_reports", "undone"]

BY_DETAIL: Final = {
    "account": "account",
    "ip": "address",
    "login_time": "at",
    "logout_time": "at",
    "source_port": "port",
}
"""Fields of statutory logs that a detail beside the log holds, and what it calls them."""
BY_ENTRY: Final = frozenset({"content_handling", "processing", "transfer_basis"})
"""Fields of statutory logs that every entry of the audit log tells."""
_UNASKED: Final = frozenset({"commencement", "first_processing"})
"""Events that come to pass without anybody asking for something."""
_WRITING: Final = frozenset({Operation.WRITE, Operation.POST})


# (English, Vietnamese): why nothing carries it out, and what to do.
_WHY: Final[dict[str, tuple[str, str]]] = {
    "detail": (
        "`audit.detail` has no {where}: say there where details are kept",
        "`audit.detail` không có {where}: hãy khai báo nơi lưu thông tin chi tiết",
    ),
    "log": (
        "neither entries nor details hold it: log it in the app",
        "nhật ký và thông tin chi tiết không chứa trường này: hãy ghi trong ứng dụng",
    ),
    "records": (
        "`records:` does not name what {where} holds, so nothing there is kept or deleted by it",
        "`records:` không khai báo dữ liệu trong {where} nên không có gì ở đó được giữ hoặc xóa theo quy định này",
    ),
    "service": (
        "what the service {where} keeps is neither kept nor deleted from here: its contract is to say",
        "hệ thống này không giữ cũng không xóa dữ liệu mà dịch vụ {where} lưu: hợp đồng với dịch vụ phải quy định",
    ),
    "scope": (
        "no sink of the scope {where} is named: such copies elsewhere are neither kept nor deleted",
        "không khai báo nơi lưu trữ nào loại {where}: các bản sao như vậy ở nơi khác không được giữ hay xóa",
    ),
    "evidence": (
        "nobody gives evidence where data rests, so `retention run` leaves out what `unless` could lift: "
        "`residency erase` deletes on request",
        "không ai xuất trình bằng chứng khi dữ liệu nằm yên nên `retention run` bỏ qua điều `unless` có thể miễn: "
        "`residency erase` xóa theo yêu cầu",
    ),
    "in": (
        "nobody looks into what comes in, so what would take it in is refused (cannot_be_treated)",
        "không ai xem nội dung gửi đến nên yêu cầu nhận trường này bị từ chối (cannot_be_treated)",
    ),
    "rest": (
        "copies are treated, what an app writes by itself is not, so that is refused (cannot_be_treated)",
        "bản sao được xử lý, dữ liệu do ứng dụng tự ghi thì không nên bị từ chối (cannot_be_treated)",
    ),
    "begun": (
        "nobody asks for it, so it is watched once `residency requests add` has registered when it began",
        "không ai yêu cầu việc này nên chỉ được theo dõi khi `residency requests add` ghi nhận ngày bắt đầu",
    ),
    "hold": (
        "what waits is refused and not kept for whoever looks at it: an exemption in a register lets it pass",
        "yêu cầu đang chờ bị từ chối và không được giữ lại cho người xem xét: miễn trừ trong sổ đăng ký cho đi tiếp",
    ),
}
_NOTES: Final = frozenset({"begun", "hold"})


@dataclass(frozen=True, slots=True)
class Gap:
    """Something of a duty that is not carried out: the `slot` as policy files call it, `what` of it (as written),
    `because` (a key of the reasons) and `where`, which the reason names."""

    slot: str
    what: tuple[str, ...]
    because: str
    where: str = ""

    @property
    def level(self) -> str:
        """`warning`, or `note` where it waits for somebody to begin it."""
        return "note" if self.because in _NOTES else "warning"

    def why(self, language: Language = "en") -> str:
        """Why nothing carries it out, and what to do."""
        return _WHY[self.because][LANGUAGES.index(language)].format(where=self.where)

    def text(self, language: Language = "en") -> str:
        """The gap in a line."""
        said = ("is not carried out here", "không được thực hiện ở đây")[LANGUAGES.index(language)]
        return f"`{self.slot}: {', '.join(self.what)}` {said}: {self.why(language)}"


def gaps(
    deployment: DeploymentDoc, duty: Duty, covering: Collection[str], activities: Sequence[Activity]
) -> tuple[Gap, ...]:
    """What of `duty` this deployment does not carry out, for people under the laws of `covering` and what these
    activities do."""
    return (
        *_log(deployment, duty, covering),
        *_retain(deployment, duty.retain, covering, activities),
        *_protect(deployment, duty, activities),
        *_deadlines(duty),
        *_effect(duty),
    )


def undone(deployment: DeploymentDoc, decision: Decision) -> tuple[Gap, ...]:
    """What of a decision's duty, there where the data best goes, this deployment does not carry out."""
    if decision.activity is None or decision.mode == "observe":
        return ()
    sinks = decision.sinks
    duty = sinks[0].duty if sinks and sinks[0].effect is Effect.PERMIT else decision.duty
    return gaps(deployment, duty, decision.jurisdictions, (decision.activity,))


def uncarried_reports(policy: Policy, now: int) -> Iterator[Report]:
    """Each duty that a rule orders of this deployment and nothing in it carries out, at the place of the rule."""
    deployment = policy.deployment
    book = Rulebook(deployment, policy.laws)
    asked = [book.concerning(activity) & book.data(activity) & book.there for activity in deployment.activities]
    for number, (law, rule) in enumerate(book.rules):
        activities = [a for a, bits in zip(deployment.activities, asked, strict=True) if bits >> number & 1]
        if not activities or not _binds(policy, law, rule, now):
            continue
        for gap in (*gaps(deployment, rule.duty, {law.jurisdiction}, activities), *_by_evidence(rule)):
            path = (*rule.path, "duty", gap.slot)
            names = [activity.name for activity in activities]
            message = f"rule `{rule.id}`: {gap.text()}"
            yield report(law.source, path, gap.level, "not_carried_out", message, rules=[rule.id], activities=names)


def _binds(policy: Policy, law: LawDoc, rule: RuleDoc, now: int) -> bool:
    """Whether a rule binds now or will."""
    ends = [span.end for span in (law.span, rule.span) if span.end is not None]
    if rule.clock != "collection" and ends and min(ends) <= now:
        return False
    later = (now, *(edge for edge in policy.boundaries() if edge > now))
    return any(policy.deployment.mode_of(rule, at) == "enforce" for at in later)


def _log(deployment: DeploymentDoc, duty: Duty, covering: Collection[str]) -> Iterator[Gap]:
    kept = tuple(sorted(duty.log & BY_DETAIL.keys()))
    if kept and (where := _nowhere(deployment, covering)):
        yield Gap("log", kept, "detail", where)
    others = tuple(sorted(duty.log - BY_DETAIL.keys() - BY_ENTRY))
    if others:
        yield Gap("log", others, "log")


def _nowhere(deployment: DeploymentDoc, covering: Collection[str]) -> str:
    """The places of these laws where none of them has its details kept; "" where one has."""
    return "" if deployment.audit.detail.keys() & set(covering) else ", ".join(sorted(covering))


def _retain(
    deployment: DeploymentDoc, retain: Iterable[Retention], covering: Collection[str], activities: Sequence[Activity]
) -> Iterator[Gap]:
    asked = set(retain)
    logs = {each for each in asked if _of_logs(each)}
    floors = sorted(each for each in logs if each.bound is Bound.AT_LEAST)
    if floors and (where := _nowhere(deployment, covering)):
        yield Gap("retain", _words(floors), "detail", where)
    rest = sorted(asked - logs)
    stores = _stores(deployment, activities, rest)
    services = set(deployment.http.values())
    unnamed = [name for name in stores if not deployment.records.get(name)]
    for why, names in (
        ("records", [name for name in unnamed if name not in services]),
        ("service", [name for name in unnamed if name in services]),
    ):
        if rest and names:
            yield Gap("retain", _words(rest), why, ", ".join(f"`{name}`" for name in names))
    scopes = {deployment.sinks[name].sink.scope for store in stores for name in deployment.stores.get(store, ())}
    scoped = [each for each in rest if each.scope and each.scope not in scopes]
    if scoped and stores:
        yield Gap("retain", _words(scoped), "scope", ", ".join(sorted({each.scope for each in scoped})))


def _of_logs(retention: Retention) -> bool:
    return retention.category != "*" and category_within(retention.category, "log")


def _stores(deployment: DeploymentDoc, activities: Sequence[Activity], rest: Sequence[Retention]) -> list[str]:
    """The stores, caches aside, in which these activities keep data that the retentions speak of."""
    found: dict[str, None] = {}
    for activity in activities:
        data = expand(activity.data)
        if not any(each.category == "*" or each.category in data for each in rest):
            continue
        for store in activity.stores:
            names = deployment.stores.get(store, ())
            if any(deployment.sinks[name].sink.scope != "cache" for name in names):
                found[store] = None
    return list(found)


def _protect(deployment: DeploymentDoc, duty: Duty, activities: Sequence[Activity]) -> Iterator[Gap]:
    """`out` is told where a way abroad is refused for it; see `Reason.CANNOT_BE_TREATED`."""
    if duty.effect is Effect.DENY:
        return
    fields = coming(duty)
    if any(takes_in(activity, fields) for activity in activities):
        yield Gap("protect", tuple(sorted(fields)), "in")
    used = {name for activity in activities if activity.operation in _WRITING for name in deployment.sinks_of(activity)}
    if any(untreated_at_rest(duty, deployment.sinks[name].sink) for name in used):
        yield Gap("protect", tuple(sorted({each.field for each in duty.protect if each.direction == "rest"})), "rest")


def _deadlines(duty: Duty) -> Iterator[Gap]:
    waiting = sorted({due.task for due in duty.deadlines if due.event in _UNASKED})
    if waiting:
        yield Gap("deadlines", tuple(waiting), "begun")


def _effect(duty: Duty) -> Iterator[Gap]:
    if duty.effect is Effect.HOLD:
        yield Gap("effect", ("hold",), "hold")


def _by_evidence(rule: RuleDoc) -> Iterator[Gap]:
    ceilings = sorted(each for each in rule.duty.retain if each.bound is Bound.AT_MOST and not _of_logs(each))
    if ceilings and rule.unless:
        yield Gap("retain", _words(ceilings), "evidence")


def _words(retentions: Iterable[Retention]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{each.bound.value} from {each.start}" for each in retentions))
