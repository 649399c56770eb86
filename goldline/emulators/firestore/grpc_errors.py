"""Errors that the server answers with."""

import grpc


class FirestoreError(Exception):
    """A request's failure: the gRPC status and message to answer with."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> FirestoreError:
    """Error for a request that is invalid whatever the database holds: INVALID_ARGUMENT."""
    return FirestoreError(grpc.StatusCode.INVALID_ARGUMENT, message)


def unimplemented(what: str) -> FirestoreError:
    """Error for a feature that this server lacks: UNIMPLEMENTED."""
    return FirestoreError(grpc.StatusCode.UNIMPLEMENTED, f"goldline's embedded Firestore has no {what}")
