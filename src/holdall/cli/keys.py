"""``key``: signing keys, and whom a store trusts."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.errors import UsageError
from holdall.journeys import keys
from holdall.journeys.host import Host
from holdall.trust.keyring import EVERYTHING
from holdall.trust.keys import PublicKey


def _generate(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    public, new = keys.generate(host)
    path = keys.key_path(host)
    first = (
        f"Made your signing key, {path}; keep it private."
        if new
        else f"Your signing key is there already: {path}."
    )
    value = {"fingerprint": public.fingerprint, "path": path, "new": new}
    out.result(
        value,
        [first, f"Its fingerprint, for those who install what you sign: {public.fingerprint}"],
    )
    return 0


def _show(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    public = keys.public_key(host, arguments.fingerprint)
    out.result({"fingerprint": public.fingerprint, **public.as_dict()}, [public.fingerprint])
    return 0


def _list(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    rows = [item._asdict() for item in keys.known(host)]
    shown = [
        {
            **row,
            "apps": "revoked" if row["revoked"] else ", ".join(row["patterns"]),
            "name": row["name"] or ("own key" if row["own"] else ""),
        }
        for row in rows
    ]
    columns = {"fingerprint": "FINGERPRINT", "apps": "MAY SIGN", "name": "NAME"}
    out.table(rows if out.json else shown, columns, empty="This store trusts no key yet.")
    return 0


def _export(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.system.files import write_atomic

    text = keys.public_key(host, arguments.fingerprint).export()
    if arguments.output:
        write_atomic(arguments.output, text.encode())
        out.result({"path": arguments.output}, [f"Wrote the public key to {arguments.output}."])
    else:
        print(text, end="")
    return 0


def _import(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _trusted(
        keys.trust(
            host, keys.read_public(arguments.file), tuple(arguments.app), name=arguments.name
        ),
        out,
    )


def _trust(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    import os

    if os.path.exists(arguments.key):
        public = keys.read_public(arguments.key)
    elif arguments.bundle:
        public = _signer_of(arguments.bundle, arguments.key)
    else:
        public = keys.public_key(host, arguments.key)
    return _trusted(keys.trust(host, public, tuple(arguments.app or ()), name=arguments.name), out)


def _signer_of(bundle: str, fingerprint: str) -> PublicKey:
    from holdall.journeys.arrival import arriving

    with arriving(bundle) as arrival:
        for key in arrival.signed.signers:
            if len(fingerprint) >= 16 and key.fingerprint.startswith(fingerprint.lower()):
                return key
    raise UsageError(f"{bundle} is not signed by a key {fingerprint}.")


def _trusted(key: keys.KnownKey, out: Output) -> int:
    out.result(key._asdict(), [f"The key {key.fingerprint} may sign {', '.join(key.patterns)}."])
    return 0


def _revoke(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    whole = keys.revoke(host, arguments.fingerprint)
    out.result(
        {"fingerprint": whole},
        [f"The key {whole} is never trusted again; what it signed stays installed."],
    )
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    table = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    table.add_parser(
        "generate", help="make your signing key, once, and trust it in this store"
    ).set_defaults(act=_generate)
    _own_or_named(
        table.add_parser("show", help="print the fingerprint of your signing key")
    ).set_defaults(act=_show)
    table.add_parser("list", help="list the keys this store trusts, and for what").set_defaults(
        act=_list
    )
    export = _own_or_named(
        table.add_parser("export", help="print your public key, for others to import")
    )
    export.add_argument("-o", "--output", metavar="FILE", help="write it to FILE")
    export.set_defaults(act=_export)
    imported = table.add_parser("import", help="trust the public key in a file")
    imported.add_argument("file", metavar="FILE")
    _grant(imported, default=[EVERYTHING])
    imported.set_defaults(act=_import)
    trust = table.add_parser("trust", help="let a key sign for apps")
    trust.add_argument("key", metavar="FINGERPRINT|FILE")
    trust.add_argument(
        "--from", dest="bundle", metavar="BUNDLE", help="take the key from a bundle it signed"
    )
    _grant(trust, default=None)
    trust.set_defaults(act=_trust)
    revoke = table.add_parser("revoke", help="trust a key never again")
    revoke.add_argument("fingerprint", metavar="FINGERPRINT")
    revoke.set_defaults(act=_revoke)


def _grant(parser: argparse.ArgumentParser, *, default: list[str] | None) -> None:
    parser.add_argument(
        "--app",
        metavar="PATTERN",
        action="append",
        default=default,
        help="an app id, org.example.*, or * for everything",
    )
    parser.add_argument("--name", metavar="TEXT", default="", help="whose key it is, for listings")


def _own_or_named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "fingerprint", metavar="FINGERPRINT", nargs="?", help="a key of this store; else your own"
    )
    return parser


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return int(arguments.act(arguments, host, out))


COMMANDS = {"key": Command(_arguments, _run)}
