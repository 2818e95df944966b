"""For tests/spf.rs.

"suite FILE": the YAML documents of a test suite for SPF as one JSON list.
"check": reads one JSON object a line (zone, ip, helo, mail_from), writes what pyspf finds.
"""

import json
import sys


def suite(path):
    import yaml

    with open(path, "rb") as file:
        documents = [d for d in yaml.safe_load_all(file) if d]
    json.dump(documents, sys.stdout, default=str)


def check():
    import spf

    for line in sys.stdin:
        question = json.loads(line)
        zone = question["zone"]

        def lookup(name, qtype, tcpfallback=True, timeout=30):
            rows = zone.get(name.lower().rstrip("."), {}).get(qtype, [])
            if rows == "temperror":
                raise spf.TempError("DNS", name)
            out = []
            for row in rows:
                if qtype == "TXT":
                    value = (row.encode("latin-1"),)
                elif qtype == "A":
                    value = row
                elif qtype == "AAAA":
                    value = spf.ipaddress.IPv6Address(row).packed
                elif qtype == "MX":
                    value = (row[0], row[1])
                else:
                    value = row
                out.append(((name, qtype), value))
            return out

        spf.DNSLookup = lookup
        query = spf.query(question["ip"], question["mail_from"], question["helo"], strict=True)
        result, _, words = query.check()
        print(json.dumps({"result": result}), flush=True)


if sys.argv[1] == "suite":
    suite(sys.argv[2])
else:
    check()
