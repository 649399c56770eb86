"""Errors of requests to Google Cloud; a module of their own, since it costs nothing to import."""


class CloudError(RuntimeError):
    """An API refused a request, or could not be reached.

    Attributes:
        status: HTTP status of the answer; 0: there was no answer, and the outcome of the request is unknown.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CredentialsError(CloudError):
    """There are no credentials, or they are no longer valid."""
