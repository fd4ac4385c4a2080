"""Which country a telephone number or a SIM belongs to: the text of a claim in, an ISO 3166-1 code or None out.

Facts, compiled by hand from ITU-T E.164 (assigned country codes) and ITU-T E.212 (mobile country codes, "MCC"), as of
November 2026. A code that several countries share says nothing of its own; where one of them has a prefix of its own
the longer prefix decides. A number is read no further than its prefix, and kept nowhere.
"""

from __future__ import annotations

import re
from typing import Final

from residency.signals.country_codes import country as country_code

__all__ = ["phone_country", "sim_country"]


def _table(text: str) -> dict[str, str]:
    """ "AA:1,22 BB:3" as {"1": "AA", "22": "AA", "3": "BB"}; country "-" = no one country's, which is "" here."""
    table: dict[str, str] = {}
    for part in text.split():
        country, _, codes = part.partition(":")
        for code in codes.split(","):
            table[code] = "" if country == "-" else country
    return table


# Longest prefix wins. Not one country's: +1 without an area code of its own (Canada and the United States share them),
# +7 of Abkhazia and South Ossetia, +44 without a landline's area code (Guernsey, Jersey, Man), +212 (Western Sahara),
# +262, +590, +599, +672, and the international networks, which are left out.
_CALLING: Final = _table(
    """
    -:1,7,44,212,262,590,599,672,7840,7850,7929,7940
    BS:1242 BB:1246 AI:1264 AG:1268 VG:1284 VI:1340 KY:1345 BM:1441 GD:1473 TC:1649 JM:1658,1876 MS:1664 MP:1670
    GU:1671 AS:1684 SX:1721 LC:1758 DM:1767 VC:1784 PR:1787,1939 DO:1809,1829,1849 TT:1868 KN:1869
    KZ:76,77 RU:73,74,78,79 GB:441,442 GG:441481 JE:441534 IM:441624
    EG:20 SS:211 DZ:213 TN:216 LY:218 GM:220 SN:221 MR:222 ML:223 GN:224 CI:225 BF:226 NE:227 TG:228 BJ:229 MU:230
    LR:231 SL:232 GH:233 NG:234 TD:235 CF:236 CM:237 CV:238 ST:239 GQ:240 GA:241 CG:242 CD:243 AO:244 GW:245 IO:246
    SH:247,290 SC:248 SD:249 RW:250 ET:251 SO:252 DJ:253 KE:254 TZ:255 UG:256 BI:257 MZ:258 ZM:260 MG:261 ZW:263
    NA:264 MW:265 LS:266 BW:267 SZ:268 KM:269 ZA:27 ER:291 AW:297 FO:298 GL:299
    GR:30 NL:31 BE:32 FR:33 ES:34 GI:350 PT:351 LU:352 IE:353 IS:354 AL:355 MT:356 CY:357 FI:358 AX:35818 BG:359 HU:36
    LT:370 LV:371 EE:372 MD:373 AM:374 BY:375 AD:376 MC:377 SM:378 VA:379,3906698 UA:380 RS:381 ME:382 XK:383 HR:385
    SI:386 BA:387 MK:389 IT:39
    RO:40 CH:41 CZ:420 SK:421 LI:423 AT:43 DK:45 SE:46 NO:47 SJ:4779 PL:48 DE:49
    FK:500 BZ:501 GT:502 SV:503 HN:504 NI:505 CR:506 PA:507 PM:508 HT:509 PE:51 MX:52 CU:53 AR:54 BR:55 CL:56 CO:57
    VE:58 BO:591 GY:592 EC:593 GF:594 PY:595 MQ:596 SR:597 UY:598 CW:5999 BQ:5993,5994,5997
    MY:60 AU:61 CC:6189162 CX:6189164 ID:62 PH:63 NZ:64 SG:65 TH:66 TL:670 NF:6723 BN:673 NR:674 PG:675 TO:676 SB:677
    VU:678 FJ:679 PW:680 WF:681 CK:682 NU:683 WS:685 KI:686 NC:687 TV:688 PF:689 TK:690 FM:691 MH:692
    JP:81 KR:82 VN:84 KP:850 HK:852 MO:853 KH:855 LA:856 CN:86 BD:880 TW:886
    TR:90 IN:91 PK:92 AF:93 LK:94 MM:95 MV:960 LB:961 JO:962 SY:963 IQ:964 KW:965 SA:966 YE:967 OM:968 PS:970 AE:971
    IL:972 BH:973 QA:974 BT:975 MN:976 NP:977 IR:98 TJ:992 TM:993 AZ:994 GE:995 KG:996 UZ:998
    """
)
_LONGEST: Final = max(map(len, _CALLING))

