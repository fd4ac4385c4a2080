"""What a name of a key means: personal data, another thing, or nobody can tell."""

from __future__ import annotations

import pytest

from residency.policy.parsed import Detector
from residency.policy.personal_names import PersonalNames

LAWS = (
    Detector("personal", ("*phone*", "*cccd*", "*national_id*", "so_dinh_danh*")),
    Detector("financial", ("*card_number*",)),
    Detector("content", ("*note*",)),
    Detector("identity_document", media=frozenset({"id_image"})),
)
NAMES = PersonalNames(LAWS, {"handle": ["personal"], "colour": ["content"], "id": ["personal"]})


@pytest.mark.parametrize(
    "name",
    ["phone", "Phone", "userPhone", "user_phone_number", "email", "Email-Address", "emailAddress", "cccd", "cccd_id",
     "Số điện thoại", "sdt_khach_hang", "national_id", "nationalId", "passport_id", "tax_code", "dateOfBirth", "login",
     "email_or_phone", "x-phone-number", "homephone", "so_dinh_danh_ca_nhan", "handle", "ho_ten"],
)  # fmt: skip
def test_a_name_of_something_personal_is_known_however_it_is_spelt(name: str) -> None:
    assert NAMES.category(name) == "personal"


@pytest.mark.parametrize(
    "name",
    ["id", "user_id", "userId", "account", "sub", "uuid", "person_no", "name", "file_name", "phone_id", "phone_hash",
     "hashed_phone", "email_digest", "cccd_hmac", "phone_verified", "email_verified_at", "email_template", "mail_queue",
     "phone_country", "headline", "contact", "colour", "note", "", "---", "slug", "address", "order_id"],
)  # fmt: skip
def test_keys_of_rows_digests_and_other_things_of_the_same_word_are_not(name: str) -> None:
    assert NAMES.category(name) is None


def test_the_category_is_that_of_whoever_names_it() -> None:
    assert NAMES.category("card_number") == "financial"
    assert NAMES.category("latitude") == "location"


def test_without_laws_the_common_words_are_known_and_what_only_laws_name_is_not() -> None:
    bare = PersonalNames((), {})
    assert bare.category("phone") == "personal"
    assert bare.category("homephone") is None
