"""CPU time of dkimpy and pyspf for the measuring examples. Prints seconds, good and bad.

peers.py dkim-sign rsa-2048|ed25519 MAILS KEY.pem
peers.py dkim-verify rsa-2048|ed25519 MAILS RECORD
peers.py spf TIMES QUESTIONS.json

MAILS: each mail after its length in eight octets, the lowest first.
"""

import base64
import json
import struct
import sys
import time


def mails(path):
    with open(path, "rb") as file:
        octets = file.read()
    at, found = 0, []
    while at < len(octets):
        (length,) = struct.unpack_from("<Q", octets, at)
        found.append(octets[at + 8 : at + 8 + length])
        at += 8 + length
    return found


def dkim_sign(kind, path, key_path):
    import dkim

    with open(key_path, "rb") as file:
        key = file.read()
    algorithm = b"rsa-sha256"
    if kind == "ed25519":
        # dkimpy wants the bare seed, the end of the DER form.
        inside = b"".join(line for line in key.splitlines() if not line.startswith(b"-"))
        key, algorithm = base64.b64encode(base64.b64decode(inside)[-32:]), b"ed25519-sha256"
    all_mails = mails(path)
    good, start = 0, time.process_time()
    for mail in all_mails:
        field = dkim.DKIM(mail, signature_algorithm=algorithm).sign(
            b"s", b"a.example", key, canonicalize=(b"relaxed", b"relaxed")
        )
        good += field.startswith(b"DKIM-Signature:")
    return time.process_time() - start, good, len(all_mails) - good


def dkim_verify(kind, path, record_path):
    import dkim

    with open(record_path, "rb") as file:
        record = file.read()
    all_mails = mails(path)
    good, start = 0, time.process_time()
    for mail in all_mails:
        good += bool(dkim.DKIM(mail).verify(dnsfunc=lambda name, timeout=5: record))
    return time.process_time() - start, good, len(all_mails) - good


def check_spf(times, path):
    import spf

    with open(path) as file:
        given = json.load(file)
    zone = given["zone"]

    def value(qtype, row):
        if qtype == "TXT":
            return (row.encode("latin-1"),)
        if qtype == "AAAA":
            return spf.ipaddress.IPv6Address(row).packed
        return tuple(row) if qtype == "MX" else row

    ready = {
        (name, qtype): [((name, qtype), value(qtype, row)) for row in rows]
        for name, types in zone.items()
        for qtype, rows in types.items()
    }
    spf.DNSLookup = lambda name, qtype, tcpfallback=True, timeout=30: ready.get(
        (name.lower().rstrip("."), qtype), []
    )
    good = bad = 0
    start = time.process_time()
    for _ in range(int(times)):
        for ask in given["asks"]:
            query = spf.query(ask["ip"], ask["mail_from"], ask["helo"], strict=True)
            found = query.check()[0]
            if found == ask["result"]:
                good += 1
            else:
                bad += 1
                print(ask, found, file=sys.stderr)
    return time.process_time() - start, good, bad


does = {"dkim-sign": dkim_sign, "dkim-verify": dkim_verify, "spf": check_spf}
print("%.6f %d %d" % does[sys.argv[1]](*sys.argv[2:]))