# Not one country's, and left out: 001 (tests), 234 (the United Kingdom's, and Guernsey's, Jersey's and Man's), 289
# (Abkhazia), 340 (French Antilles), 362 (Curaçao, Sint Maarten, Bonaire …), 425 (Israel's, and Palestinian networks'),
# 505 (Australia's, and Norfolk Island's), 647 (Réunion, Mayotte), 901 (international networks), 999 (private networks).
_MOBILE: Final = _table(
    """
    GR:202 NL:204 BE:206 FR:208 MC:212 AD:213 ES:214 HU:216 BA:218 HR:219 RS:220 XK:221 IT:222 VA:225 RO:226 CH:228
    CZ:230 SK:231 AT:232 GB:235 DK:238 SE:240 NO:242 FI:244 LT:246 LV:247 EE:248 RU:250 UA:255 BY:257 MD:259 PL:260
    DE:262 GI:266 PT:268 LU:270 IE:272 IS:274 AL:276 MT:278 CY:280 GE:282 AM:283 BG:284 TR:286 FO:288 GL:290 SM:292
    SI:293 MK:294 LI:295 ME:297
    CA:302 PM:308 US:310,311,312,313,314,315,316 PR:330 VI:332 MX:334 JM:338 BB:342 AG:344 KY:346 VG:348 BM:350 GD:352
    MS:354 KN:356 LC:358 VC:360 AW:363 BS:364 AI:365 DM:366 CU:368 DO:370 HT:372 TT:374 TC:376
    AZ:400 KZ:401 BT:402 IN:404,405,406 PK:410 AF:412 LK:413 MM:414 LB:415 JO:416 SY:417 IQ:418 KW:419 SA:420 YE:421
    OM:422 PS:423 AE:424,430,431 BH:426 QA:427 MN:428 NP:429 IR:432 UZ:434 TJ:436 KG:437 TM:438 JP:440,441
    KR:450 VN:452 HK:454 MO:455 KH:456 LA:457 CN:460,461 TW:466 KP:467 BD:470 MV:472
    MY:502 ID:510 TL:514 PH:515 TH:520 SG:525 BN:528 NZ:530 MP:534 GU:535 NR:536 PG:537 TO:539 SB:540 VU:541 FJ:542
    WF:543 AS:544 KI:545 NC:546 PF:547 CK:548 WS:549 FM:550 MH:551 PW:552 TV:553 TK:554 NU:555
    EG:602 DZ:603 MA:604 TN:605 LY:606 GM:607 SN:608 MR:609 ML:610 GN:611 CI:612 BF:613 NE:614 TG:615 BJ:616 MU:617
    LR:618 SL:619 GH:620 NG:621 TD:622 CF:623 CM:624 CV:625 ST:626 GQ:627 GA:628 CG:629 CD:630 AO:631 GW:632 SC:633
    SD:634 RW:635 ET:636 SO:637 DJ:638 KE:639 TZ:640 UG:641 BI:642 MZ:643 ZM:645 MG:646 ZW:648 NA:649 MW:650 LS:651
    BW:652 SZ:653 KM:654 ZA:655 ER:657 SH:658 SS:659
    BZ:702 GT:704 SV:706 HN:708 NI:710 CR:712 PA:714 PE:716 AR:722 BR:724 CL:730 CO:732 VE:734 BO:736 GY:738 EC:740
    GF:742 PY:744 SR:746 UY:748 FK:750
    """
)

# "+84 91-234 56 78", "tel:+84(91)2345678": a plus, a digit other than 0, then digits and what people put between them.
_NUMBER: Final = re.compile(r"(?:tel:)?\+([1-9][0-9 ().\-/]{0,31})", re.ASCII)
# "452", "452-04", "45204", "310-410": an MCC, and the two or three digits of a network.
_SIM: Final = re.compile(r"([2-7][0-9]{2})(?:[ -]?[0-9]{2,3})?", re.ASCII)


def phone_country(text: str) -> str | None:
    """The country of an international number that begins with "+", or of an ISO 3166-1 code; None = it names none."""
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        return country_code(text)
    digits = "".join(filter(str.isdigit, found[1]))[:_LONGEST]
    for size in range(len(digits), 0, -1):
        country = _CALLING.get(digits[:size])
        if country is not None:
            return country or None
    return None


def sim_country(text: str) -> str | None:
    """The country of a SIM's network by its MCC ("452", "452-04", "45204") or ISO 3166-1 code; None = it names none."""
    text = text.strip()
    found = _SIM.fullmatch(text)
    return country_code(text) if found is None else _MOBILE.get(found[1])
