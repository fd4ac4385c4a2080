"""The detectors of a policy's laws and the fields that it declares in; what personal data a name means, out.

It is about names of keys: columns, parameters of a route, claims, placeholders in the names of objects. What counts is
what the name is of: `phone` and `user_phone_number` are a phone number, `phone_id` is the key of some row and
`phone_hash` a digest. A name proves little, so whoever asks warns and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from residency.model.data import category_within
from residency.policy.detect import detected, plain_name
from residency.policy.parsed import Detector

__all__ = ["PersonalNames"]

_COMMON: Final[dict[str, str]] = {
    "personal": """
        phone mobile msisdn telephone cellphone tel sdt so_dien_thoai dien_thoai whatsapp zalo
        email e_mail mail mail_address
        cccd cccd_id cmnd cmnd_id national_id national_identity identity_number id_number id_card id_card_number
        citizen_id personal_id personal_code so_dinh_danh ma_dinh_danh resident_id passport passport_id so_ho_chieu
        ssn social_security social_insurance bhxh aadhaar aadhaar_id cpf nik snils nin my_number
        tax_code tax_id taxpayer_id mst ma_so_thue driver_license driver_licence driving_licence
        license_plate licence_plate number_plate bien_so
        first_name last_name full_name given_name family_name surname legal_name ho_ten ho_va_ten
        birth_date birthdate birthday date_of_birth dob ngay_sinh
        home_address street_address postal_address dia_chi ip_address ip_addr client_ip mac_address imei imsi iccid
        username user_name login login_name nickname screen_name
    """,
    "financial": "card_number credit_card iban bank_account account_number so_tai_khoan so_the",
    "location": "latitude longitude gps vi_tri",
    "health": "medical_record_number patient_number health_insurance so_bhyt bhyt",
}
# What may stand behind such a word without making another thing of it; the last ones say "of the customer".
_TAILS: Final = frozenset(
    "number numbers no num nr address addr value raw plain text e164 normalised normalized lower lowercase primary "
    "main home work first second khach hang nguoi dung cua".split()
)
# What is made of such a value and no longer is it, if it is made with a key.
_MADE: Final = frozenset(
    "hash hashed digest hmac sha sha1 sha256 sha512 blake2 blake2b blake3 pseudonym token tokenised tokenized sealed "
    "encrypted cipher ciphertext alias masked blind".split()
)
# What something else of the same thing ends in: the key of its row, a state, a count.
_OTHER: Final = frozenset(
    "id ids uuid guid key ref pk verified confirmed at on count type kind status state template country domain format "
    "enabled lang language provider version model brand code".split()
)
# Names that say nothing of what the key is: whether it is a person's is the app's to say.
_BARE: Final = frozenset(
    "id ids uuid guid ulid key ref pk uid no number sub subject user person people account customer member owner "
    "client row record profile".split()
)
_PHRASES: Final = {
    tuple(phrase.split("_")): category for category, phrases in _COMMON.items() for phrase in phrases.split()
}
_LONGEST: Final = max(map(len, _PHRASES))


class PersonalNames:
    """What names mean under one policy."""

    __slots__ = ("_declared", "_detectors", "_known")

    def __init__(self, detectors: Iterable[Detector], declared: Mapping[str, Collection[str]]) -> None:
        """`declared` are the categories of fields by name, as the deployment has them."""
        self._detectors = tuple(d for d in detectors if d.fields and _personal(d.data))
        self._declared = {
            plain_name(name): next(iter(found))
            for name, categories in declared.items()
            if (found := sorted(filter(_personal, categories)))
        }
        self._known: dict[str, str | None] = {}

    def category(self, name: str) -> str | None:
        """The category of what `name` is of, if that is personal data; None = it is not, or nobody can tell."""
        if name not in self._known:
            self._known[name] = self._category(plain_name(name))
        return self._known[name]

    def _category(self, plain: str) -> str | None:
        words = plain.split("_")
        if not plain or _BARE.issuperset(words) or not _MADE.isdisjoint(words):
            return None
        return self._declared.get(plain) or _phrase(words) or self._by_laws(words)

    def _by_laws(self, words: list[str]) -> str | None:
        found = self._matching("_".join(words))
        if found is None or words[-1] not in _OTHER:
            return found
        # `national_id` is asked for as it stands; `phone_id` is found for its first word alone, and is another thing.
        return found if self._matching("_".join(words[:-1])) is None else None

    def _matching(self, plain: str) -> str | None:
        return next((d.data for d in self._detectors if detected(d.fields, (), (plain,), ())), None)


def _personal(category: str) -> bool:
    return category_within(category, "personal")


def _phrase(words: list[str]) -> str | None:
    """The category of a common phrase that the name ends in, but for what may stand behind it."""
    for end in range(len(words), 0, -1):
        for start in range(max(0, end - _LONGEST), end):
            category = _PHRASES.get(tuple(words[start:end]))
            if category is not None:
                return category
        if words[end - 1] not in _TAILS:
            return None
    return None
