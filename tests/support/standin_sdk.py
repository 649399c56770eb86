"""google-cloud-aiplatform itself, sent to the stand-in: what it sends is the measure of what we send."""

import google.auth

from goldline.vertex.environments import Environment
from tests.support.standin import StandIn


def point_sdk_to(standin: StandIn, environment: Environment) -> None:
    from google.cloud import aiplatform

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    aiplatform.init(
        project=environment.project,
        location=environment.location,
        credentials=credentials,
        api_endpoint=standin.address,
        api_transport="rest",
    )
