"""What leaves the shop as JSON through Pydantic: models that read attributes, relationships included."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, TypeAdapter


class AddressOut(BaseModel):
    """An address."""

    model_config = ConfigDict(from_attributes=True)

    street: str
    city: str


class AuthorOut(BaseModel):
    """A customer, as others see them."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    addresses: list[AddressOut]


class ReviewOut(BaseModel):
    """A review with who wrote it."""

    model_config = ConfigDict(from_attributes=True)

    rating: int
    text: str
    customer: AuthorOut


REVIEWS_OUT = TypeAdapter(list[ReviewOut])
