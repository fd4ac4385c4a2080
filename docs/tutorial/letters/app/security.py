"""Passwords and tokens."""

import hashlib
import hmac
import os
import time
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, HTTPException
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

KEY = OctKey.import_key(os.environ["TOKEN_KEY"])


def hash_password(password: str) -> str:
    """A salted hash."""
    salt = os.urandom(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1).hex()}"


def check_password(password: str, stored: str) -> bool:
    """Whether `stored` is the password's hash."""
    salt, _, wanted = stored.partition(":")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=1024, r=8, p=1).hex()
    return hmac.compare_digest(found, wanted)


def make_token(person: UUID) -> str:
    """What proves for a day who somebody is."""
    return jwt.encode({"alg": "HS256"}, {"sub": str(person), "exp": int(time.time()) + 86_400}, KEY)


async def who(authorization: Annotated[str, Header()]) -> UUID:
    """The person whose token this is."""
    try:
        claims = jwt.decode(authorization.removeprefix("Bearer "), KEY, algorithms=["HS256"]).claims
        jwt.JWTClaimsRegistry(exp={"essential": True}, sub={"essential": True}).validate(claims)
    except (JoseError, ValueError) as error:
        raise HTTPException(401, "sign in first") from error
    return UUID(claims["sub"])


Me = Annotated[UUID, Depends(who)]
