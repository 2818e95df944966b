"""Answers questions about messages with dkimpy and authres, one JSON object a line.

Input:  {"op": ..., "message": base64, "zone": {name: text}, ...}
Output: {"result": ...} or {"error": text}

Needs: pip install dkimpy pynacl authres; for "authenticate" also authheaders
"""

import base64
import functools
import json
import sys
import time

import authres
import dkim


def zone_of(question):
    zone = question.get("zone", {})

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        text = zone.get(name.rstrip("."))
        return text.encode() if text is not None else None

    return txt


def secret_of(question):
    if question["algorithm"] == "ed25519-sha256":
        return base64.b64encode(base64.b64decode(question["seed"]))
    return question["pem"].encode()


def verify(question, message):
    """One truth value per signature, from the top."""
    dnsfunc = zone_of(question)
    checker = dkim.DKIM(message, minkey=1024)
    found = []
    count = sum(1 for name, _ in checker.headers if name.lower() == b"dkim-signature")
    for index in range(count):
        try:
            found.append(bool(dkim.DKIM(message, minkey=1024).verify(idx=index, dnsfunc=dnsfunc)))
        except (dkim.DKIMException, ValueError, TypeError):
            found.append(False)
    return found


def sign(question, message):
    canon = tuple(word.encode() for word in question["canon"])
    field = dkim.DKIM(message, signature_algorithm=question["algorithm"].encode()).sign(
        question["selector"].encode(),
        question["domain"].encode(),
        secret_of(question),
        canonicalize=canon,
        length=question.get("length", False),
    )
    return base64.b64encode(field).decode()


def arc_verify(question, message):
    cv, _, reason = dkim.ARC(message, minkey=1024).verify(dnsfunc=zone_of(question))
    return {"cv": (cv or b"none").decode(), "reason": reason}


def arc_sign(question, message):
    fields = dkim.ARC(message).sign(
        question["selector"].encode(),
        question["domain"].encode(),
        question["pem"].encode(),
        question["srv_id"].encode(),
    )
    return base64.b64encode(b"".join(fields)).decode()


def read_results(question, message):
    found = authres.AuthenticationResultsHeader.parse(message.decode())
    results = [
        {
            "method": result.method,
            "result": result.result,
            "properties": {f"{p.type}.{p.name}": p.value for p in result.properties},
        }
        for result in found.results
    ]
    return {"authserv_id": found.authserv_id, "results": results}


def authenticate(question, message):
    """The Authentication-Results field that authheaders writes; SPF's result is given to it."""
    import authheaders

    # It reads the whole public suffix list at each call.
    if not hasattr(authheaders.get_org_domain, "cache_info"):
        cached = functools.cache(authheaders.get_org_domain)
        authheaders.get_org_domain = authheaders.dmarc_lookup.get_org_domain = cached

    text = zone_of(question)

    def answer(name, timeout=5):
        found = text(name)
        # For DKIM octets, for DMARC characters.
        return found if isinstance(name, bytes) or found is None else found.decode()

    return authheaders.authenticate_message(
        message,
        "mx.oracle.example",
        prev="Authentication-Results: mx.oracle.example; spf=%s smtp.mailfrom=%s"
        % (question["spf"], question["mail_from"]),
        dkim=True,
        arc=question["arc"],
        dmarc=True,
        dnsfunc=answer,
    )


OPERATIONS = {
    "authenticate": authenticate,
    "verify": verify,
    "sign": sign,
    "arc_verify": arc_verify,
    "arc_sign": arc_sign,
    "read_results": read_results,
}


def main():
    # The tests live at one moment.
    moment = int(sys.argv[1])
    time.time = lambda: moment
    for line in sys.stdin:
        question = json.loads(line)
        try:
            message = base64.b64decode(question["message"])
            answer = {"result": OPERATIONS[question["op"]](question, message)}
        except dkim.MessageFormatError:
            # dkimpy refuses a whole message for one line that is no field.
            answer = {"result": None}
        except Exception as error:  # the test shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
