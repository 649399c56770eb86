"""What the server refuses."""

import grpc


class FirestoreError(Exception):
    """A request that is answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> FirestoreError:
    """The request is wrong by itself, whatever the database holds."""
    return FirestoreError(grpc.StatusCode.INVALID_ARGUMENT, message)


def unimplemented(what: str) -> FirestoreError:
    """The request asks for what this server has not."""
    return FirestoreError(grpc.StatusCode.UNIMPLEMENTED, f"goldline's embedded Firestore has no {what}")
