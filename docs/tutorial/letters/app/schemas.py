"""What the API takes and answers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Credentials(BaseModel):
    """Who wants to sign in."""

    email: str = Field(pattern=r"^\S+@\S+$", max_length=200)
    password: str = Field(min_length=8, max_length=200)


class SignUp(Credentials):
    """Who wants an account."""

    name: Name
    country: str = Field(pattern="^[A-Z]{2}$", description="where they live")


class Change(BaseModel):
    """What one can change of oneself."""

    name: Name


class NewLetter(BaseModel):
    """A letter to be kept."""

    body: str = Field(min_length=1, max_length=10_000)


class Token(BaseModel):
    """Who you are, and what to say so with."""

    id: UUID
    token: str


class Answer(BaseModel):
    """What is made from rows."""

    model_config = ConfigDict(from_attributes=True)


class LetterOut(Answer):
    """A letter."""

    id: int
    body: str
    sent_at: datetime


class PersonOut(Answer):
    """What everybody sees."""

    id: UUID
    name: str


class Account(PersonOut):
    """What they themselves see."""

    email: str
    country: str
    letters: list[LetterOut]


class People(BaseModel):
    """A page of the directory."""

    people: list[PersonOut]
    next: str | None
