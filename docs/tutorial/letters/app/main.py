"""The API: accounts, letters, a directory of people."""

from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, HTTPException, Query
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.database import Database
from app.models import Letter, Person
from app.schemas import Account, Change, Credentials, LetterOut, NewLetter, People, PersonOut, SignUp, Token
from app.security import Me, check_password, hash_password, make_token

app = FastAPI(title="Letters")


async def by_email(database: AsyncSession, email: str) -> Person | None:
    """Who has this address."""
    return (await database.scalars(select(Person).where(Person.email == email))).one_or_none()


async def myself(database: AsyncSession, me: UUID) -> Person:
    """The account of who asks."""
    person = await database.get(Person, me, options=[selectinload(Person.letters)])
    if person is None:
        raise HTTPException(404, "no such account")
    return person


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether it serves."""
    return {"status": "ok"}


@app.post("/people", status_code=201)
async def sign_up(form: SignUp, database: Database) -> Token:
    """Make an account."""
    person = Person(**form.model_dump(exclude={"password"}), password=hash_password(form.password))
    database.add(person)
    try:
        await database.commit()
    except IntegrityError as error:
        raise HTTPException(409, "this address has an account") from error
    return Token(id=person.id, token=make_token(person.id))


@app.post("/sign-in")
async def sign_in(form: Credentials, database: Database) -> Token:
    """A new token."""
    person = await by_email(database, form.email)
    if person is None or not check_password(form.password, person.password):
        raise HTTPException(401, "no such account, or another password")
    return Token(id=person.id, token=make_token(person.id))


@app.get("/people")
async def list_people(
    database: Database, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> People:
    """The directory, page by page."""
    wanted = select(Person).order_by(Person.id).limit(limit)
    if after is not None:
        wanted = wanted.where(Person.id > UUID(after))
    found = (await database.scalars(wanted)).all()
    people = [PersonOut.model_validate(person) for person in found]
    return People(people=people, next=str(people[-1].id) if len(people) == limit else None)


@app.get("/me")
async def read_me(me: Me, database: Database) -> Account:
    """My account with all my letters."""
    return Account.model_validate(await myself(database, me))


@app.patch("/me")
async def change_me(change: Change, me: Me, database: Database) -> Account:
    """Change my name."""
    person = await myself(database, me)
    person.name = change.name
    await database.commit()
    return Account.model_validate(person)


@app.delete("/me", status_code=204)
async def delete_me(me: Me, database: Database) -> None:
    """Delete my account with all that I wrote."""
    await database.delete(await myself(database, me))
    await database.commit()


@app.post("/letters", status_code=201)
async def write_letter(letter: NewLetter, me: Me, database: Database) -> LetterOut:
    """Keep a letter of mine."""
    person = await myself(database, me)
    person.letters.append(written := Letter(body=letter.body))
    await database.commit()
    return LetterOut.model_validate(written)


@app.get("/letters/{letter_id}")
async def read_letter(letter_id: int, me: Me, database: Database) -> LetterOut:
    """A letter of mine."""
    letter = await database.get(Letter, letter_id)
    if letter is None or letter.person_id != me:
        raise HTTPException(404, "no such letter")
    return LetterOut.model_validate(letter)
