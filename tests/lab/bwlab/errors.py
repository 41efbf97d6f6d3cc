# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a handler raises, and the status and body that the client gets for it."""

from __future__ import annotations

from typing import Any

Errors = dict[str, list[str]]


class ApiError(Exception):
    """Answered as the API's error model."""

    def __init__(self, status: int, message: str, validation_errors: Errors | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.validation_errors = validation_errors

    def body(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "validationErrors": self.validation_errors,
            "exceptionMessage": None,
            "exceptionStackTrace": None,
            "innerExceptionMessage": None,
            "object": "error",
        }


class BadRequest(ApiError):
    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class ModelState(ApiError):
    """`ModelState({"Email": ["The Email field is required."]})`"""

    def __init__(self, validation_errors: Errors) -> None:
        super().__init__(400, "The model state is invalid.", validation_errors)


class NotFound(ApiError):
    def __init__(self) -> None:
        super().__init__(404, "Resource not found.")


class Unauthorized(ApiError):
    def __init__(self) -> None:
        super().__init__(401, "Unauthorized.")


class ServerError(ApiError):
    """An exception that the server did not expect; its text never reaches the client, only the log."""

    def __init__(self, exception: str = "") -> None:
        super().__init__(500, "An unhandled server error has occurred.")
        self.exception = exception


class Empty(Exception):
    """A status without any body."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = headers or {}


class Forbidden(Empty):
    def __init__(self) -> None:
        super().__init__(403)
