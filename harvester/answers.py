"""What an HTTP answer means: a page, or one of our errors. Pure.

OAI errors are read from the body whatever the status: FOLIO's edge answers 400, 404, 422 and 500 with an OAI error
inside. Only 429 and 503 speak first for themselves, because they say when to come back.
"""

from __future__ import annotations

from harvester import oai
from harvester.client import Reply
from harvester.errors import BotWall, Busy, HarvestError, ProtocolError, Refused, ServerFailed
from harvester.politeness import retry_after

ADVICE = {
    401: "the repository asks for credentials, or refuses these; see headers, username and bearer_token of the source",
    403: "the repository forbids this; ask its operators whether the harvester's address and credentials are allowed",
    404: "nothing is at this URL; is it that of the OAI-PMH interface?",
    410: "the repository is gone from this URL for good",
}


def read(reply: Reply, request: oai.Request, *, now: float, repair: bool = False) -> oai.Page:
    """The page of a reply. Raises the errors of ``oai.parse``, ``Busy``, ``ServerFailed``, ``Refused`` or ``BotWall``."""
    if reply.status in (429, 503):
        refuse_wall(reply)
        at = retry_after(reply.headers.get("retry-after"), now)
        if at is None and (said := oai_error(reply, request)):
            raise said
        raise Busy(f"the repository is busy (status {reply.status}){f', back in {at - now:.0f} s' if at is not None else ''}", retry_at=at)
    if 200 <= reply.status < 300:
        return oai.parse(reply.body, verb=request.verb, repair=repair)
    if said := oai_error(reply, request):
        raise said
    refuse_wall(reply)
    if reply.status == 408 or reply.status >= 500:
        raise ServerFailed(f"the repository failed (status {reply.status})")
    advice = ADVICE.get(reply.status, "sending it again would not help")
    raise Refused(f"the repository refuses the request (status {reply.status}): {advice}")


def oai_error(reply: Reply, request: oai.Request) -> ProtocolError | None:
    """The OAI error in a body that came with an HTTP error, if there is one."""
    try:
        oai.parse(reply.body, verb=request.verb)
    except ProtocolError as error:
        return error
    except HarvestError:
        return None
    return None


def refuse_wall(reply: Reply) -> None:
    """Raise ``BotWall`` when the answer is a challenge for browsers rather than an error of the repository."""
    if reply.headers.get("cf-mitigated") == "challenge":
        raise BotWall("Cloudflare challenges the harvester; ask the repository's operators to let its address through")
    try:
        oai.refuse_foreign(reply.body)
    except BotWall:
        raise
    except HarvestError:
        return
