"""What goes wrong between here and Google Cloud. Apart from the clients, since it costs nothing to import."""


class CloudError(RuntimeError):
    """An API refused a request, or could not be reached.

    Attributes:
        status: the answer's HTTP status; 0 where there was no answer, and nobody knows what became of the request.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CredentialsError(CloudError):
    """There are no credentials, or they are no longer good."""
